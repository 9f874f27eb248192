"""`Report` to `PageContent`: goes through the template's sections and the report's subjects, so that a new item needs no code here.

Everything is said in the language that is asked for; beside it stand the codes, which have none.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from zoneinfo import ZoneInfo

from service import __version__
from service.model.code import Code
from service.model.course import Course
from service.model.report import Answer, Completeness, Provenance, Quantity, Report, Scope, Status, Subject, Value
from service.model.study import Study
from service.page.content import (
    Captions,
    Cell,
    EvidenceRow,
    Fact,
    Matrix,
    MatrixLine,
    PageContent,
    Paragraph,
    Picture,
    Row,
    Signature,
    Table,
    TimePoint,
)
from service.page.course_table import course_tables
from service.sr import words
from service.sr.encode import observer_rows
from service.sr.phrases import ENGLISH, Phrase, Wording
from sr_templates import Item, Template
from sr_templates.language.values import ItemType

BANNER = Phrase.BANNER.value
_IMPRESSION, _TECHNIQUE = "impression", "technique"
#: scopes whose subjects are the lines of a table of their own
_MATRICES = (Scope.VESSEL, Scope.ORGAN, Scope.NODE, Scope.METASTASIS, Scope.CANDIDATE)
#: more columns than this stand in a second matrix below
_MOST_COLUMNS = 6
#: identity rows: the heading of their table says them
_IDENTITY = frozenset({"tid.tracking_id", "tid.tracking_uid"})
#: what a table over time tells
_COURSES = frozenset({"fu.course", "fu.sum_course"})
#: texts of these were put together by the software
_WRITTEN = frozenset({Provenance.RULE, Provenance.PRIOR, Provenance.SEGMENTATION})
_SEXES = {"M": Phrase.MALE, "F": Phrase.FEMALE, "O": Phrase.OTHER}


def page_content(
    report: Report,
    template: Template,
    study: Study,
    counted: Completeness,
    *,
    created_at: dt.datetime,
    timezone: str = "UTC",
    version: int = 1,
    sop_instance_uid: str = "",
    signed: Signature | None = None,
    evidence_rows: tuple[EvidenceRow, ...] = (),
    history: tuple[TimePoint, ...] = (),
    history_label: str = "Long axis",
    volume_label: str = "",
    courses: tuple[Course, ...] = (),
    pictures: tuple[Picture, ...] = (),
    wording: Wording = ENGLISH,
) -> PageContent:
    """Return what stands on the page of a report.

    Parameters
    ----------
    report, template, study, counted:
        The report, its template, the study it is about, and how complete it is.
    created_at, timezone:
        When the page was made (aware), and the site's time zone, in which times are shown.
    version, sop_instance_uid:
        The version of the report, and the SR that the page shows.
    signed:
        Who verified it and when; None: a draft, which the page says in large letters.
    evidence_rows:
        The differential: features that favour a diagnosis or argue against it.
    history, history_label, volume_label:
        The tumour over time, this examination included, and what its lengths and volumes are: for the plot.
    courses:
        What each examination measured, for the tables; they stand for the answers that say the same in words.
    pictures:
        Drawn key images, the most important first.
    wording:
        The language of the page. What is handed over as text (differential, captions of pictures) is in it already.
    """
    told = frozenset(c.subject for c in courses)
    return PageContent(
        title=wording.heading(template.title),
        banner="" if signed else wording.say(Phrase.BANNER),
        status=_signed(signed, timezone, wording) if signed else words.completeness(counted, wording),
        patient=person_name(study.patient.name) or wording.say(Phrase.NO_NAME),
        facts=tuple(_facts(study, wording)),
        impression=tuple(_impression(report, template, counted, wording, draft=signed is None)),
        pictures=pictures,
        history=history,
        history_label=wording.language.phrases.get(history_label, history_label),
        volume_label=volume_label,
        courses=course_tables(courses, report, wording),
        lesions=tuple(_lesions(report, template, wording, told)),
        matrices=tuple(_matrices(report, template, wording)),
        evidence=evidence_rows,
        sections=tuple(_sections(report, template, wording, told)),
        open_items=tuple(wording.prompt(p, template) for p in counted.open_items),
        remarks=tuple(wording.note(r) for r in report.remarks),
        version=wording.say(Phrase.VERSION, version=version),
        sop_instance_uid=sop_instance_uid,
        made_by=wording.say(
            Phrase.MADE_BY,
            software=f"LMS-SR {__version__}",
            template=f"{report.template} {report.template_version}",
        ),
        created_at=created_at,
        captions=captions(wording),
    )


def captions(wording: Wording) -> Captions:
    """Return what the layouts say themselves."""
    return Captions(
        language=wording.language.tag,
        proposed=wording.say(Phrase.PROPOSED),
        tumour=wording.say(Phrase.HEAD_TUMOUR),
        report=wording.say(Phrase.HEAD_REPORT),
        differential=wording.say(Phrase.HEAD_DIFFERENTIAL),
        open_items=wording.say(Phrase.HEAD_OPEN),
        item=wording.say(Phrase.COLUMN_ITEM),
        value=wording.say(Phrase.COLUMN_VALUE),
        code=wording.say(Phrase.COLUMN_CODE),
        source=wording.say(Phrase.COLUMN_SOURCE),
        diagnosis=wording.say(Phrase.COLUMN_DIAGNOSIS),
        favours=wording.say(Phrase.COLUMN_FAVOURS),
        argues_against=wording.say(Phrase.COLUMN_AGAINST),
        reference=wording.say(Phrase.COLUMN_REFERENCE),
        note=wording.say(Phrase.NOTE),
        hollow=wording.say(Phrase.HOLLOW),
        volume=wording.say(Phrase.VOLUME_OVER_TIME),
        examined=wording.say(Phrase.EXAMINATION),
        this_examination=wording.say(Phrase.THIS_EXAMINATION),
        stands=wording.say(Phrase.COLUMN_STANDS),
        more_examinations=wording.say(Phrase.MORE_EXAMINATIONS),
        page_of=wording.say(Phrase.PAGE_OF),
        more_tables=wording.say(Phrase.MORE_TABLES),
        more_pictures=wording.say(Phrase.MORE_PICTURES),
        more_rows=wording.say(Phrase.MORE_ROWS),
        more_lines=wording.say(Phrase.MORE_LINES),
        more=wording.say(Phrase.MORE),
        more_characters=wording.say(Phrase.MORE_CHARACTERS),
        date=wording.say(Phrase.DATE),
        decimal_mark=wording.decimal_mark,
    )


def person_name(written: str) -> str:
    """Return a PN as people write it: alphabetic form first, the other component groups in brackets."""
    groups = [g.replace("^", ", ", 1).replace("^", " ").strip(", ") for g in written.split("=")]
    named = [g for g in groups if g]
    if not named:
        return ""
    others = [g.replace(", ", " ") for g in named[1:]]
    return f"{named[0]} ({', '.join(others)})" if others else named[0]


def _signed(signature: Signature, timezone: str, wording: Wording) -> str:
    local = signature.at.astimezone(ZoneInfo(timezone))
    who = ", ".join(filter(None, (person_name(signature.name), signature.organisation)))
    when = f"{wording.date(f'{local:%Y%m%d}')} {local:%H:%M}"
    return wording.say(Phrase.VERIFIED_BY, who=who, when=when, timezone=timezone)


def _facts(study: Study, wording: Wording) -> Iterator[Fact]:
    def fact(label: Phrase, value: str, otherwise: Phrase = Phrase.NOT_KNOWN) -> Fact:
        return Fact(label=wording.say(label), value=value or wording.say(otherwise))

    patient = study.patient
    issuer = f" ({patient.issuer})" if patient.issuer else ""
    yield fact(Phrase.PATIENT_ID, f"{patient.patient_id}{issuer}" if patient.patient_id else "", Phrase.NONE)
    yield fact(Phrase.BORN, wording.date(patient.birth_date))
    yield fact(Phrase.SEX, wording.say(_SEXES[patient.sex]) if patient.sex in _SEXES else "")
    yield fact(Phrase.ACCESSION, study.accession_number, Phrase.NONE)
    yield fact(Phrase.STUDY_DATE, wording.date(study.date))
    yield fact(Phrase.EXAMINATION, study.description or ", ".join(study.modalities))


# --- prose ------------------------------------------------------------------------------------------------------------


def _impression(
    report: Report, template: Template, counted: Completeness, wording: Wording, *, draft: bool
) -> Iterator[Paragraph]:
    if draft:
        said = words.summary(report, counted, draft=False, wording=wording)
        yield Paragraph(label=wording.say(Phrase.SUMMARY), text=said)
    for item in (i for s in template.sections if s.key == _IMPRESSION for i in s.items):
        for answer in report.answers_of(item.key):
            shown = "; ".join(words.value(v, wording) for v in answer.values)
            origin = whence(answer, wording) if _proposed(answer) else ""
            yield Paragraph(label=wording.label(item), text=shown, whence=origin)


def whence(answer: Answer, wording: Wording = ENGLISH) -> str:
    """Return the words that say where an answer came from and whether a person stands behind it."""
    source = wording.whence(answer.provenance)
    if answer.status is Status.PROPOSED:
        return wording.say(Phrase.PROPOSED_UNCONFIRMED, whence=source)
    if answer.status is Status.AUTOMATIC:
        return source
    by = wording.say(Phrase.BY_PERSON, person=person_name(answer.observer)) if answer.observer else ""
    if answer.provenance is Provenance.RADIOLOGIST:
        return wording.say(Phrase.STATED, by=by or wording.say(Phrase.BY_RADIOLOGIST))
    if by:
        return wording.say(Phrase.CONFIRMED_BY, whence=source, by=by)
    return wording.say(Phrase.CONFIRMED, whence=source)


def _proposed(answer: Answer) -> bool:
    return answer.status is Status.PROPOSED


# --- rows -------------------------------------------------------------------------------------------------------------


def _shown(items: Iterable[Item], *, told: bool = False) -> Iterator[Item]:
    """Leave out what is no reader's business: UIDs, what the heading says already, and a course that is ``told`` in a table."""
    return (
        i for i in items if i.type is not ItemType.UID and i.key not in _IDENTITY and not (told and i.key in _COURSES)
    )


