"""Whatever stands in a template's files, the linter tells faults and never raises one."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sr_templates.language.linter import lint
from tests.unit.test_linter import FILES, NAMES

PLACE = re.compile(r"(leiomyosarcoma|sections)/\w+\.yaml:\d+:\d+: \S|retired\.yaml:\d+:\d+: \S")
LINES = [(name, number) for name, text in FILES.items() for number in range(len(text.splitlines()))]
SCRAPS = st.one_of(
    st.sampled_from(
        [
            "", "{}", "[]", "null", "~", "-", "- -", "? a", "!!set {a}", "!!binary aGk=", "!!omap [a: 1]", "&a [*a]", "<<: {a: b}", "1:2:3", "0x",
            ".nan", "2026-01-01", "true", "|\n  text", ">", "'", '"', "%YAML 9.9", "---", "...", "\t", "\ufeff", "\x00", "\ud7ff", "a: b: c", "[1, {b: [", "1e999",
        ]
    ),
    st.text(max_size=20),
)  # fmt: skip


@st.composite
def corrupted(draw: st.DrawFn) -> dict[str, str]:
    """Return the sample with some lines replaced, some values replaced, some lines gone or twice."""
    files = {name: text.splitlines() for name, text in FILES.items()}
    for name, number in draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=4, unique=True)):
        line = files[name][number]
        match draw(st.integers(0, 4)):
            case 0:
                files[name][number] = draw(SCRAPS)
            case 1:
                files[name][number] = f"{line.partition(': ')[0]}: {draw(SCRAPS)}"
            case 2:
                files[name][number] = f"{line}\n{line}"
            case 3:
                files[name][number] = f"  {line}"
            case _:
                files[name][number] = ""
    return {name: "\n".join(lines) for name, lines in files.items()}


@given(corrupted())
def test_corrupted_templates_are_told_and_never_raise(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(text.encode("utf-8", "surrogatepass"))
        for template in ("sample", "other"):
            for fault in lint(template, names=NAMES, folder=folder):
                assert PLACE.match(fault), fault
