"""Reports made of plain answers, for tests of what follows from them: ``stated({"arc.fat@LMS-T1": "v.absent"})``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from service.model.measurement import Reference
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject, Value
from sr_templates import Item, Template, load_codes, load_template
from sr_templates.order import canonical

CODES = load_codes()
TEMPLATES = {name: load_template(name) for name in ("baseline", "response", "surveillance")}
#: an answer as a test writes it: the key of a code, a number, several of them; a text stands for itself where the item takes texts
Plain = str | int | float | Decimal | tuple[str, ...]
_RESERVED = ("v.not_evaluated",)
SERIES_UID = "1.2.3.{}"


def stated(
    answers: Mapping[str, Plain],
    *,
    template: str = "baseline",
    proposed: Mapping[str, Plain] | None = None,
    modalities: tuple[str, ...] = ("CT",),
    provenance: Provenance = Provenance.RADIOLOGIST,
    lesions: int = 1,
    sex: str = "",
    age: int | None = None,
) -> Report:
    """Return a report with what a person stated and what was ``proposed`` from a segmentation; keys are ``item`` or ``item@subject``."""
    of = TEMPLATES[template]
    made = [
        *(_answer(of, k, v, Status.CONFIRMED, provenance) for k, v in answers.items()),
        *(_answer(of, k, v, Status.PROPOSED, Provenance.SEGMENTATION) for k, v in (proposed or {}).items()),
    ]
    keys = dict.fromkeys([*(f"LMS-T{n + 1}" for n in range(lesions)), *(a.subject for a in made if a.subject)])
    report = Report(
        template=template,
        template_version=of.version,
        study_instance_uid="1.2.3",
        modalities=modalities,
        patient_sex=sex,
        patient_age=age,
        subjects=tuple(subject(of, k) for k in keys),
        answers=tuple(made),
    )
    return canonical(report, of)


def _answer(template: Template, key: str, value: Plain, status: Status, provenance: Provenance) -> Answer:
    name, _, about = key.partition("@")
    item = template.item(name)
    assert item is not None, name
    values = value if isinstance(value, tuple) else (value,)
    return Answer(
        item=name,
        subject=about,
        values=tuple(_value(item, v) for v in values),
        status=status,
        provenance=provenance,
        # as the measuring of a segmentation does it
        method=CODES["sz.method_voxel"] if name == "sz.volume" and provenance is Provenance.SEGMENTATION else None,
    )


def _value(item: Item, value: str | float | Decimal) -> Value:
    if isinstance(value, str):
        return CODES[value] if item.values or value in _RESERVED else value
    assert item.unit is not None, item.key
    return Quantity(number=Decimal(str(value)), unit=item.unit)


def subject(template: Template, key: str) -> Subject:
    """Return the subject that a key stands for: lesion, series, node, a structure of a matrix, a candidate."""
    if key.startswith("LMS-T"):
        segment = Reference(sop_class_uid="1.2", sop_instance_uid=f"1.2.3.9.{key[5:]}", series_instance_uid="1.2.3.9")
        return Subject(key=key, scope=Scope.LESION, tracking_id=key, tracking_uid=f"2.25.{key[5:]}", segment=segment)
    if key.startswith("Series "):
        return Subject(key=key, scope=Scope.SERIES, tracking_uid=SERIES_UID.format(key[7:]))
    if key.startswith("LMS-LN"):
        return Subject(key=key, scope=Scope.NODE, tracking_id=key, structure=CODES["ln.aortic"])
    name, _, side = key.partition("/")
    for scope in (Scope.VESSEL, Scope.ORGAN, Scope.METASTASIS, Scope.CANDIDATE):
        matrix = template.matrix(scope)
        item = template.item(matrix.item) if matrix else None
        if item is not None and name in item.value_keys:
            return Subject(
                key=key,
                scope=scope,
                tracking_id=key,
                structure=CODES[name],
                side=CODES[f"v.{side}"] if side else None,
            )
    raise AssertionError(key)


def rows(template: str, scope: Scope) -> tuple[str, ...]:
    """Return the keys of a matrix' rows."""
    matrix = TEMPLATES[template].matrix(scope)
    assert matrix is not None
    return tuple(r.key for r in matrix.rows)


def every(item: str, keys: Iterable[str], value: str) -> dict[str, Plain]:
    """Return one answer about every one of ``keys``."""
    return {f"{item}@{k}": value for k in keys}


def values(report: Report, item: str, about: str = "") -> list[str | Decimal | None]:
    """Return the answers to an item as a test writes them."""
    of = TEMPLATES[report.template].item(item)
    assert of is not None, item
    found: list[str | Decimal | None] = []
    for answer in report.answers_of(item, about):
        for value in answer.values:
            if isinstance(value, Quantity):
                found.append(value.number)
            elif isinstance(value, str):
                found.append(value)
            else:
                found += [k for k, v in zip(of.value_keys, of.values, strict=True) if v == value]
    return found


def given_reason(report: Report, item: str, reason: str, about: str = "") -> Report:
    """Return the report with a reason beside an answer."""
    answers = (replace(a, reason=reason) if (a.item, a.subject) == (item, about) else a for a in report.answers)
    return replace(report, answers=tuple(answers))


def earlier(report: Report, *, date: str = "20260101") -> PriorReport:
    """Return a report as the patient's earlier one."""
    return PriorReport(
        study_instance_uid="1.2.4", study_date=date, modalities=report.modalities, signed=True, report=report
    )
