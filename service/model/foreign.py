"""What the structured report of another maker says: measurements, findings and where they were drawn, as values.

Nothing here is interpreted. A code stays the code that was sent; a number keeps the unit that it came with beside the one that it
was converted to; what could not be read is listed as a `Refusal`, never left out silently. Times and dates stay as written.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from service.model.code import Code
from service.model.measurement import Reference


class Completion(StrEnum):
    """Completion Flag (0040,A491)."""

    PARTIAL = "PARTIAL"
    COMPLETE = "COMPLETE"


class Verification(StrEnum):
    """Verification Flag (0040,A493)."""

    UNVERIFIED = "UNVERIFIED"
    VERIFIED = "VERIFIED"


class Preliminary(StrEnum):
    """Preliminary Flag (0040,A496)."""

    PRELIMINARY = "PRELIMINARY"
    FINAL = "FINAL"


class ValueType(StrEnum):
    """Value Type (0040,A040) of a content item, PS3.3 Table C.17.3-7."""

    CODE = "CODE"
    COMPOSITE = "COMPOSITE"
    CONTAINER = "CONTAINER"
    DATE = "DATE"
    DATETIME = "DATETIME"
    IMAGE = "IMAGE"
    NUM = "NUM"
    PNAME = "PNAME"
    SCOORD = "SCOORD"
    SCOORD3D = "SCOORD3D"
    TABLE = "TABLE"
    TCOORD = "TCOORD"
    TEXT = "TEXT"
    TIME = "TIME"
    UIDREF = "UIDREF"
    WAVEFORM = "WAVEFORM"


class Relationship(StrEnum):
    """Relationship Type (0040,A010), PS3.3 Table C.17.3-8."""

    CONTAINS = "CONTAINS"
    HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
    HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
    HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
    HAS_PROPERTIES = "HAS PROPERTIES"
    INFERRED_FROM = "INFERRED FROM"
    SELECTED_FROM = "SELECTED FROM"


class GraphicType(StrEnum):
    """Graphic Type (0070,0023) of SCOORD and SCOORD3D, PS3.3 C.18.6.1.2 and C.18.9.1.2."""

    POINT = "POINT"
    MULTIPOINT = "MULTIPOINT"
    POLYLINE = "POLYLINE"
    CIRCLE = "CIRCLE"
    ELLIPSE = "ELLIPSE"
    POLYGON = "POLYGON"
    ELLIPSOID = "ELLIPSOID"


class ObserverKind(StrEnum):
    """Who observed: Observer Type of TID 1002."""

    PERSON = "person"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A concept of somebody else's report.

    ``code`` is ``received``, except for a SNOMED-RT code (scheme SRT) that has a SNOMED CT equivalent: then it is that one, with the
    meaning as received. Nothing is ever mapped by its meaning.
    """

    code: Code
    received: Code

    def same(self, other: Code) -> bool:
        """Say whether this is the concept ``other``, as received or as mapped, whatever the wording."""
        return self.code.same(other) or self.received.same(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that stands in the report and was not taken in.

    ``reason`` says why in words and quotes no text of the report.
    """

    #: position in the content tree as PS3.3 C.17.3.2.5 counts: "1.8.1.12", the root is "1"
    place: str
    reason: str
    concept: Coded | None = None
    #: Tracking Unique Identifier of the measurement group that it belongs to
    tracking_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphic:
    """A drawing.

    Points of two numbers are (column, row) in image coordinates of PS3.3 C.18.6.1.1 (the centre of the upper left pixel is
    (0.5, 0.5)); points of three numbers are x, y, z in mm in the patient coordinate system, LPS (C.18.9.1.1), of
    ``frame_of_reference_uid``.
    """

    kind: GraphicType
    points: tuple[tuple[float, ...], ...]
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Images, frames, segments or a drawing that the report points at.

    An image with several segments is one `Reference` for each. ``images`` of a drawing are those that it was selected from; a drawing
    in three dimensions needs none. Points stand in ``graphic``, never in the references.
    """

    place: str
    value_type: ValueType
    concept: Coded | None = None
    images: tuple[Reference, ...] = ()
    graphic: Graphic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """Algorithm identification, TID 4019."""

    name: str = ""
    version: str = ""
    manufacturer: str = ""
    parameters: tuple[str, ...] = ()
    families: tuple[Coded, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A content item with a coded or written value: a qualitative evaluation, or a modifier of what it stands below."""

    place: str
    concept: Coded
    value_type: ValueType
    #: the code of a CODE item; text as written for TEXT, DATE, TIME, DATETIME, UIDREF and PNAME
    value: Coded | str
    relationship: Relationship | None = None
    #: heading of the container that it stands in, where that is neither the root nor a measurement group
    heading: Coded | None = None
    modifiers: tuple[Evaluation, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    #: numbers that stand below it
    numbers: tuple[ForeignMeasurement, ...] = ()
    #: places of the numbers elsewhere in the report that it was inferred from, by reference
    inferred_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where in the body: Finding Site with the modifiers below it."""

    site: Coded
    laterality: Coded | None = None
    #: topographical modifiers and whatever else says where
    modifiers: tuple[Evaluation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMeasurement:
    """One number.

    ``value`` and ``unit`` are converted (lengths to mm, areas to mm2, volumes to cm3, diffusion to um2/s), exactly; other units
    stay. ``received_value`` and ``received_unit`` are what stands in the report. All four are None where the report gives a
    ``qualifier`` instead of a number (Numeric Value Qualifier (0040,A301)).
    """

    place: str
    concept: Coded
    value: Decimal | None
    unit: Code | None
    received_value: Decimal | None
    received_unit: Code | None
    qualifier: Coded | None = None
    relationship: Relationship | None = None
    heading: Coded | None = None
    method: Coded | None = None
    derivation: Coded | None = None
    sites: tuple[Site, ...] = ()
    #: what it was measured on, where the number itself says so; else the evidence of its group
    evidence: tuple[Evidence, ...] = ()
    algorithm: Algorithm | None = None
    #: everything else that modifies it
    modifiers: tuple[Evaluation, ...] = ()
    #: numbers that stand below it: parameters, properties of a population
    numbers: tuple[ForeignMeasurement, ...] = ()
    #: places of the numbers elsewhere in the report that it was inferred from, by reference
    inferred_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignGroup:
    """A measurement group: one finding with its measurements and evaluations."""

    place: str
    #: Template Identifier (0040,DB00): 1410, 1411, 1501 …; empty where the report does not say
    template_id: str = ""
    heading: Coded | None = None
    tracking_id: str = ""
    tracking_uid: str = ""
    category: Coded | None = None
    finding: Coded | None = None
    sites: tuple[Site, ...] = ()
    time_point: str = ""
    activity_session: str = ""
    comments: tuple[str, ...] = ()
    #: Measurement Method of the group; that of a measurement goes before it
    method: Coded | None = None
    algorithm: Algorithm | None = None
    #: OHIF writes the drawing of a region below the first of its numbers only
    measurements: tuple[ForeignMeasurement, ...] = ()
    #: numbers that describe the group instead of being measured in it: the order of its time point
    numbers: tuple[ForeignMeasurement, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    #: segments that the whole group is about
    segments: tuple[Reference, ...] = ()
    #: Series Instance UIDs of "Source series for segmentation"
    source_series: tuple[str, ...] = ()
    #: everything that the group itself points at, its segments included
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who or what observed, TID 1003 and 1004."""

    kind: ObserverKind
    name: str = ""
    organisation: str = ""
    login: str = ""
    uid: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """One item of Verifying Observer Sequence (0040,A073)."""

    name: str
    organisation: str = ""
    #: Verification DateTime (0040,A030), DT as written
    at: str = ""
    #: Verifying Observer Identification Code Sequence (0040,A088)
    code: Coded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignReport:
    """A structured report of another maker."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    title: Coded
    #: Template Identifier (0040,DB00) of the root; empty where the report does not say
    template_id: str = ""
    #: None: absent, or none of the values that the standard defines
    completion: Completion | None = None
    verification: Verification | None = None
    preliminary: Preliminary | None = None
    verifiers: tuple[Verifier, ...] = ()
    observers: tuple[Observer, ...] = ()
    language: Coded | None = None
    procedures: tuple[Coded, ...] = ()
    predecessors: tuple[Reference, ...] = ()
    manufacturer: str = ""
    instance_number: int | None = None
    #: Content Date (0008,0023) and Content Time (0008,0033), as written
    content_date: str = ""
    content_time: str = ""
    #: Timezone Offset From UTC (0008,0201), as written
    timezone_offset: str = ""
    groups: tuple[ForeignGroup, ...] = ()
    #: numbers outside of every group: derived measurements, and those of other containers (``heading`` says which)
    measurements: tuple[ForeignMeasurement, ...] = ()
    #: coded and written values outside of every group
    evaluations: tuple[Evaluation, ...] = ()
    #: images and drawings outside of every group and of the image library
    images: tuple[Evidence, ...] = ()
    #: Current Requested Procedure Evidence Sequence (0040,A375)
    evidence: tuple[Reference, ...] = ()
    #: Pertinent Other Evidence Sequence (0040,A385)
    other_evidence: tuple[Reference, ...] = ()
    refusals: tuple[Refusal, ...] = ()