def _lesions(report: Report, template: Template, wording: Wording, told: Collection[str]) -> Iterator[Table]:
    for subject in report.subjects_of(Scope.LESION):
        asked = _shown((i for i in template if i.scope is Scope.LESION), told=subject.key in told)
        rows = tuple(_rows(report, asked, subject.key, wording))
        if rows or subject.remarks:
            remarks = tuple(wording.note(r) for r in subject.remarks)
            yield _table(words.lesion_label(report, subject, wording), rows, wording, remarks)


def _sections(report: Report, template: Template, wording: Wording, told: Collection[str]) -> Iterator[Table]:
    for section in template.sections:
        if section.key == _IMPRESSION:
            continue
        # who answers for the report stands in the head, what made it in the foot
        asked = (i for i in section.items if i.scope is Scope.REPORT and i.key not in observer_rows(report))
        rows = tuple(_rows(report, _shown(asked, told="" in told), "", wording))
        if section.key == _TECHNIQUE:
            series = report.subjects_of(Scope.SERIES)
            rows = (*(r for s in series for r in _series(report, template, s, wording)), *rows)
        if rows:
            yield _table(wording.heading(section.heading), rows, wording)


def _table(title: str, rows: tuple[Row, ...], wording: Wording, remarks: tuple[str, ...] = ()) -> Table:
    counted = Counter(r.whence for r in rows if r.whence)
    most = max(counted, key=lambda w: counted[w], default="")
    common = most if counted[most] > 1 else ""
    return Table(title=title, rows=rows, whence=common, remarks=remarks, doubt=wording.say(Phrase.PROPOSED))


