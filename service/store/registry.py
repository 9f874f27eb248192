"""The case registry: patients, cases, report versions, lesions, answers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from service.flow.carry import Difference
from service.flow.lifecycle import Action, State, Transition
from service.model.code import Code
from service.model.identity import identity_hash
from service.model.measurement import Reference
from service.model.prior import KnownLesion, PriorReport
from service.model.report import (
    Answer,
    Completeness,
    CompletionFlag,
    Date,
    PersonName,
    Quantity,
    Report,
    Scope,
    Uid,
    Value,
    VerificationFlag,
)
from service.model.report_json import content_hash, from_json, to_json
from service.model.signing import Person, Signature
from service.model.study import Study
from service.store import life
from service.store.tables import AnswerRow, CaseRow, LesionRow, PatientRow, ReportRow

#: earlier reports of a patient that a course is made of; nobody has more examinations of one tumour
MAX_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """One version of a report, without its content."""

    id: int
    case_id: int
    study_instance_uid: str
    study_date: str
    modalities: str
    accession_number: str
    template: str
    template_version: str
    version: int
    content_hash: str
    completion: CompletionFlag
    verification: VerificationFlag
    proposed: int
    confirmed: int
    open: int
    current: bool
    created_at: dt.datetime
    state: State = State.DRAFT
    #: content hash of what the facts alone said when the version was made
    facts_hash: str = ""
    #: of the patient and order that it names; empty: not known
    identity_hash: str = ""
    signature: Signature | None = None

    def names(self, study: Study) -> bool:
        """Say whether it names patient and order as the study does now, as far as is known."""
        return self.identity_hash in {"", identity_hash(study)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How a version came about, and what is kept with it."""

    transition: Transition
    signature: Signature | None = None
    #: of what the facts alone say
    facts_hash: str = ""
    differences: tuple[Difference, ...] = ()
    #: reports of others whose content is in it
    taken_in: tuple[Reference, ...] = ()
    #: what others saved into our series and it replaces, without its content
    over: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSummary:
    """One line of the registry: a case and its newest report."""

    case_id: int
    patient_id: str
    issuer: str
    opened_at: dt.datetime
    studies: int
    lesions: int
    newest: ReportRecord


def register(
    session: Session,
    study: Study,
    report: Report,
    counted: Completeness,
    *,
    version: int,
    at: dt.datetime,
    entry: Entry | None = None,
) -> int:
    """Add a report version with its patient, case, lesions and answers, make it the current one, and return its id.

    ``entry`` says how it came about; without one it is the first draft of the facts. A withdrawn version leaves no current one.
    """
    hashed = content_hash(report)
    entry = entry or Entry(transition=Transition(action=Action.RECOMPOSE, before=None, after=State.DRAFT, at=at))
    state, signature = entry.transition.after, entry.signature
    case_id = _case(session, study.patient.patient_id, study.patient.issuer, at)
    session.execute(
        update(ReportRow)
        .where(ReportRow.study_instance_uid == report.study_instance_uid, ReportRow.template == report.template)
        .values(current=False)
    )
    row = ReportRow(
        case_id=case_id,
        study_instance_uid=report.study_instance_uid,
        study_date=study.date,
        modalities=" ".join(report.modalities)[:64],
        accession_number=study.accession_number,
        template=report.template,
        template_version=report.template_version,
        version=version,
        content_hash=hashed,
        completion=(CompletionFlag.COMPLETE if signature else CompletionFlag.PARTIAL).value,
        verification=(VerificationFlag.VERIFIED if signature else VerificationFlag.UNVERIFIED).value,
        proposed=counted.proposed,
        confirmed=counted.confirmed,
        open=counted.open,
        current=state is not State.WITHDRAWN,
        created_at=at,
        content=to_json(report),
        state=state.value,
        facts_hash=entry.facts_hash or hashed,
        identity_hash=identity_hash(study),
        **_signed(signature),
    )
    session.add(row)
    session.flush()
    life.record(session, row.id, report.study_instance_uid, version, entry.transition)
    life.add_differences(session, row.id, entry.differences, at)
    life.add_sources(session, row.id, taken_in=entry.taken_in, replaced=entry.over)
    _lesions(session, case_id, report)
    tracked = {s.key: s.tracking_uid for s in report.subjects}
    values = [_answer_row(row.id, a, n, v, tracked) for a in report.answers for n, v in enumerate(a.values)]
    if values:
        session.execute(insert(AnswerRow), values)
    return row.id


def _signed(signature: Signature | None) -> dict[str, Any]:
    if signature is None:
        return {}
    person, code = signature.person, signature.person.code
    return {
        "signer": person.name,
        "signer_organisation": person.organisation,
        "signer_code": code.value if code else "",
        "signer_scheme": code.scheme if code else "",
        "signer_meaning": code.meaning if code else "",
        "signed_at": signature.at,
    }


