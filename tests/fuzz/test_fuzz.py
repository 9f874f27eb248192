"""The corpus passes; and half a minute of fuzzing from it finds no crash, no hang and no growth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import fuzz_gatekeeper, seeds
from tests.fuzz.driving import CORPUS, Grown, Growth
from tests.fuzz.fuzz_pdu import Target, target
from tests.fuzz.running import fuzz

FUZZERS = ("gatekeeper", "pdu")


def corpus(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


def test_corpus_holds_the_seeds(tmp_path: Path) -> None:
    seeds.write(tmp_path)
    for name in FUZZERS:
        for seed in (tmp_path / name).iterdir():
            assert (CORPUS / name / seed.name).read_bytes() == seed.read_bytes(), "run python -m tests.fuzz.seeds"
        assert sum(path.stat().st_size for path in corpus(name)) < 100_000, "the corpus stays small"


@pytest.mark.parametrize("path", corpus("gatekeeper"), ids=lambda path: path.name)
def test_gatekeeper_judges_the_corpus(path: Path) -> None:
    fuzz_gatekeeper.one_input(path.read_bytes())


@pytest.fixture(scope="module")
def receiver() -> Iterator[Target]:
    with target() as made:
        yield made


@pytest.mark.parametrize("path", corpus("pdu"), ids=lambda path: path.name)
def test_receiver_survives_the_corpus(receiver: Target, path: Path) -> None:
    receiver.one_input(path.read_bytes())


def test_growth_is_seen() -> None:
    growth = Growth(limit_mb=20, settled=1)
    held = []

    def grow() -> None:
        for _ in range(5000):
            held.append(b"x" * 20_000)
            growth.look()

    with pytest.raises(Grown):
        grow()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FUZZERS)
def test_fuzzing_finds_nothing(name: str) -> None:
    assert fuzz(name, seconds=30)["executed"] > 10
