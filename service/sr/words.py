"""What a reader sees first: the prose lines of a report, made from its answers. Never new facts, always the word "proposed".

Each is said in the language that it is asked for (`service.sr.phrases`), English where nothing is said of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType

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
from service.sr.phrases import ENGLISH, Phrase, Wording
from sr_templates import Item
from sr_templates.evaluate import evaluated
from sr_templates.language.values import Fill

#: where an answer came from, in English
WHENCE: Mapping[Provenance, str] = MappingProxyType({p: ENGLISH.whence(p) for p in Provenance})
#: parts the line of a series from its phase, in English, which is read back
PHASE = Phrase.SERIES_PHASE.format(phase="")
#: parts the name of a series from its line
AFTER_SERIES = " · "
_SERIES = "Series "
_UNITS = {"[hnsf'U]": "HU", "cm3": "mL", "d": Phrase.DAYS, "1": ""}


def number(value: Quantity, *, digits: int | None = None, wording: Wording = ENGLISH) -> str:
    """Return a quantity as people write it: HU, mL, %, and whole millimetres where ``digits`` is 0."""
    if value.number is None:
        return wording.meaning(value.qualifier) if value.qualifier else wording.say(Phrase.NO_VALUE)
    exact = value.number
    if digits is not None:
        exact = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    unit = _UNITS.get(value.unit.value, value.unit.value)
    return f"{wording.decimal(exact)} {wording.say(unit) if isinstance(unit, Phrase) else unit}".strip()


def value(given: Value, wording: Wording = ENGLISH) -> str:
    """Return any value as people write it."""
    match given:
        case Code():
            return wording.meaning(given)
        case Quantity():
            return number(given, wording=wording)
        case Date():
            return wording.date(given.value)
        case Uid():
            return given.value
        case PersonName():
            return given.value.split("=")[0].replace("^", " ").strip()
        case str():
            return given


def mark(answer: Answer, wording: Wording = ENGLISH) -> str:
    """Return the words that say how far an answer may be trusted; empty once a person confirmed it."""
    if answer.status is not Status.PROPOSED:
        return ""
    if answer.basis and answer.provenance is Provenance.DICOM:
        return wording.say(Phrase.PROPOSED_FROM, basis=wording.note(answer.basis))
    return wording.say(Phrase.PROPOSED_WHENCE, whence=wording.whence(answer.provenance))


def series_name(key: str) -> str:
    """Return the key of a series as it is written under the concept name "Series"."""
    return key.removeprefix(_SERIES)


def series_key(name: str) -> str:
    """Return the key of the series that is written as ``name``."""
    return f"{_SERIES}{name}"


def series_line(report: Report, subject: Subject, wording: Wording = ENGLISH) -> str:
    """Return the line of a series: what it is, and the enhancement phase with where that came from (`PHASE` parts the two)."""
    phases = [
        f"{wording.phase(v) if isinstance(v, Code) else value(v, wording)} {mark(a, wording)}".strip()
        for a in report.answers_of("tech.phase", subject.key)
        for v in a.values
    ]
    return "".join([wording.note(subject.tracking_id), *(wording.say(Phrase.SERIES_PHASE, phase=p) for p in phases)])


def stated_of_series(asked: Iterable[Item]) -> list[Item]:
    """Return what a person may be asked about a series and its line does not say (`series_line` says the phase)."""
    return [i for i in asked if i.fill is Fill.PERSON and i.key != "tech.phase"]


def _first(report: Report, item: str, subject: str, derivation: str = "") -> Quantity | None:
    for answer in report.answers_of(item, subject):
        meaning = answer.derivation.meaning if answer.derivation else ""
        if (not derivation or meaning == derivation) and answer.values and isinstance(answer.values[0], Quantity):
            return answer.values[0]
    return None


def _code(report: Report, item: str, subject: str) -> Code | None:
    """Return the first code that answers ``item``: what was not evaluated has no place in a sentence."""
    codes = (v for a in report.answers_of(item, subject) if evaluated(a) for v in a.values if isinstance(v, Code))
    return next(codes, None)


def _inner(report: Report, item: str, subject: str, wording: Wording) -> str:
    code = _code(report, item, subject)
    return wording.inner(code) if code is not None else ""


def lesion_series(report: Report, subject: Subject) -> tuple[Subject, ...]:
    """Return the series that a lesion was measured on."""
    lines = {e.series_instance_uid for a in report.answers if a.subject == subject.key for e in a.evidence if e.points}
    return tuple(s for s in report.subjects_of(Scope.SERIES) if s.tracking_uid in lines)


def lesion_label(report: Report, subject: Subject, wording: Wording = ENGLISH) -> str:
    """Return a lesion as a reader tells it from others: its key, the name it was given, the series it was measured on."""
    given = [subject.tracking_id] if subject.tracking_id != subject.key else []
    # with one series there is nothing to tell apart
    several = len(report.subjects_of(Scope.SERIES)) > 1
    where = [wording.series(s.key) for s in lesion_series(report, subject)] if several else []
    where = [w.lower() for w in where] if wording.english else where
    aside = ", ".join([*given, *where])
    return f"{subject.key} ({aside})" if aside else subject.key


def lesion_comment(report: Report, subject: Subject, wording: Wording = ENGLISH) -> str:
    """Return the first line of a lesion's group: how far to trust it, then side, site, size, volume, attenuation, category.

    Viewers hide what hangs below an item (side, statistic, method, basis), so it is said here.
    """
    about = [a for a in report.answers if a.subject == subject.key]
    said = f"{lesion_label(report, subject, wording)}{_contoured(subject)}{_trust(about, wording)}"
    parts = [
        *_place(report, subject.key, wording),
        *_sizes(report, subject.key, wording),
        *_attenuation(report, subject, wording),
    ]
    if category := _code(report, "st.t", subject.key):
        parts.append(wording.say(Phrase.T_CATEGORY, category=category.meaning.removeprefix(_AJCC)))
    return f"{said}: {' · '.join(parts)}" if parts else said


def _contoured(subject: Subject) -> str:
    """Return ", ROI 3 'GTV'" of what was measured on one, in words that are the same in every language; else nothing."""
    mark = subject.segment
    if mark is None or mark.roi is None:
        return ""
    return f", ROI {mark.roi} '{mark.roi_name}'" if mark.roi_name else f", ROI {mark.roi}"


def _trust(about: Iterable[Answer], wording: Wording) -> str:
    """Return ", proposed from the segmentation, not confirmed"; empty where nothing is proposed."""
    answers = tuple(about)
    sources = _sources(answers, wording)
    mixed = any(a.status is Status.CONFIRMED for a in answers)
    phrase = Phrase.PARTLY_UNCONFIRMED if mixed else Phrase.PROPOSED_UNCONFIRMED
    return f", {wording.say(phrase, whence=sources)}" if sources else ""


def _sources(about: Iterable[Answer], wording: Wording) -> str:
    found = dict.fromkeys(wording.whence(a.provenance) for a in about if a.status is Status.PROPOSED)
    return wording.listed(found) if found else ""


def structure_comment(report: Report, subject: Subject, asked: Iterable[Item], wording: Wording = ENGLISH) -> str:
    """Return the first line of a structure's group: what it is, how far to trust it, then every answer in words."""
    about = [(i, a) for i in asked for a in report.answers_of(i.key, subject.key)]
    name = wording.structure(subject) if subject.structure is not None else subject.key
    # a station within a line is written small in English; a translation stands as it is written
    inner = f"{name[:1].lower()}{name[1:]}" if wording.english else name
    said = f"{subject.key}, {inner}" if subject.scope is Scope.NODE else name
    said = f"{said}{_contoured(subject)}{_trust((a for _, a in about), wording)}"
    parts = [
        f"{wording.label(i)}: {'; '.join(value(v, wording) for v in a.values)}{f' ({a.reason})' if a.reason else ''}"
        for i, a in about
    ]
    return f"{said}: {' · '.join(parts)}" if parts else said


