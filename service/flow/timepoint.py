"""A study without a report in a registry as a time point to compare with: its report of ours, or what was measured on it.

Pure but for the bytes of its structured reports, which the caller reads. The service asks for earlier examinations and puts them together
by this; so does ``lms-sr measure`` for the studies of a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from service.errors import InputError
from service.flow import matching
from service.flow.compose import Facts, compose
from service.flow.context import Device
from service.flow.taking import Returned, of_foreign, take
from service.model.measurement import SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Report, Scope, Status
from service.model.study import Instance, Study
from service.read.returned import SR_CLASSES, read_foreign
from service.sr.document import MANUFACTURER
from service.sr.returned import Edited, read_edited, template_in
from sr_templates import load_template, template_names

#: what an earlier examination without a report of ours is put together by: every template measures alike
TEMPLATE = "baseline"

ReadBytes = Callable[[Instance], bytes]
"""Returns the file of an instance.

Raises
------
InputError
    It is too large, or no file to read.
OSError
    It cannot be read now.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The report of ours that a study holds: signed, a draft, or as somebody edited it."""

    instance: Instance
    edited: Edited

    @property
    def version(self) -> int:
        """Return its Instance Number (0020,0013); 0 where it has none."""
        return _number(self.instance)

    @property
    def counts(self) -> bool:
        """Say whether a person stands behind anything in it: a draft that nobody has looked at says no more than the images."""
        return bool(self.edited.verifier) or any(a.status is Status.CONFIRMED for a in self.edited.report.answers)

    def returned(self) -> Returned:
        """Return it as something to take in: what persons confirmed, since no registry knows of it."""
        header = self.instance.header
        return Returned(
            reference=self.instance.reference,
            number=self.version,
            edit=True,
            written=header.text("ContentDate") + header.text("ContentTime"),
            report=self.edited.report,
            verifier=self.edited.verifier,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The structured reports of a study."""

    own: Own | None = None
    #: the reports of others
    others: tuple[Returned, ...] = ()
    #: what could not be read, and why
    unread: tuple[tuple[Instance, Exception], ...] = ()

    def returned(self) -> tuple[Returned, ...]:
        """Return what can be taken in: the reports of others, and ours where a person stands behind something in it."""
        return (*self.others, *((self.own.returned(),) if self.own is not None and self.own.counts else ()))


def made_here(instance: Instance) -> bool:
    """Say whether an object was written by this software, in any installation: its equipment says so (PS3.3 C.7.5.1).

    What a viewer saved into a series of ours names the viewer. Where an outbox is, its SOP Instance UIDs decide, and not this.
    """
    header = instance.header
    return all(header.text(k) == MANUFACTURER for k in ("Manufacturer", "ManufacturerModelName"))


def documents(study: Study, read: ReadBytes) -> Documents:
    """Read the structured reports of a study.

    Of a series of ours the newest instance says what stands: where that cannot be read, or was withdrawn, there is none. Further
    documents of ours (the measurements) are nobody else's work, and left out. Of several reports of ours, one by another template
    than `TEMPLATE` counts.

    Parameters
    ----------
    study:
        The study, without what an outbox knows as ours.
    read:
        Reads a file.
    """
    own: Own | None = None
    others: list[Returned] = []
    unread: list[tuple[Instance, Exception]] = []
    for series in study.series:
        found = [i for i in series.instances if i.sop_class_uid in SR_CLASSES]
        found.sort(key=lambda i: (_number(i), i.sop_instance_uid), reverse=True)
        try:
            edited = _ours(read(found[0])) if found else None
        except (InputError, OSError) as error:
            unread.append((found[0], error))
            continue
        if edited is not None:
            if own is None or edited.report.template != TEMPLATE:
                own = Own(instance=found[0], edited=edited)
            continue
        for instance in found:
            if made_here(instance):
                continue
            try:
                others.append(of_foreign(read_foreign(read(instance)), instance.reference))
            except (InputError, OSError) as error:
                unread.append((instance, error))
    return Documents(own=own, others=tuple(others), unread=tuple(unread))


def _ours(part10: bytes) -> Edited | None:
    name = template_in(part10)
    return read_edited(part10, load_template(name)) if name in template_names() else None


def _number(instance: Instance) -> int:
    return int(next(iter(instance.numbers("InstanceNumber")), 0))


def must_be_earlier(study: Study, there: Study) -> None:
    """See that a study is an earlier one of the patient of another.

    Raises
    ------
    InputError
        It is of somebody else, or later, or that is not known.
    """
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


def place_of(study: Study, measured: tuple[SegmentMeasurements, ...]) -> PriorReport:
    """Return a study as a time point of which only the structures that lie around are known yet."""
    return PriorReport(
        study_instance_uid=study.study_instance_uid,
        study_date=study.date,
        modalities=study.modalities,
        accession_number=study.accession_number,
        landmarks=matching.landmarks(study, measured),
    )


def with_report(
    point: PriorReport, report: Report, study: Study, measured: Iterable[SegmentMeasurements]
) -> PriorReport:
    """Return a time point whose lesions are those of a report."""
    return replace(point, lesions_at=matching.places(report.subjects, study, measured))


def time_point(
    study: Study, measured: tuple[SegmentMeasurements, ...], found: Documents, device: Device
) -> PriorReport | None:
    """Return what a study says as an earlier time point; None where nothing in it can be compared.

    Its report of ours counts, where a person stands behind something in it; else segmentations and the reports of others are put
    together as for a draft.

    Parameters
    ----------
    study, measured:
        The study without the objects of ours, and what was measured on it.
    found:
        Its structured reports.
    device:
        Who puts it together.

    Raises
    ------
    TemplateError
        The template cannot be loaded.
    """
    point = place_of(study, measured)
    own = found.own
    if own is not None and own.counts:
        report = own.edited.report
        stands = replace(point, version=own.version, signed=bool(own.edited.verifier), report=report)
        return with_report(stands, report, study, measured)
    template = load_template(TEMPLATE)
    facts = Facts(study=study, device=device, segments=measured)
    report = take(compose(facts, template), found.others, template).report
    if not report.subjects_of(Scope.LESION):
        return None
    return with_report(replace(point, report=report, reported=False), report, study, measured)


def chain(points: Iterable[PriorReport]) -> PriorReport | None:
    """Return the newest of some time points, with those before it; None where there is none. Of one day, in the order given."""
    ordered = sorted((replace(p, earlier=()) for p in points), key=lambda p: p.study_date, reverse=True)
    return replace(ordered[0], earlier=tuple(ordered[1:])) if ordered else None
