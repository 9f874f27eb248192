"""Ten minutes of fuzzing, guided by coverage, for each of what reads a peer's bytes first."""

from __future__ import annotations

import os

import pytest

from tests.conftest import ProofRecord
from tests.fuzz.running import fuzz

SECONDS = int(os.environ.get("LMS_SR_PROOF_FUZZ_SECONDS", "600"))
CLAIMS = {
    "gatekeeper": "no bytes make the gatekeeper crash, hang, grow, or judge otherwise than the plain walk",
    "pdu": "no bytes make the receiver crash, hang, grow, log a traceback or leave anything behind",
}


@pytest.mark.proof
@pytest.mark.parametrize("name", CLAIMS)
def test_fuzzing_finds_nothing_for_long(name: str, proof_record: ProofRecord) -> None:
    found = fuzz(name, seconds=SECONDS)
    proof_record.add(CLAIMS[name], seed="see tests/data/fuzz", seconds=SECONDS, **found)