_AJCC = "American Joint Committee on Cancer "


def _place(report: Report, subject: str, wording: Wording) -> Iterable[str]:
    """Yield finding, side and site: "Mass, right retroperitoneum"."""
    side, site = (_inner(report, item, subject, wording) for item in ("tid.laterality", "tid.finding_site"))
    place = wording.joined(Phrase.PLACE, side=side, site=site)
    code = _code(report, "tid.finding", subject)
    finding = wording.meaning(code) if code is not None else ""
    if finding or place:
        yield ", ".join(filter(None, (finding, place if finding else f"{place[:1].upper()}{place[1:]}")))


def _sizes(report: Report, subject: str, wording: Wording) -> Iterable[str]:
    for item, phrase in (("sz.long_axis", Phrase.LONG_AXIS), ("sz.short_axis", Phrase.SHORT_AXIS)):
        if size := _first(report, item, subject):
            basis = _basis(report, item, subject, wording) if item == "sz.long_axis" else ""
            yield wording.say(phrase, size=f"{number(size, digits=0, wording=wording)}{basis}")
    if extents := dimensions(report, subject):
        yield wording.say(Phrase.EXTENT, extents=extents)
    if volume := _first(report, "sz.volume", subject):
        yield wording.say(
            Phrase.VOLUME, volume=f"{_volume(volume, wording)}{_basis(report, 'sz.volume', subject, wording)}"
        )