def _series(report: Report, template: Template, subject: Subject, wording: Wording) -> Iterator[Row]:
    """Yield the line of a series, then what else a person is asked about it."""
    phase = report.answers_of("tech.phase", subject.key)
    # the line says itself what of it was proposed, and from what
    line = words.series_line(report, subject, wording)
    name = wording.series(subject.key)
    proposed = any(_proposed(a) for a in phase)
    said = next((whence(a, wording) for a in phase if not _proposed(a)), "")
    yield Row(item=name, value=line, whence=said, proposed=proposed, wide=True)
    for item in words.stated_of_series(i for i in template if i.scope is Scope.SERIES):
        for row in _rows(report, (item,), subject.key, wording):
            yield replace(row, item=f"{name}: {row.item}")


def _rows(report: Report, items: Iterable[Item], subject: str, wording: Wording) -> Iterator[Row]:
    for item in items:
        for answer in report.answers_of(item.key, subject):
            for value in answer.values:
                yield _row(item, answer, value, wording)


def _row(item: Item, answer: Answer, value: Value, wording: Wording) -> Row:
    shown, unit = _value(value, wording)
    # what the software put together is no one's own words
    shown = wording.note(shown) if isinstance(value, str) and answer.provenance in _WRITTEN else shown
    code = value if isinstance(value, Code) else item.concept
    derived = f", {wording.inner(answer.derivation)}" if answer.derivation else ""
    reason = wording.say(Phrase.REASON, reason=answer.reason) if answer.reason else ""
    return Row(
        item=f"{wording.label(item)}{derived}",
        value=shown,
        unit=unit,
        code=f"{code.scheme} {code.value}",
        whence=whence(answer, wording),
        basis="; ".join(filter(None, (wording.note(answer.basis), reason))),
        proposed=_proposed(answer),
        numeric=isinstance(value, Quantity) and value.number is not None,
    )


