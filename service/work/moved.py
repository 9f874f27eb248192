"""An examination that was corrected to another patient: who else has to hear of it."""

from __future__ import annotations

from service.store import inbox, registry
from service.store.registry import ReportRecord
from service.work import issuing
from service.work.services import Services
from service.work.versions import Known

_WHY = (
    "an examination was corrected from this patient to another one, or to this one: what the report says of earlier examinations, and of "
    "change since them, may not hold"
)


def tell_others(services: Services, known: Known, current: ReportRecord) -> None:
    """Flag the reports of both patients where a study goes from one to the other: what they compare with has changed."""
    patient = known.study.patient
    now = (patient.patient_id, patient.issuer)
    with services.transaction() as session:
        before = registry.patient_of(session, current.case_id)
        if before == now:
            return
        others = registry.studies_of(session, *before) | registry.studies_of(session, *now)
        for uid in sorted(others - {known.record.study_instance_uid}):
            study = inbox.get_study(session, uid)
            if study is None or _WHY in study.flag:
                continue
            way = f"{_WHY}: 'lms-sr start {uid}' composes a draft anew, 'lms-sr report show {uid}' shows a signed one"
            issuing.flag(services, session, uid, f"{study.flag}; {way}" if study.flag else way)
