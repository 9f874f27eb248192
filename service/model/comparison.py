"""What studies of one patient say beside each other: lesions over time, and the response. For people and scripts, not for the registry.

Lengths are in mm, volumes in mL (cm3), attenuation in HU, times in days, changes in % of the earlier number. Everything that was not
confirmed in a report is a proposal, and says where it came from.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from service.model.report import Provenance, Status


class MatchKind(enum.StrEnum):
    """How a lesion is known to be, or may be, one of an earlier study."""

    TRACKING_UID = "tracking UID"
    #: a person said so, in a report or for this comparison
    SAID = "said to be the same"
    #: by position and size; compared only once a person has said so
    SUGGESTED = "suggested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number about a lesion, as its report has it."""

    #: the item that it answers: ``sz.long_axis`` …
    item: str
    label: str
    value: Decimal
    #: UCUM: mm, cm3, [hnsf'U]
    unit: str
    status: Status
    provenance: Provenance
    #: in words, what it was taken from
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenIn(Value):
    """A number that a structured report of somebody else gives."""

    lesion: str
    #: Manufacturer (0008,0070) of the report; empty: not said
    maker: str
    source_sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Which lesion of which earlier study a lesion is, or may be."""

    how: MatchKind
    #: Study Date (DA) of the newest earlier study that shows it
    study_date: str
    tracking_uid: str
    label: str
    #: in words
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of a lesion since the newest earlier study that shows it. None: it does not follow, and ``not_given`` says why."""

    since: str
    days: Decimal | None = None
    volume_before_ml: Decimal | None = None
    volume_ml: Decimal | None = None
    volume_change_percent: Decimal | None = None
    doubling_time_days: Decimal | None = None
    growth_percent_per_day: Decimal | None = None
    long_axis_before_mm: Decimal | None = None
    long_axis_mm: Decimal | None = None
    long_axis_change_percent: Decimal | None = None
    attenuation_before_hu: Decimal | None = None
    attenuation_hu: Decimal | None = None
    attenuation_change_hu: Decimal | None = None
    not_given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionOverTime:
    """A lesion of a study."""

    key: str
    tracking_id: str
    tracking_uid: str
    sizes: tuple[Value, ...] = ()
    match: Matched | None = None
    #: None: nothing earlier is known to be this lesion
    change: Change | None = None
    #: the sizes at every study that shows it, the oldest first; empty: there is no earlier one
    course: tuple[str, ...] = ()
    #: what a reader must know beside the numbers
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOverTime:
    """The response at a study, by one method. Proposals, all of it; None: it does not follow, and ``not_given`` says why."""

    method: str
    #: keys of the targets of this study
    targets: tuple[str, ...] = ()
    #: Study Date (DA) of the baseline; empty: none
    baseline_date: str = ""
    sum_mm: Decimal | None = None
    baseline_sum_mm: Decimal | None = None
    nadir_mm: Decimal | None = None
    nadir_basis: str = ""
    change_from_baseline_percent: Decimal | None = None
    change_from_nadir_percent: Decimal | None = None
    change_from_nadir_mm: Decimal | None = None
    attenuation_change_percent: Decimal | None = None
    #: RECIST 1.1: CR, PR, SD, PD
    target_response: str | None = None
    #: RECIST 1.1: CR, PR, SD, PD, NE, non-CR/non-PD
    overall_response: str | None = None
    #: Choi or modified Choi, as ``method`` says
    choi_response: str | None = None
    course: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    not_given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An earlier study that a study is compared with."""

    study_instance_uid: str
    study_date: str
    #: "signed report, version 2", "report, not signed, version 1", "measurements"
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOverTime:
    """A study beside the earlier ones of its patient."""

    study_instance_uid: str
    study_date: str
    #: the newest first
    compared_with: tuple[Compared, ...] = ()
    #: in words: which studies it is not compared with, and why
    not_compared: tuple[str, ...] = ()
    #: of a study that stands alone, and holds no structured report, the segments say all
    lesions: tuple[LesionOverTime, ...] = ()
    taken_in: tuple[TakenIn, ...] = ()
    #: None: there is no earlier study
    response: ResponseOverTime | None = None
    #: what a radiologist is asked: lesions that one study shows and another does not
    questions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    #: objects that could not be read, or are not counted as anybody's work, and why
    left_out: tuple[str, ...] = ()
