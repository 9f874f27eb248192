"""Reports with answers to everything that their template has or asks, made at random from a seed: for proofs and benchmarks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from service.model.report import (
    Answer,
    Date,
    PersonName,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Uid,
    Value,
)
from sr_templates import Item, ItemType, Template, load_codes
from sr_templates.evaluate import holds
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.values import Fill, Matrix
from sr_templates.order import canonical

#: one answer in so many is Not Evaluated
_NOT_EVALUATED = 12
_TEXTS = ("as the request says", "größer als zuvor", "山田 says <b>no</b> & more", "line one\nline two", "?LMS")


#: so often conditions may make new questions of answers
_ROUNDS = 6


def filled(report: Report, template: Template, rng: random.Random, *, share: float = 1.0, person: str = "") -> Report:
    """Return ``report`` with an answer to a ``share`` of what it leaves open, stated by ``person``; rows of matrices included."""
    subjects = [*report.subjects, *(s for m in template.matrices for s in _rows(report, template, m, rng, share))]
    answers = list(report.answers)
    answered = {(a.item, a.subject) for a in answers}
    for item in template:
        if item.fill in {Fill.ROW, Fill.SIGNING} or not item.applies_to(report.modalities):
            continue
        about = [""] if item.scope is Scope.REPORT else [s.key for s in subjects if s.scope is item.scope]
        for subject in about:
            row_asked = not item.rows or subject in item.rows
            if (item.key, subject) not in answered and row_asked and rng.random() < share:
                answers.append(_answer(item, subject, rng, person))
    return canonical(replace(report, subjects=tuple(subjects), answers=tuple(answers)), template)


def asked(report: Report, template: Template, rng: random.Random, *, person: str = "") -> Report:
    """Return ``report`` with an answer to everything that it asks, optional questions too, and to nothing that it does not ask.

    Where `filled` answers the impossible, here each condition holds that stands over a question, and one value is chosen of several.
    """
    subjects = [*report.subjects, *(s for m in template.matrices for s in _rows(report, template, m, rng, 1.0))]
    report = replace(report, subjects=tuple(subjects))
    for _ in range(_ROUNDS):
        there = {(a.item, a.subject) for a in report.answers}
        new = [
            _answer(item, subject, rng, person, most=1)
            for item in template
            if item.fill not in {Fill.ROW, Fill.SIGNING, Fill.AUTOMATIC} and item.applies_to(report.modalities)
            for subject in _about(item, report)
            if (item.key, subject) not in there and holds(item.when, report, template, subject)
        ]
        if not new:
            break
        report = replace(report, answers=(*report.answers, *new))
    return canonical(report, template)


def _about(item: Item, report: Report) -> list[str]:
    if item.scope is Scope.REPORT:
        return [""]
    found = [s.key for s in report.subjects_of(item.scope) if not item.rows or s.key in item.rows]
    return found[:1] if item.scope is Scope.LESION and not item.each else found


def confirmed(report: Report, person: str) -> Report:
    """Return ``report`` with every proposal confirmed by ``person``."""
    return replace(
        report,
        answers=tuple(
            replace(a, status=Status.CONFIRMED, observer=person) if a.status is Status.PROPOSED else a
            for a in report.answers
        ),
    )


def _rows(report: Report, template: Template, matrix: Matrix, rng: random.Random, share: float) -> Iterator[Subject]:
    item = template.item(matrix.item)
    if item is None or not item.applies_to(report.modalities):
        return
    there = {s.key for s in report.subjects}
    for row in matrix.rows:
        if row.key not in there and rng.random() < share:
            yield Subject(
                key=row.key,
                scope=matrix.scope,
                tracking_id=row.label,
                tracking_uid=f"2.25.{rng.getrandbits(96)}",
                structure=row.structure,
                side=row.side,
            )
    if matrix.rows:
        return
    for number, place in enumerate(rng.sample(range(len(item.values)), 2), start=1):
        structure = item.values[place]
        node = matrix.scope is Scope.NODE
        yield Subject(
            key=f"LMS-LN{number}" if node else item.value_keys[place],
            scope=matrix.scope,
            tracking_id=f"LMS-LN{number}" if node else structure.meaning,
            tracking_uid=f"2.25.{rng.getrandbits(96)}" if node else "",
            structure=structure,
        )


def _answer(item: Item, subject: str, rng: random.Random, person: str, *, most: int = 3) -> Answer:
    automatic = item.fill in {Fill.AUTOMATIC, Fill.DERIVED}
    values, reason = _values(item, rng, most)
    return Answer(
        item=item.key,
        subject=subject,
        values=values,
        status=Status.AUTOMATIC if automatic else Status.CONFIRMED,
        provenance=Provenance.RULE if automatic else Provenance.RADIOLOGIST,
        reason=reason,
        observer="" if automatic else person,
    )


def _values(item: Item, rng: random.Random, most: int) -> tuple[tuple[Value, ...], str]:
    codes = load_codes()
    if item.fill is Fill.PERSON and rng.randrange(_NOT_EVALUATED) == 0:
        if item.type is ItemType.NUMBER and item.unit is not None:
            return (Quantity(number=None, unit=item.unit, qualifier=codes["nq.not_attempted"]),), rng.choice(_TEXTS)
        if not item.key.startswith("tid.method#"):
            return (codes[NOT_EVALUATED],), rng.choice(_TEXTS)
    match item.type:
        case ItemType.CODE | ItemType.CODES if item.values:
            count = rng.randint(1, min(most, len(item.values))) if item.many else 1
            return tuple(rng.sample(list(item.values), count)), ""
        case ItemType.NUMBER if item.unit is not None:
            low, high = item.low or Decimal(0), item.high or Decimal(1000)
            places = item.decimals
            number = Decimal(rng.randint(int(low * 10**places), int(high * 10**places))).scaleb(-places)
            return (Quantity(number=number, unit=item.unit),), ""
        case ItemType.DATE:
            return (Date(f"20{rng.randint(10, 25)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"),), ""
        case ItemType.UID:
            return (Uid(f"2.25.{rng.getrandbits(96)}"),), ""
        case ItemType.PERSON:
            return (PersonName("Reader^One"),), ""
        case _:
            return (rng.choice(_TEXTS),), ""
