"""What a reader sees first: the prose lines of a report, made from its answers. Never new facts, always the word "proposed"."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from service.model.code import Code
from service.model.report import (
    Answer,
    Completeness,
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

WHENCE = {
    Provenance.DICOM: "from the header",
    Provenance.SEGMENTATION: "from the segmentation",
    Provenance.MEASUREMENT_SR: "from the measurement report",
    Provenance.PRIOR: "from the earlier report",
    Provenance.RULE: "by a rule",
    Provenance.RADIOLOGIST: "by the radiologist",
}
PHASE = "; enhancement phase "
#: parts the name of a series from its line
AFTER_SERIES = " · "
_SERIES = "Series "
_UNITS = {"[hnsf'U]": "HU", "cm3": "mL", "d": "days", "1": ""}


def number(value: Quantity, *, digits: int | None = None) -> str:
    """Return a quantity as people write it: HU, mL, %, and whole millimetres where ``digits`` is 0."""
    if value.number is None:
        return value.qualifier.meaning if value.qualifier else "no value"
    exact = value.number
    if digits is not None:
        exact = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    unit = _UNITS.get(value.unit.value, value.unit.value)
    return f"{exact:f} {unit}".strip()


def value(given: Value) -> str:
    """Return any value as people write it."""
    match given:
        case Code():
            return given.meaning
        case Quantity():
            return number(given)
        case Date():
            day = given.value
            return f"{day[:4]}-{day[4:6]}-{day[6:]}"
        case Uid():
            return given.value
        case PersonName():
            return given.value.split("=")[0].replace("^", " ").strip()
        case str():
            return given


def mark(answer: Answer) -> str:
    """Return the words that say how far an answer may be trusted; empty once a person confirmed it."""
    if answer.status is not Status.PROPOSED:
        return ""
    if answer.basis and answer.provenance is Provenance.DICOM:
        return f"(proposed from the {answer.basis})"
    return f"(proposed {WHENCE[answer.provenance]})"


def series_name(key: str) -> str:
    """Return the key of a series as it is written under the concept name "Series"."""
    return key.removeprefix(_SERIES)


def series_key(name: str) -> str:
    """Return the key of the series that is written as ``name``."""
    return f"{_SERIES}{name}"


def series_line(report: Report, subject: Subject) -> str:
    """Return the line of a series: what it is, and the enhancement phase with where that came from (`PHASE` parts the two)."""
    phases = [
        f"{value(v).removesuffix(' phase')} {mark(a)}".strip()
        for a in report.answers_of("tech.phase", subject.key)
        for v in a.values
    ]
    return PHASE.join([subject.tracking_id, *phases])


def _first(report: Report, item: str, subject: str, derivation: str = "") -> Quantity | None:
    for answer in report.answers_of(item, subject):
        meaning = answer.derivation.meaning if answer.derivation else ""
        if (not derivation or meaning == derivation) and answer.values and isinstance(answer.values[0], Quantity):
            return answer.values[0]
    return None


def _code(report: Report, item: str, subject: str) -> str:
    return next((v.meaning for a in report.answers_of(item, subject) for v in a.values if isinstance(v, Code)), "")


def lesion_series(report: Report, subject: Subject) -> tuple[Subject, ...]:
    """Return the series that a lesion was measured on."""
    lines = {e.series_instance_uid for a in report.answers if a.subject == subject.key for e in a.evidence if e.points}
    return tuple(s for s in report.subjects_of(Scope.SERIES) if s.tracking_uid in lines)


def lesion_label(report: Report, subject: Subject) -> str:
    """Return a lesion as a reader tells it from others: its key, the name it was given, the series it was measured on."""
    given = [subject.tracking_id] if subject.tracking_id != subject.key else []
    # with one series there is nothing to tell apart
    several = len(report.subjects_of(Scope.SERIES)) > 1
    where = [s.key.lower() for s in lesion_series(report, subject)] if several else []
    aside = ", ".join([*given, *where])
    return f"{subject.key} ({aside})" if aside else subject.key


def lesion_comment(report: Report, subject: Subject) -> str:
    """Return the first line of a lesion's group: how far to trust it, then side, site, size, volume, attenuation, category.

    Viewers hide what hangs below an item (side, statistic, method, basis), so it is said here.
    """
    about = [a for a in report.answers if a.subject == subject.key]
    said = lesion_label(report, subject)
    if sources := dict.fromkeys(WHENCE[a.provenance] for a in about if a.status is Status.PROPOSED):
        mixed = any(a.status is Status.CONFIRMED for a in about)
        said = f"{said}, {'partly proposed' if mixed else 'proposed'} {' and '.join(sources)}, not confirmed"
    parts = [*_place(report, subject.key), *_sizes(report, subject.key), *_attenuation(report, subject)]
    if category := _code(report, "st.t", subject.key):
        parts.append(f"Clinical T category by size: {category.removeprefix(_AJCC)} (AJCC, 8th edition)")
    return f"{said}: {' · '.join(parts)}" if parts else said


_AJCC = "American Joint Committee on Cancer "


def _place(report: Report, subject: str) -> Iterable[str]:
    """Yield finding, side and site: "Mass, right retroperitoneum"."""
    side, site = (_code(report, item, subject).lower() for item in ("tid.laterality", "tid.finding_site"))
    place = " ".join(filter(None, (side, site)))
    finding = _code(report, "tid.finding", subject)
    if finding or place:
        yield ", ".join(filter(None, (finding, place if finding else place.capitalize())))


def _sizes(report: Report, subject: str) -> Iterable[str]:
    for item, label in (("sz.long_axis", "Long axis"), ("sz.short_axis", "Short axis")):
        if size := _first(report, item, subject):
            yield f"{label}: {number(size, digits=0)}{_basis(report, item, subject) if item == 'sz.long_axis' else ''}"
    if extents := dimensions(report, subject):
        yield f"Extent (CC x TR x AP): {extents}"
    if volume := _first(report, "sz.volume", subject):
        yield f"Volume: {_volume(volume)}{_basis(report, 'sz.volume', subject)}"


def dimensions(report: Report, subject: str) -> str:
    """Return craniocaudal x transverse x anteroposterior extent in whole mm, or an empty text where one is missing."""
    sizes = [_first(report, item, subject) for item in ("sz.height", "sz.width", "sz.depth")]
    whole = [number(s, digits=0).split(" ")[0] for s in sizes if s is not None and s.number is not None]
    return f"{' x '.join(whole)} mm" if len(whole) == len(sizes) else ""


def _volume(volume: Quantity) -> str:
    return number(volume, digits=0 if volume.number is not None and volume.number >= 10 else 1)  # noqa: PLR2004 - readable digits


def _attenuation(report: Report, subject: Subject) -> Iterable[str]:
    mean = _first(report, "ct.hu", subject.key, "Mean")
    deviation = _first(report, "ct.hu", subject.key, "Standard Deviation")
    if mean and mean.number is not None:
        spread = (
            f", SD {number(deviation, digits=0).split(' ')[0]}" if deviation and deviation.number is not None else ""
        )
        # without its phase an attenuation cannot be compared
        phases = dict.fromkeys(
            _code(report, "tech.phase", s.key).removesuffix(" phase") for s in lesion_series(report, subject)
        )
        phase = f" ({' and '.join(filter(None, phases))})" if any(phases) else ""
        yield f"Mean attenuation: {number(mean, digits=0)}{spread}{phase}"
    for item, label in (("ms.low_att_fraction", "Part below 30 HU"), ("ms.fat_att_fraction", "Part below -20 HU")):
        if part := _first(report, item, subject.key):
            yield f"{label}: {number(part, digits=0)}"


def _basis(report: Report, item: str, subject: str) -> str:
    basis = next((a.basis for a in report.answers_of(item, subject)), "")
    return f" ({basis})" if basis else ""


def summary(report: Report, counted: Completeness, *, draft: bool) -> str:
    """Return the automatic summary: what is known, what is not, and that nobody has verified it."""
    sentences = []
    if draft:
        sentences.append("DRAFT, NOT VERIFIED.")
    sentences.extend(_lesion_sentence(report, s) for s in report.subjects_of(Scope.LESION))
    if not report.subjects_of(Scope.LESION):
        sentences.append("No segmentation of a tumour was in the study when this draft was made.")
    sentences.append(f"{counted.open} of {counted.prompts} essential items are open.")
    return " ".join(sentences)


#: what a sentence about a lesion says
_SAID = (
    "tid.finding",
    "tid.laterality",
    "tid.finding_site",
    "sz.height",
    "sz.width",
    "sz.depth",
    "sz.long_axis",
    "sz.volume",
)


def _lesion_sentence(report: Report, subject: Subject) -> str:
    side, site = (_code(report, item, subject.key).lower() for item in ("tid.laterality", "tid.finding_site"))
    finding = (_code(report, "tid.finding", subject.key) or "lesion").lower()
    words = " ".join(filter(None, ("Segmented" if subject.segment else "Measured", side, site, finding)))
    facts = []
    if size := dimensions(report, subject.key):
        facts.append(f"{size} (CC x TR x AP)")
    elif long_axis := _first(report, "sz.long_axis", subject.key):
        facts.append(f"long axis {number(long_axis, digits=0)}")
    volume = _first(report, "sz.volume", subject.key)
    if volume is not None and volume.number is not None:
        facts.append(_volume(volume))
    said = f"{words}, {lesion_label(report, subject)}: {', '.join(facts) if facts else 'not measured'}"
    used = (a for name in _SAID for a in report.answers_of(name, subject.key) if a.status is Status.PROPOSED)
    sources = dict.fromkeys(WHENCE[a.provenance] for a in used)
    return f"{said} (proposed {' and '.join(sources)})." if sources else f"{said}."


def completeness(counted: Completeness) -> str:
    """Return the completeness in words."""
    said = f"{counted.prompts} prompts: "
    if counted.confirmed == counted.prompts:
        return f"{said}{counted.confirmed} confirmed"
    return f"{said}{counted.proposed} proposed, {counted.confirmed} confirmed, {counted.open} open"
