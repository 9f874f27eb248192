"""What a reader sees first: the prose lines of a report, made from its answers. Never new facts, always the word "proposed"."""

from __future__ import annotations

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
    basis = f": {answer.basis}" if answer.basis and answer.provenance is not Provenance.SEGMENTATION else ""
    return f"(proposed {WHENCE[answer.provenance]}{basis})"


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


def lesion_label(report: Report, subject: Subject) -> str:
    """Return a lesion as a reader tells it from others: its key, the name it was given, the series it was measured on."""
    lines = [e.series_instance_uid for a in report.answers if a.subject == subject.key for e in a.evidence if e.points]
    series = [s for s in report.subjects_of(Scope.SERIES) if s.tracking_uid in lines]
    given = [subject.tracking_id] if subject.tracking_id != subject.key else []
    # with one series there is nothing to tell apart
    where = [s.key.lower() for s in series] if len(report.subjects_of(Scope.SERIES)) > 1 else []
    aside = ", ".join([*given, *where])
    return f"{subject.key} ({aside})" if aside else subject.key


def lesion_comment(report: Report, subject: Subject) -> str:
    """Return the first line of a lesion's group: site, side, size, volume, attenuation, category, in words with their source.

    Viewers hide what hangs below an item (side, statistic, method), so it is said here.
    """
    parts: list[str] = []
    place = " ".join(
        filter(
            None, (_code(report, "tid.laterality", subject.key), _code(report, "tid.finding_site", subject.key).lower())
        )
    )
    finding = _code(report, "tid.finding", subject.key)
    if finding:
        parts.append(f"{finding}, {place.lower()}" if place else finding)
    for item, label in (("sz.long_axis", "Long axis"), ("sz.short_axis", "short axis")):
        if size := _first(report, item, subject.key):
            parts.append(f"{label} {number(size, digits=0)}{_on_slice(report, item, subject.key)}")
    extents = [_first(report, item, subject.key) for item in ("sz.height", "sz.width", "sz.depth")]
    if all(extents):
        parts.append(f"{dimensions(report, subject.key)} (CC x TR x AP)")
    if volume := _first(report, "sz.volume", subject.key):
        basis = next((a.basis for a in report.answers_of("sz.volume", subject.key)), "")
        parts.append(f"volume {_volume(volume)}" + (f" ({basis})" if basis else ""))
    parts.extend(_attenuation(report, subject.key))
    if category := _code(report, "st.t", subject.key):
        parts.append(f"clinical T category by size: {category.removeprefix('American Joint Committee on Cancer ')}")
    about = [a for a in report.answers if a.subject == subject.key]
    sources = dict.fromkeys(WHENCE[a.provenance] for a in about if a.status is Status.PROPOSED)
    said = f"{lesion_label(report, subject)}: {'; '.join(parts)}"
    if sources:
        mixed = any(a.status is Status.CONFIRMED for a in about)
        how = "partly proposed" if mixed else "proposed"
        said = f"{said} ({how} {' and '.join(sources)}, not confirmed)"
    return ". ".join([said, *subject.remarks])


def dimensions(report: Report, subject: str) -> str:
    """Return craniocaudal x transverse x anteroposterior extent in whole mm, or an empty text where one is missing."""
    sizes = [_first(report, item, subject) for item in ("sz.height", "sz.width", "sz.depth")]
    whole = [number(s, digits=0).split(" ")[0] for s in sizes if s is not None and s.number is not None]
    return f"{' x '.join(whole)} mm" if len(whole) == len(sizes) else ""


def _volume(volume: Quantity) -> str:
    return number(volume, digits=0 if volume.number is not None and volume.number >= 10 else 1)  # noqa: PLR2004 - readable digits


def _attenuation(report: Report, subject: str) -> list[str]:
    parts = []
    mean = _first(report, "ct.hu", subject, "Mean")
    deviation = _first(report, "ct.hu", subject, "Standard Deviation")
    if mean and mean.number is not None:
        spread = (
            f", SD {number(deviation, digits=0).split(' ')[0]}" if deviation and deviation.number is not None else ""
        )
        parts.append(f"mean attenuation {number(mean, digits=0)}{spread}")
    for item, label in (("ms.low_att_fraction", "part below 30 HU"), ("ms.fat_att_fraction", "part below -20 HU")):
        if part := _first(report, item, subject):
            parts.append(f"{label}: {number(part, digits=0)}")
    return parts


def _on_slice(report: Report, item: str, subject: str) -> str:
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
    sentences.append(f"{counted.open} of {counted.prompts} prompts are open.")
    return " ".join(sentences)


def _lesion_sentence(report: Report, subject: Subject) -> str:
    finding = (_code(report, "tid.finding", subject.key) or "lesion").lower()
    side = _code(report, "tid.laterality", subject.key).lower()
    site = _code(report, "tid.finding_site", subject.key).lower()
    words = " ".join(filter(None, ("Segmented", side, site, finding)))
    size = dimensions(report, subject.key)
    volume = _first(report, "sz.volume", subject.key)
    facts = [f"{size} (CC x TR x AP)"] if size else []
    if volume is not None and volume.number is not None:
        facts.append(_volume(volume))
    if not facts:
        return f"{lesion_label(report, subject)}: {words}, not measured."
    return f"{lesion_label(report, subject)}: {words} {', '.join(facts)} (proposed from the segmentation)."


def completeness(counted: Completeness) -> str:
    """Return the completeness in words."""
    return f"{counted.prompts} prompts: {counted.proposed} proposed, {counted.confirmed} confirmed, {counted.open} open"
