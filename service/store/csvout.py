"""The registry as CSV: one row for each value, or one row for each report, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.tables import AnswerRow, CaseRow, PatientRow, ReportRow

_LONG = (
    "patient_id", "issuer", "case", "study_instance_uid", "study_date", "version", "completion", "verification", "item", "subject",
    "tracking_uid", "kind", "value", "code_scheme", "code_value", "number", "unit", "derivation", "status", "provenance", "basis",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe(cell: object) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, CSV injection); a plain number stays a number."""
    text = "" if cell is None else str(cell)
    if text.startswith(_FORMULA) and not _is_number(text):
        return "'" + text
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_long(session: Session, out: TextIO) -> int:
    """Write one row for each value of each current report; return how many."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_LONG)
    query = (
        select(
            PatientRow.patient_id, PatientRow.issuer, CaseRow.id, ReportRow.study_instance_uid, ReportRow.study_date,
            ReportRow.version, ReportRow.completion, ReportRow.verification, AnswerRow.item, AnswerRow.subject,
            AnswerRow.tracking_uid, AnswerRow.kind, AnswerRow.value, AnswerRow.code_scheme, AnswerRow.code_value, AnswerRow.number,
            AnswerRow.unit, AnswerRow.derivation, AnswerRow.status, AnswerRow.provenance, AnswerRow.basis,
        )
        .join(CaseRow, CaseRow.patient_id == PatientRow.id)
        .join(ReportRow, ReportRow.case_id == CaseRow.id)
        .join(AnswerRow, AnswerRow.report_id == ReportRow.id)
        .where(ReportRow.current)
        .order_by(ReportRow.id, AnswerRow.id)
    )  # fmt: skip
    count = 0
    for row in session.execute(query):
        writer.writerow([safe(c) for c in row])
        count += 1
    return count


def write_wide(session: Session, out: TextIO) -> int:
    """Write one row for each current report, one column for each item (and subject); return how many rows."""
    reports = list(
        session.execute(
            select(ReportRow, PatientRow)
            .join(CaseRow, CaseRow.id == ReportRow.case_id)
            .join(PatientRow, PatientRow.id == CaseRow.patient_id)
            .where(ReportRow.current)
            .order_by(ReportRow.id)
        )
    )
    cells: dict[int, dict[str, list[str]]] = {}
    columns: dict[str, None] = {}
    for report, _ in reports:
        own = cells.setdefault(report.id, {})
        for answer in session.scalars(select(AnswerRow).where(AnswerRow.report_id == report.id).order_by(AnswerRow.id)):
            column = "|".join(filter(None, (answer.item, answer.subject, answer.derivation)))
            columns[column] = None
            own.setdefault(column, []).append(answer.value)
    writer = csv.writer(out, lineterminator="\n")
    head = ("patient_id", "issuer", "case", "study_instance_uid", "study_date", "version", "completion", "verification")
    writer.writerow([*head, *columns])
    for report, patient in reports:
        facts: Sequence[object] = (
            patient.patient_id, patient.issuer, report.case_id, report.study_instance_uid, report.study_date, report.version,
            report.completion, report.verification,
        )  # fmt: skip
        answers = ["; ".join(cells[report.id].get(c, ())) for c in columns]
        writer.writerow([safe(c) for c in (*facts, *answers)])
    return len(reports)