def _value(value: Value, wording: Wording) -> tuple[str, str]:
    """Return value and unit as people write them."""
    said = words.value(value, wording)
    if not isinstance(value, Quantity) or value.number is None:
        return said, ""
    shown, _, unit = said.partition(" ")
    return shown, unit


# --- matrices ---------------------------------------------------------------------------------------------------------


def _matrices(report: Report, template: Template, wording: Wording) -> Iterator[Matrix]:
    for scope in _MATRICES:
        subjects = report.subjects_of(scope)
        asked = tuple(_shown(i for i in template if i.scope is scope))
        used = [i for i in asked if any(report.answers_of(i.key, s.key) for s in subjects)]
        for first in range(0, len(used), _MOST_COLUMNS):
            columns = used[first : first + _MOST_COLUMNS]
            # a row of dashes tells a reader nothing that the first table has not said
            about = [s for s in subjects if not first or any(report.answers_of(i.key, s.key) for i in columns)]
            heading = _heading(template, columns[0], scope, wording)
            yield Matrix(
                title=wording.say(Phrase.CONTINUED, heading=heading) if first else heading,
                columns=tuple(wording.label(i) for i in columns),
                lines=tuple(_line(report, columns, s, wording, with_remarks=not first) for s in about),
                whence=_common(report, columns, subjects, wording),
            )


def _heading(template: Template, item: Item, scope: Scope, wording: Wording) -> str:
    return next(
        (wording.heading(s.heading) for s in template.sections if s.key == item.section), scope.value.capitalize()
    )


def _line(report: Report, columns: list[Item], subject: Subject, wording: Wording, *, with_remarks: bool) -> MatrixLine:
    why = (
        f"{wording.label(i)}: {a.reason}" for i in columns for a in report.answers_of(i.key, subject.key) if a.reason
    )
    remark = "; ".join([*(wording.note(r) for r in subject.remarks if with_remarks), *why])
    return MatrixLine(
        name=_name(subject, wording),
        cells=tuple(_cell(report.answers_of(i.key, subject.key), wording) for i in columns),
        remark=remark,
    )


def _name(subject: Subject, wording: Wording) -> str:
    # the name that a structure was given is in English; a node's is its key
    named = wording.english or subject.structure is None or subject.scope is Scope.NODE
    return (subject.tracking_id or subject.key) if named else wording.structure(subject)


def _cell(answers: tuple[Answer, ...], wording: Wording) -> Cell:
    said = "; ".join(words.value(v, wording) for a in answers for v in a.values)
    return Cell(text=said, proposed=any(_proposed(a) for a in answers))


def _common(report: Report, columns: list[Item], subjects: tuple[Subject, ...], wording: Wording) -> str:
    """Return where the answers of a matrix came from, in the order in which they first appear."""
    found = [whence(a, wording) for s in subjects for i in columns for a in report.answers_of(i.key, s.key)]
    return "; ".join(dict.fromkeys(found))