def dimensions(report: Report, subject: str) -> str:
    """Return craniocaudal x transverse x anteroposterior extent in whole mm, or an empty text where one is missing."""
    sizes = [_first(report, item, subject) for item in ("sz.height", "sz.width", "sz.depth")]
    whole = [number(s, digits=0).split(" ")[0] for s in sizes if s is not None and s.number is not None]
    return f"{' x '.join(whole)} mm" if len(whole) == len(sizes) else ""


def _volume(volume: Quantity, wording: Wording) -> str:
    digits = 0 if volume.number is not None and volume.number >= 10 else 1  # noqa: PLR2004 - readable digits
    return number(volume, digits=digits, wording=wording)


def _attenuation(report: Report, subject: Subject, wording: Wording) -> Iterable[str]:
    mean = _first(report, "ct.hu", subject.key, "Mean")
    deviation = _first(report, "ct.hu", subject.key, "Standard Deviation")
    if mean and mean.number is not None:
        spread = (
            wording.say(Phrase.SPREAD, deviation=number(deviation, digits=0).split(" ")[0])
            if deviation and deviation.number is not None
            else ""
        )
        # without its phase an attenuation cannot be compared
        found = (_code(report, "tech.phase", s.key) for s in lesion_series(report, subject))
        phases = dict.fromkeys(wording.phase(p) for p in found if p is not None)
        phase = f" ({wording.listed(phases)})" if phases else ""
        yield wording.say(Phrase.ATTENUATION, mean=f"{number(mean, digits=0, wording=wording)}{spread}{phase}")
    for item, phrase in (("ms.low_att_fraction", Phrase.PART_BELOW_30), ("ms.fat_att_fraction", Phrase.PART_BELOW_FAT)):
        if part := _first(report, item, subject.key):
            yield wording.say(phrase, part=number(part, digits=0, wording=wording))


def _basis(report: Report, item: str, subject: str, wording: Wording) -> str:
    basis = next((a.basis for a in report.answers_of(item, subject)), "")
    return f" ({wording.note(basis)})" if basis else ""


def summary(report: Report, counted: Completeness, *, draft: bool, wording: Wording = ENGLISH) -> str:
    """Return the automatic summary: what is known, what is not, and that nobody has verified it."""
    sentences = []
    if draft:
        sentences.append(wording.say(Phrase.DRAFT))
    sentences.extend(_lesion_sentence(report, s, wording) for s in report.subjects_of(Scope.LESION))
    if not report.subjects_of(Scope.LESION):
        sentences.append(wording.say(Phrase.NO_SEGMENTATION))
    sentences.append(wording.say(Phrase.OPEN_ITEMS, open=counted.open, prompts=counted.prompts))
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


def _lesion_sentence(report: Report, subject: Subject, wording: Wording) -> str:
    side, site = (_inner(report, item, subject.key, wording) for item in ("tid.laterality", "tid.finding_site"))
    finding = _inner(report, "tid.finding", subject.key, wording) or wording.say(Phrase.LESION)
    phrase = Phrase.SEGMENTED if subject.segment else Phrase.MEASURED
    what = wording.joined(phrase, side=side, site=site, finding=finding)
    facts = []
    if size := dimensions(report, subject.key):
        facts.append(wording.say(Phrase.EXTENTS, extents=size))
    elif long_axis := _first(report, "sz.long_axis", subject.key):
        facts.append(wording.say(Phrase.LONG_AXIS_OF, size=number(long_axis, digits=0, wording=wording)))
    volume = _first(report, "sz.volume", subject.key)
    if volume is not None and volume.number is not None:
        facts.append(_volume(volume, wording))
    known = ", ".join(facts) if facts else wording.say(Phrase.NOT_MEASURED)
    said = f"{what}, {lesion_label(report, subject, wording)}: {known}"
    sources = _sources((a for name in _SAID for a in report.answers_of(name, subject.key)), wording)
    return f"{said} {wording.say(Phrase.PROPOSED_WHENCE, whence=sources)}." if sources else f"{said}."


def completeness(counted: Completeness, wording: Wording = ENGLISH) -> str:
    """Return the completeness in words."""
    if counted.confirmed == counted.prompts:
        return wording.say(Phrase.ALL_CONFIRMED, prompts=counted.prompts, confirmed=counted.confirmed)
    return wording.say(
        Phrase.COMPLETENESS,
        prompts=counted.prompts,
        proposed=counted.proposed,
        confirmed=counted.confirmed,
        open=counted.open,
    )
