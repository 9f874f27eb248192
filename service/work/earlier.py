"""The patient's earlier time points: from the registry, and from what nodes sent of studies that it has no report of.

What was read of a study is kept until more of it arrives: a person's answer does not measure it again.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlalchemy.orm import Session

from service.errors import InputError, StoreUnavailable
from service.flow import produce as making
from service.flow import timepoint
from service.flow.produce import Options
from service.measure.segments import measure_study
from service.model.events import StudyEvent
from service.model.prior import PriorReport
from service.model.study import Instance, Study
from service.read.normalise import normalise
from service.read.returned import document_bytes
from service.store import events, inbox, outbox, priors, registry
from service.work.services import Services

_log = logging.getLogger("lms_sr.priors")


def prior_of(session: Session, study: Study) -> PriorReport | None:
    """Return the newest earlier time point of a study's patient, with those before it; None where there is none.

    Of a study with a report in the registry that report counts, whatever else is here of it.
    """
    uid, patient = study.study_instance_uid, study.patient
    known = registry.prior(session, patient.patient_id, patient.issuer, uid, study.date)
    reported = {p.study_instance_uid: p for p in known.points} if known is not None else {}
    points = []
    read = {k.prior_study_uid: k for k in priors.kept(session, uid)}
    for one in reported.values():
        kept = read.get(one.study_instance_uid)
        where = kept.prior if kept is not None else None
        placed = replace(one, lesions_at=where.lesions_at, landmarks=where.landmarks) if where is not None else one
        points.append(placed)
    points += [k.prior for k in read.values() if k.prior is not None and k.node and k.prior_study_uid not in reported]
    return timepoint.chain(points)


def refresh(services: Services, study: Study, options: Options) -> None:
    """Read what arrived of earlier examinations since they were read last; what cannot be read is told, and left out."""
    uid = study.study_instance_uid
    with services.reading() as session:
        known = registry.prior(session, study.patient.patient_id, study.patient.issuer, uid, study.date)
        reported = {p.study_instance_uid: p for p in known.points} if known is not None else {}
        kept = {k.prior_study_uid: k for k in priors.kept(session, uid)}
        newest = list(reported)[: services.settings.priors.max_studies]
        counts = {u: len(inbox.instance_uids(session, u)) for u in dict.fromkeys([*kept, *newest])}
    for prior_uid, count in counts.items():
        if not count or (prior_uid in kept and kept[prior_uid].instances == count):
            continue
        try:
            read, problem = _read(services, study, prior_uid, reported.get(prior_uid), options), ""
        except StoreUnavailable as error:
            ids = {"study": uid, "prior": prior_uid, "error": type(error).__name__}
            _log.warning("prior_unreadable", extra={"ids": ids})
            continue
        except InputError as error:
            read, problem = None, str(error)
        except Exception:  # noqa: BLE001 - the edge: an earlier examination must not stop a draft
            _log.exception("prior_unreadable", extra={"ids": {"study": uid, "prior": prior_uid}})
            read, problem = None, "a fault of LMS-SR: see the log"
        with services.transaction() as session:
            priors.keep(session, uid, prior_uid, read, count)
            if problem:
                events.append(session, uid, StudyEvent.PRIOR_LEFT_OUT, services.now(), reason=f"{prior_uid}: {problem}")


def _read(
    services: Services, study: Study, prior_uid: str, reported: PriorReport | None, options: Options
) -> PriorReport | None:
    """Return what an earlier study says; None where nothing in it can be compared.

    Raises
    ------
    InputError
        It is of somebody else.
    StoreUnavailable
        A file cannot be read now.
    """
    with services.reading() as session:
        instances = inbox.load_instances(session, prior_uid)
        ours = outbox.sent_uids(session, prior_uid)
    there = making.without(normalise(instances, default_issuer=services.settings.site.issuer), ours)
    timepoint.must_be_earlier(study, there)
    measured = measure_study(there, lambda instance: services.spool.root / instance.path, services.settings.measuring)
    if reported is not None and reported.report is not None:
        return timepoint.with_report(timepoint.place_of(there, measured), reported.report, there, measured)
    found = timepoint.documents(there, lambda instance: document_bytes(services.spool.root / instance.path))
    for instance, error in found.unread:
        _unreadable(there, instance, error)
    return timepoint.time_point(there, measured, found, making.device(options))


def _unreadable(there: Study, instance: Instance, error: Exception) -> None:
    # the text of an error may quote the report
    ids = {"study": there.study_instance_uid, "instance": instance.sop_instance_uid, "error": type(error).__name__}
    _log.warning("prior_unreadable", extra={"ids": ids})
