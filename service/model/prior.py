"""What the registry knows of a patient from earlier reports."""

from __future__ import annotations

from dataclasses import dataclass

from service.model.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLesion:
    """A lesion that an earlier report tracked."""

    tracking_id: str
    tracking_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoursePoint:
    """One number of the course of a disease, as the current report of a study has it."""

    study_instance_uid: str
    #: Study Date (DA)
    date: str
    #: the item that it answers: ``sz.long_axis`` (mm), ``sz.volume`` (mL), ``fu.sum`` (mm)
    item: str
    #: of the lesion; empty for a number about the report as a whole
    tracking_uid: str
    number: float
    #: measured by a machine and not confirmed
    proposed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorReport:
    """The newest earlier report of the patient, of another study than the one at hand."""

    study_instance_uid: str
    #: Study Date (DA), empty where that study had none
    study_date: str
    modalities: tuple[str, ...]
    accession_number: str = ""
    #: version of the report, counted from 1
    version: int = 1
    signed: bool = False
    sop_instance_uid: str = ""
    lesions: tuple[KnownLesion, ...] = ()
    #: what it says; None where only its existence is known
    report: Report | None = None