def set_facts(session: Session, report_id: int, facts_hash: str) -> None:
    """Say that a version was held against facts, and stands as it is."""
    session.execute(update(ReportRow).where(ReportRow.id == report_id).values(facts_hash=facts_hash))


def _case(session: Session, patient_id: str, issuer: str, at: dt.datetime) -> int:
    """Return the patient's case, made with the first report.

    One case for each patient: that two tumours are two cases is for a person to say.
    """
    patient = session.scalar(select(PatientRow).where(PatientRow.patient_id == patient_id, PatientRow.issuer == issuer))
    if patient is None:
        patient = PatientRow(patient_id=patient_id, issuer=issuer)
        session.add(patient)
        session.flush()
    case = session.scalar(select(CaseRow).where(CaseRow.patient_id == patient.id).order_by(CaseRow.id))
    if case is None:
        case = CaseRow(patient_id=patient.id, opened_at=at)
        session.add(case)
        session.flush()
    return case.id


def _lesions(session: Session, case_id: int, report: Report) -> None:
    known = set(session.scalars(select(LesionRow.tracking_uid).where(LesionRow.case_id == case_id)))
    for subject in report.subjects_of(Scope.LESION):
        if subject.tracking_uid not in known:
            known.add(subject.tracking_uid)
            session.add(
                LesionRow(
                    case_id=case_id,
                    tracking_uid=subject.tracking_uid,
                    tracking_id=subject.tracking_id,
                    first_study_instance_uid=report.study_instance_uid,
                )
            )


def _answer_row(
    report_id: int, answer: Answer, ordinal: int, value: Value, tracked: dict[str, str]
) -> dict[str, object]:
    row: dict[str, object] = {
        "report_id": report_id,
        "item": answer.item,
        "subject": answer.subject,
        "tracking_uid": tracked.get(answer.subject, ""),
        "ordinal": ordinal,
        "kind": "text",
        "code_value": "",
        "code_scheme": "",
        "value": "",
        "number": None,
        "unit": "",
        "derivation": answer.derivation.meaning if answer.derivation else "",
        "status": answer.status.value,
        "provenance": answer.provenance.value,
        "basis": answer.basis,
        "reason": answer.reason,
        "observer": answer.observer,
    }
    match value:
        case Code():
            row |= {"kind": "code", "code_value": value.value, "code_scheme": value.scheme, "value": value.meaning}
        case Quantity():
            exact = value.number
            row |= {"kind": "number", "unit": value.unit.value, "value": "" if exact is None else f"{exact:f}"}
            row["number"] = None if exact is None else float(exact)
        case Date() | Uid() | PersonName():
            kinds: dict[type, str] = {Date: "date", Uid: "uid", PersonName: "person"}
            row |= {"kind": kinds[type(value)], "value": value.value}
        case str():
            row["value"] = value
    return row


def prior(session: Session, patient_id: str, issuer: str, before_study: str, date: str = "") -> PriorReport | None:
    """Return the newest report of the patient about another study than ``before_study``, with those before it; None without one.

    Newest by study date, then by when the report was made. ``date`` is the Study Date of ``before_study``: what is later is no comparison
    of it, however it came first.
    """
    if not patient_id:
        return None
    query = (
        select(ReportRow)
        .join(CaseRow, CaseRow.id == ReportRow.case_id)
        .join(PatientRow, PatientRow.id == CaseRow.patient_id)
        .where(
            PatientRow.patient_id == patient_id,
            PatientRow.issuer == issuer,
            ReportRow.study_instance_uid != before_study,
            ReportRow.current,
        )
    )
    if date:
        # dates as DICOM writes them sort as text; a study without one may be an earlier one
        query = query.where(ReportRow.study_date <= date)
    found: dict[str, PriorReport] = {}
    for row in session.scalars(
        query.order_by(ReportRow.study_date.desc(), ReportRow.created_at.desc(), ReportRow.id.desc()).limit(MAX_POINTS)
    ):
        # of two reports of one study the newer one
        found.setdefault(row.study_instance_uid, _prior(session, row))
    points = tuple(found.values())
    return replace(points[0], earlier=points[1:]) if points else None


def _prior(session: Session, row: ReportRow) -> PriorReport:
    lesions = session.scalars(select(LesionRow).where(LesionRow.case_id == row.case_id).order_by(LesionRow.id))
    return PriorReport(
        study_instance_uid=row.study_instance_uid,
        study_date=row.study_date,
        modalities=tuple(row.modalities.split()),
        accession_number=row.accession_number,
        version=row.version,
        signed=row.verification == VerificationFlag.VERIFIED.value,
        lesions=tuple(KnownLesion(tracking_id=le.tracking_id, tracking_uid=le.tracking_uid) for le in lesions),
        report=from_json(row.content),
    )


