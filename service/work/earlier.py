"""The patient's earlier time points: from the registry, and from what nodes sent of studies that it has no report of.

What was read of a study is kept until more of it arrives: a person's answer does not measure it again.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlalchemy.orm import Session

from service.errors import InputError, StoreUnavailable
from service.flow import matching
from service.flow import produce as making
from service.flow.compose import Facts, compose
from service.flow.produce import Options
from service.flow.taking import Returned, of_foreign, take
from service.measure.segments import measure_study
from service.model.events import StudyEvent
from service.model.prior import PriorReport
from service.model.report import Scope
from service.model.study import Instance, Study
from service.read.normalise import normalise
from service.read.returned import SR_CLASSES, read_foreign
from service.sr.returned import Edited, read_edited
from service.store import events, inbox, outbox, priors, registry
from service.work.services import Services
from service.work.taking import MAX_BYTES
from sr_templates import load_template, template_names

_log = logging.getLogger("lms_sr.priors")

#: what an earlier examination without a report of ours is put together by: every template measures alike
_TEMPLATE = "baseline"


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
        points.append(replace(placed, earlier=()))
    points += [k.prior for k in read.values() if k.prior is not None and k.node and k.prior_study_uid not in reported]
    points.sort(key=lambda p: p.study_date, reverse=True)
    return replace(points[0], earlier=tuple(points[1:])) if points else None


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
    _must_be_same(study, there)
    measured = measure_study(there, lambda instance: services.spool.root / instance.path, services.settings.measuring)
    point = PriorReport(
        study_instance_uid=prior_uid,
        study_date=there.date,
        modalities=there.modalities,
        accession_number=there.accession_number,
        landmarks=matching.landmarks(there, measured),
    )
    if reported is not None and reported.report is not None:
        return replace(point, lesions_at=matching.places(reported.report.subjects, there, measured))
    own, others = _documents(services, there)
    if own is not None:
        version, edited = own
        places = matching.places(edited.report.subjects, there, measured)
        return replace(point, version=version, signed=bool(edited.verifier), report=edited.report, lesions_at=places)
    template = load_template(_TEMPLATE)
    facts = Facts(study=there, device=making.device(options), segments=measured)
    report = take(compose(facts, template), others, template).report
    if not report.subjects_of(Scope.LESION):
        return None
    return replace(point, report=report, reported=False, lesions_at=matching.places(report.subjects, there, measured))


def _must_be_same(study: Study, there: Study) -> None:
    """See that an earlier study is the patient's."""
    if (there.patient.patient_id, there.patient.issuer) != (study.patient.patient_id, study.patient.issuer):
        msg = "its objects name another patient"
        raise InputError(msg)
    births = {study.patient.birth_date, there.patient.birth_date} - {""}
    if len(births) > 1 or len({p for p, _ in there.patient_ids}) > 1:
        msg = "its objects name another birth date, or more than one patient"
        raise InputError(msg)
    if not there.date or there.date > study.date:
        msg = "it has no date, or a later one"
        raise InputError(msg)


def _documents(services: Services, there: Study) -> tuple[tuple[int, Edited] | None, list[Returned]]:
    """Return our report of a study with its version, where it holds one, and the reports of others.

    Of a series of ours the newest instance says what stands: where that cannot be read, or was withdrawn, there is none.
    """
    own: tuple[int, Edited] | None = None
    others: list[Returned] = []
    for series in there.series:
        documents = [i for i in series.instances if i.sop_class_uid in SR_CLASSES]
        documents.sort(key=lambda i: (_number(i), i.sop_instance_uid), reverse=True)
        try:
            edited = _ours(services, documents[0]) if documents else None
        except (InputError, OSError) as error:
            _unreadable(there, documents[0], error)
            continue
        if edited is not None:
            if own is None or edited.report.template != _TEMPLATE:
                own = _number(documents[0]), edited
            continue
        for instance in documents:
            try:
                others.append(of_foreign(read_foreign(_bytes(services, instance)), instance.reference))
            except (InputError, OSError) as error:
                _unreadable(there, instance, error)
    return own, others


def _ours(services: Services, instance: Instance) -> Edited | None:
    part10 = _bytes(services, instance)
    for name in template_names():
        if (own := read_edited(part10, load_template(name))) is not None:
            return own
    return None


def _bytes(services: Services, instance: Instance) -> bytes:
    path = services.spool.root / instance.path
    if path.stat().st_size > MAX_BYTES:
        msg = f"larger than {MAX_BYTES} bytes"
        raise InputError(msg)
    return path.read_bytes()


def _number(instance: Instance) -> int:
    return int(next(iter(instance.numbers("InstanceNumber")), 0))


def _unreadable(there: Study, instance: Instance, error: Exception) -> None:
    # the text of an error may quote the report
    ids = {"study": there.study_instance_uid, "instance": instance.sop_instance_uid, "error": type(error).__name__}
    _log.warning("prior_unreadable", extra={"ids": ids})
