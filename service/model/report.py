"""The one value that everything reads or writes: ``Report`` (docs/architecture.md, "One definition, many projections")."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal

from service.model.code import Code
from service.model.measurement import Reference


class Provenance(enum.StrEnum):
    """Where an answer came from."""

    DICOM = "dicom"
    SEGMENTATION = "segmentation"
    MEASUREMENT_SR = "measurement-sr"
    PRIOR = "prior"
    RULE = "rule"
    RADIOLOGIST = "radiologist"


class Status(enum.StrEnum):
    """How far an answer may be trusted. An item without an answer is open."""

    #: an identity row (a UID, a date, a device): written unattended, nothing to confirm
    AUTOMATIC = "automatic"
    #: a machine's proposal that a person has yet to confirm
    PROPOSED = "proposed"
    #: stated or confirmed by a person
    CONFIRMED = "confirmed"


class Scope(enum.StrEnum):
    """What a question is asked about."""

    REPORT = "report"
    SERIES = "series"
    LESION = "lesion"
    VESSEL = "vessel"
    ORGAN = "organ"
    NODE = "node"
    METASTASIS = "metastasis"
    #: a candidate of the differential diagnosis
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its unit; without a number, ``qualifier`` says why (CID 42)."""

    number: Decimal | None
    unit: Code
    qualifier: Code | None = None


@dataclass(frozen=True, slots=True)
class Date:
    """A date as DICOM writes it (DA: YYYYMMDD)."""

    value: str


@dataclass(frozen=True, slots=True)
class Uid:
    """A unique identifier."""

    value: str


@dataclass(frozen=True, slots=True)
class PersonName:
    """A person's name as DICOM writes it (PN)."""

    value: str


Value = Code | Quantity | str | Date | Uid | PersonName


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: an item of the template, about a subject, with where it came from.

    ``subject`` is the key of a `Subject`, or empty for the report as a whole. ``basis`` says in a few words what the value was
    taken from ("series description", "voxel count of segment 'Tumour'"). An answer of provenance ``segmentation`` rests on its
    subject's segment; ``evidence`` names what it rests on beside that.
    """

    item: str
    values: tuple[Value, ...]
    status: Status
    provenance: Provenance
    subject: str = ""
    basis: str = ""
    #: how a number was derived (mean, standard deviation …), where it was
    derivation: Code | None = None
    method: Code | None = None
    evidence: tuple[Reference, ...] = ()
    #: why it was not evaluated, or why it differs from what the software derived, in the words of who answered
    reason: str = ""
    #: who answered or confirmed it (PN); empty: the software
    observer: str = ""

    def says(self, code: Code) -> bool:
        """Say whether ``code`` is among the values."""
        return any(isinstance(v, Code) and v.same(code) for v in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A thing that questions are asked about: a series, a lesion, a vessel, an organ, a node, a metastasis, a candidate diagnosis."""

    #: unique in the report and short, for people too: ``Series 2``, ``LMS-T1``; of a structure: ``ves.ivc``, ``ves.renal_v/right``
    key: str
    scope: Scope
    #: Tracking Identifier (112039, DCM) of lesions and structures; for a series, its line in words
    tracking_id: str = ""
    #: Tracking Unique Identifier (112040, DCM), the same over time points; for a series, its Series Instance UID
    tracking_uid: str = ""
    #: the vessel, organ, site or diagnosis that it is; None for series and lesions
    structure: Code | None = None
    #: which of a pair it is
    side: Code | None = None
    #: the segment of a segmentation, or the ROI of an RT structure set, that it was measured on
    segment: Reference | None = None
    #: Series Instance UID of the images that a structure's segment was drawn on; a lesion's are those that its answers point at, and an
    #: ROI names its own
    source_series: str = ""
    #: remarks a reader must see beside it, such as what could not be measured and why
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report: which template, about which study, what is known and from where.

    ``subjects`` and ``answers`` are ordered as `service.flow.compose` orders them: template order, then subject. Two reports of the
    same content are equal.
    """

    template: str
    template_version: str
    study_instance_uid: str
    modalities: tuple[str, ...]
    #: Patient's Sex (0010,0040): M, F or O; empty where the study does not say
    patient_sex: str = ""
    #: in whole years at the study, from the birth date; None where the study does not say
    patient_age: int | None = None
    subjects: tuple[Subject, ...] = ()
    answers: tuple[Answer, ...] = ()
    #: remarks for the first screen ("The study was completed by force after 15 minutes …")
    remarks: tuple[str, ...] = ()

    def answers_of(self, item: str, subject: str = "") -> tuple[Answer, ...]:
        """Return the answers to ``item`` about ``subject`` (several only where a number is given by several derivations)."""
        return tuple(a for a in self.answers if a.item == item and a.subject == subject)

    def subject(self, key: str) -> Subject | None:
        """Return the subject called ``key``."""
        return next((s for s in self.subjects if s.key == key), None)

    def subjects_of(self, scope: Scope) -> tuple[Subject, ...]:
        """Return the subjects of one scope, in order."""
        return tuple(s for s in self.subjects if s.scope is scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How much of a report is answered, counted in prompts: what a person has to answer or to confirm."""

    proposed: int
    confirmed: int
    open: int
    #: the items without an answer, as a reader calls them, in template order
    open_items: tuple[str, ...] = field(default=())
    #: those whose answers are proposed, likewise
    proposed_items: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Say whether nothing is left to answer or to confirm."""
        return not (self.proposed or self.open)

    @property
    def prompts(self) -> int:
        """Return how many prompts there are."""
        return self.proposed + self.confirmed + self.open


class CompletionFlag(enum.StrEnum):
    """Completion Flag (0040,A491)."""

    PARTIAL = "PARTIAL"
    COMPLETE = "COMPLETE"


class VerificationFlag(enum.StrEnum):
    """Verification Flag (0040,A493)."""

    UNVERIFIED = "UNVERIFIED"
    VERIFIED = "VERIFIED"


class PreliminaryFlag(enum.StrEnum):
    """Preliminary Flag (0040,A496)."""

    PRELIMINARY = "PRELIMINARY"
    FINAL = "FINAL"
