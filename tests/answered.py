"""Reports made of answers in short, for tests of the templates."""

from __future__ import annotations

from decimal import Decimal

from service.model.report import Answer, Date, Provenance, Quantity, Report, Scope, Status, Subject, Uid, Value
from sr_templates import load_codes
from sr_templates.language.values import Item, ItemType, Template


def value_of(item: Item, text: str) -> Value:
    """Return ``text`` as a value of ``item``; any item may be Not Evaluated."""
    match item.type:
        case ItemType.CODE | ItemType.CODES:
            return load_codes()[text]
        case _ if text == "v.not_evaluated":
            return load_codes()[text]
        case ItemType.NUMBER:
            assert item.unit is not None
            return Quantity(number=Decimal(text), unit=item.unit)
        case ItemType.DATE:
            return Date(text)
        case ItemType.UID:
            return Uid(text)
        case _:
            return text


def subject_of(item: Item, key: str) -> Subject:
    """Return the subject called ``key`` that ``item`` is asked about."""
    structure = None if item.scope in {Scope.SERIES, Scope.LESION, Scope.NODE} else load_codes()[key.partition("/")[0]]
    return Subject(key=key, scope=item.scope, tracking_id=key, tracking_uid=f"2.25.{1 + len(key)}", structure=structure)


def report(template: Template, *given: str, modalities: tuple[str, ...] = ("CT",), sex: str = "") -> Report:
    """Return a report with answers written as ``item=value``, ``item=one;other`` or ``item@subject=value``."""
    subjects: dict[str, Subject] = {}
    answers: list[Answer] = []
    for text in given:
        name, _, values = text.partition("=")
        key, _, subject = name.partition("@")
        item = template.item(key)
        assert item is not None, f"{template.key} has no item {key}"
        assert bool(subject) == (item.scope is not Scope.REPORT), text
        if subject:
            subjects.setdefault(subject, subject_of(item, subject))
        found = tuple(value_of(item, v) for v in values.split(";"))
        answers.append(
            Answer(
                item=key,
                subject=subject,
                values=found,
                status=Status.CONFIRMED,
                provenance=Provenance.RADIOLOGIST,
            )
        )
    return Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid="2.25.1",
        modalities=modalities,
        patient_sex=sex,
        subjects=tuple(subjects.values()),
        answers=tuple(answers),
    )
