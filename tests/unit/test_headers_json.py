"""Header facts in the index: compact, stable, and the same after reading back."""

from __future__ import annotations

import json

import pytest

from service.errors import InputError
from service.model.code import Code
from service.model.study import Header, Request
from service.read.facts_json import header_from_json, header_to_json, own_from_json, own_to_json
from service.read.headers import read_instance
from tests.helpers import ROOT

HEADER = Header(
    elements={"PatientName": ("Müller^Jörg",), "ImageType": ("ORIGINAL", "", "AXIAL"), "KVP": ("120",)},
    codes={"ProcedureCodeSequence": (Code("A", "99X", "a"), Code("B", "99X", "b"))},
    requests=(
        Request(accession_number="A1", requested_procedure_code=Code("P", "99X", "p")),
        Request(placer_order_number="7"),
    ),
)


@pytest.mark.parametrize("header", [HEADER, Header(elements={})])
def test_what_is_written_is_read_back(header: Header) -> None:
    assert header_from_json(header_to_json(header)) == header


def test_real_headers_come_back_too() -> None:
    for file in sorted((ROOT / "tests" / "data" / "sts_002").rglob("*.dcm")):
        instance = read_instance(file)
        assert header_from_json(header_to_json(instance.header)) == instance.header
        assert own_from_json(own_to_json(instance.own)) == instance.own


def test_equal_headers_give_equal_text_whatever_their_order() -> None:
    turned = Header(elements=dict(reversed(HEADER.elements.items())), codes=HEADER.codes, requests=HEADER.requests)
    assert header_to_json(turned) == header_to_json(HEADER)


def test_the_text_is_compact_and_readable() -> None:
    text = header_to_json(HEADER)
    assert '"PatientName":"Müller^Jörg"' in text
    assert ": " not in text
    assert json.loads(text)["r"][1] == {"placer_order_number": "7"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "no json",
        '{"e":[]}',
        '{"e":{"A":[1]}}',
        '{"c":{"A":[["v"]]}}',
        '{"c":{"A":["xyz"]}}',
        '{"r":[{"no":"x"}]}',
    ],
)
def test_other_text_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(InputError, match="read the file again"):
        header_from_json(text)


def test_other_text_is_refused_for_instances_too() -> None:
    with pytest.raises(InputError, match="read the file again"):
        own_from_json('{"A":[1]}')
