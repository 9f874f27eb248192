"""The measured course of a patient's disease, from the registry: for the plot of the tumour over time."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.model.prior import CoursePoint
from service.model.report import Status
from service.store.tables import AnswerRow, CaseRow, PatientRow, ReportRow

_ITEMS = ("sz.long_axis", "sz.volume", "fu.sum")


def course(session: Session, patient_id: str, issuer: str) -> tuple[CoursePoint, ...]:
    """Return what the current reports of a patient measured, in the order of their studies; empty for a patient not known.

    Lengths in mm, volumes in mL; a study without a date has no place in a course and is left out.
    """
    if not patient_id:
        return ()
    query = (
        select(
            ReportRow.study_instance_uid, ReportRow.study_date, AnswerRow.item, AnswerRow.tracking_uid,
            AnswerRow.number, AnswerRow.status,
        )
        .join(ReportRow, ReportRow.id == AnswerRow.report_id)
        .join(CaseRow, CaseRow.id == ReportRow.case_id)
        .join(PatientRow, PatientRow.id == CaseRow.patient_id)
        .where(
            PatientRow.patient_id == patient_id,
            PatientRow.issuer == issuer,
            ReportRow.current,
            ReportRow.study_date != "",
            AnswerRow.item.in_(_ITEMS),
        )
        .order_by(ReportRow.study_date, ReportRow.id, AnswerRow.id)
    )  # fmt: skip
    return tuple(
        CoursePoint(
            study_instance_uid=uid,
            date=date,
            item=item,
            tracking_uid=tracking_uid,
            number=float(number),
            proposed=status == Status.PROPOSED.value,
        )
        for uid, date, item, tracking_uid, number, status in session.execute(query)
        if number is not None
    )
