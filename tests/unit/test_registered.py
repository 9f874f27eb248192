"""What the linter is told of the functions is true: which there are, and what derivations read."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from service.flow.derivations.asked import Asked, Look, Pair
from service.flow.derive import DERIVATIONS, derive
from service.flow.registered import READS, WORDS_ONLY, registered
from sr_templates import load_template, template_names
from tests import builders as b
from tests.filled import filled

TEMPLATES = [load_template(name) for name in template_names()]
ITEMS = {i.key for t in TEMPLATES for i in t}


def test_every_derivation_says_what_it_reads() -> None:
    assert set(READS) == set(DERIVATIONS) - WORDS_ONLY


def test_what_derivations_read_is_asked_somewhere() -> None:
    unknown = {name: sorted(items - ITEMS) for name, items in READS.items() if items - ITEMS}
    assert unknown == {}


def test_no_derivation_reads_what_it_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[str, set[str]] = {}
    original = Look.of

    def of(self: Look, item: str, row: str = "") -> Pair:
        if isinstance(self, Asked):
            read.setdefault(self.item.derive, set()).add(item)
        return original(self, item, row)

    monkeypatch.setattr(Look, "of", of)
    for template in TEMPLATES:
        derived = {i.key for i in template if i.derive}
        for seed in range(4):
            draft = replace(b.report(None, b.tumour(1), b.tumour(2)), template=template.key)
            full = filled(draft, template, random.Random(seed), person="Reader^One")
            derive(replace(full, answers=tuple(a for a in full.answers if a.item not in derived)), template)
    assert len(read) > 15
    unsaid = {name: sorted(items - READS[name]) for name, items in read.items() if name not in WORDS_ONLY}
    assert {name: items for name, items in unsaid.items() if items} == {}


def test_no_template_derives_from_what_is_only_words() -> None:
    words = {i.key for t in TEMPLATES for i in t if i.derive in WORDS_ONLY}
    assert not any(items & words for items in READS.values())
    assert registered().reads == READS
