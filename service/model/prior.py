"""What is known of a patient from earlier examinations: their reports, or what was measured on them."""

from __future__ import annotations

from dataclasses import dataclass

from service.model.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLesion:
    """A lesion that an earlier report tracked."""

    tracking_id: str
    tracking_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a segmented structure lies, and how large it is."""

    #: of a lesion its tracking UID; of another structure its role and side (``org.kidney/v.left``)
    key: str
    #: as a reader calls it
    label: str
    #: Frame of Reference UID (0020,0052); empty: not known
    frame_of_reference: str
    #: the centroid in the patient coordinate system, mm, LPS (PS3.3 C.7.6.2.1.1)
    position: tuple[float, float, float]
    volume_mm3: float | None = None
    long_axis_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A lesion of today that may be one of an earlier time point."""

    #: key of the subject of today
    subject: str
    #: tracking UID and name of the earlier lesion
    tracking_uid: str
    label: str
    #: Study Date (DA) of the earlier time point
    date: str
    distance_mm: float
    #: in words
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorReport:
    """An earlier time point of the patient, of another study than the one at hand: its report, or what was measured on it.

    The newest one is the examination that is compared with; `points` are all of them.
    """

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
    #: ``report`` is one of ours; else it was put together from segmentations and reports of others, and nobody looked at it as a whole
    reported: bool = True
    lesions_at: tuple[Place, ...] = ()
    landmarks: tuple[Place, ...] = ()
    #: the time points before it, the newest first, without any of their own
    earlier: tuple[PriorReport, ...] = ()

    @property
    def points(self) -> tuple[PriorReport, ...]:
        """Return this time point and all before it, the newest first."""
        return (self, *self.earlier)

    @property
    def newest_report(self) -> PriorReport | None:
        """Return the newest time point with a report of ours; None: there is none."""
        return next((p for p in self.points if p.reported and p.report is not None), None)