def studies_of(session: Session, patient_id: str, issuer: str) -> frozenset[str]:
    """Return the studies of a patient that the registry has a current report of."""
    query = (
        select(ReportRow.study_instance_uid)
        .join(CaseRow, CaseRow.id == ReportRow.case_id)
        .join(PatientRow, PatientRow.id == CaseRow.patient_id)
        .where(PatientRow.patient_id == patient_id, PatientRow.issuer == issuer, ReportRow.current)
    )
    return frozenset(session.scalars(query))


def patient_of(session: Session, case_id: int) -> tuple[str, str]:
    """Return the Patient ID and issuer of a case."""
    query = select(PatientRow.patient_id, PatientRow.issuer).join(CaseRow, CaseRow.patient_id == PatientRow.id)
    patient_id, issuer = session.execute(query.where(CaseRow.id == case_id)).one()
    return patient_id, issuer


def is_known(session: Session, patient_id: str, issuer: str) -> bool:
    """Say whether the registry has a case of this patient."""
    if not patient_id:
        return False
    query = (
        select(func.count())
        .select_from(CaseRow)
        .join(PatientRow, PatientRow.id == CaseRow.patient_id)
        .where(PatientRow.patient_id == patient_id, PatientRow.issuer == issuer)
    )
    return bool(session.scalar(query))


def current(session: Session, study_instance_uid: str, template: str | None = None) -> ReportRecord | None:
    """Return the current version of a study's report."""
    query = select(ReportRow).where(ReportRow.study_instance_uid == study_instance_uid, ReportRow.current)
    if template is not None:
        query = query.where(ReportRow.template == template)
    row = session.scalars(query.order_by(ReportRow.id.desc()).limit(1)).first()
    return _record(row) if row else None


def newest(session: Session, study_instance_uid: str) -> ReportRecord | None:
    """Return the newest version of a study's report, withdrawn or not."""
    query = select(ReportRow).where(ReportRow.study_instance_uid == study_instance_uid)
    row = session.scalars(query.order_by(ReportRow.id.desc()).limit(1)).first()
    return _record(row) if row else None


def versions(session: Session, study_instance_uid: str) -> tuple[ReportRecord, ...]:
    """Return every version of a study's reports, oldest first."""
    query = select(ReportRow).where(ReportRow.study_instance_uid == study_instance_uid).order_by(ReportRow.id)
    return tuple(_record(r) for r in session.scalars(query))


def get(session: Session, report_id: int) -> ReportRecord | None:
    """Return a report version by its id, or None."""
    row = session.get(ReportRow, report_id)
    return _record(row) if row else None


def read_content(session: Session, report_id: int) -> Report:
    """Return the `Report` of a version."""
    return from_json(session.scalars(select(ReportRow.content).where(ReportRow.id == report_id)).one())


def list_cases(session: Session, *, limit: int = 1000) -> tuple[CaseSummary, ...]:
    """Return the cases, the one with the newest report first."""
    newest: dict[int, ReportRow] = {}
    studies: dict[int, set[str]] = {}
    for row in session.scalars(select(ReportRow).where(ReportRow.current).order_by(ReportRow.id.desc())):
        newest.setdefault(row.case_id, row)
        studies.setdefault(row.case_id, set()).add(row.study_instance_uid)
    counted = session.execute(select(LesionRow.case_id, func.count()).group_by(LesionRow.case_id))
    lesions = {case_id: count for case_id, count in counted}  # noqa: C416 - a row is no pair to the type checker
    patients = {
        case.id: (case, patient)
        for case, patient in session.execute(
            select(CaseRow, PatientRow).join(PatientRow, PatientRow.id == CaseRow.patient_id)
        )
    }
    return tuple(
        CaseSummary(
            case_id=case_id,
            patient_id=patients[case_id][1].patient_id,
            issuer=patients[case_id][1].issuer,
            opened_at=patients[case_id][0].opened_at,
            studies=len(studies[case_id]),
            lesions=lesions.get(case_id, 0),
            newest=_record(row),
        )
        for case_id, row in list(newest.items())[:limit]
    )


def _record(row: ReportRow) -> ReportRecord:
    return ReportRecord(
        id=row.id,
        case_id=row.case_id,
        study_instance_uid=row.study_instance_uid,
        study_date=row.study_date,
        modalities=row.modalities,
        accession_number=row.accession_number,
        template=row.template,
        template_version=row.template_version,
        version=row.version,
        content_hash=row.content_hash,
        completion=CompletionFlag(row.completion),
        verification=VerificationFlag(row.verification),
        proposed=row.proposed,
        confirmed=row.confirmed,
        open=row.open,
        current=row.current,
        created_at=row.created_at,
        state=State(row.state),
        facts_hash=row.facts_hash,
        identity_hash=row.identity_hash,
        signature=_signature(row),
    )


def _signature(row: ReportRow) -> Signature | None:
    if not row.signer or row.signed_at is None:
        return None
    code = Code(row.signer_code, row.signer_scheme, row.signer_meaning) if row.signer_code else None
    person = Person(name=row.signer, organisation=row.signer_organisation, code=code)
    return Signature(person=person, at=row.signed_at)
