"""A study as its headers tell it: instances as received, then one normalised view of all of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.model.code import Code
from service.model.measurement import Reference

Elements = Mapping[str, tuple[str, ...]]
"""DICOM keyword → its values as text, decoded, without padding. An absent and an empty element are both absent here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One item of Request Attributes Sequence (0040,0275), or the study's own request attributes."""

    accession_number: str = ""
    accession_issuer: str = ""
    requested_procedure_id: str = ""
    requested_procedure_description: str = ""
    requested_procedure_code: Code | None = None
    scheduled_procedure_step_id: str = ""
    placer_order_number: str = ""
    filler_order_number: str = ""
    study_instance_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the headers of many instances of a series have in common; stored once and shared.

    ``elements`` holds the keywords of ``service.read.headers.HEADER_KEYWORDS``; ``codes`` the code sequences
    (ProcedureCodeSequence, AnatomicRegionSequence, …).
    """

    elements: Elements
    codes: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)
    requests: tuple[Request, ...] = ()

    def text(self, keyword: str) -> str:
        """Return the first value of ``keyword``, or an empty text."""
        values = self.elements.get(keyword, ())
        return values[0] if values else ""

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values of ``keyword``."""
        return self.elements.get(keyword, ())

    def number(self, keyword: str) -> float | None:
        """Return the first value of ``keyword`` as a number, or None where it is absent or no number."""
        try:
            return float(self.text(keyword))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One received instance: who it is, how it came, what its header says. No pixel data."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    header: Header
    #: what differs from image to image: the keywords of ``service.read.headers.INSTANCE_KEYWORDS``
    own: Elements = field(default_factory=dict)
    received_at: dt.datetime | None = None
    calling_ae: str = ""
    called_ae: str = ""
    source_address: str = ""
    #: where the file lies, relative to the spool's or the folder's root
    path: str = ""

    @property
    def reference(self) -> Reference:
        """Return a pointer to the whole object."""
        return Reference(
            sop_class_uid=self.sop_class_uid,
            sop_instance_uid=self.sop_instance_uid,
            series_instance_uid=self.series_instance_uid,
        )

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values of ``keyword`` (of ``own``) as numbers; empty where one of them is none."""
        try:
            return tuple(float(v) for v in self.own.get(keyword, ()))
        except ValueError:
            return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The patient of a study, normalised: text is Unicode, dates as written (DA)."""

    patient_id: str = ""
    issuer: str = ""
    #: PN, with its component groups, as Unicode: ``Family^Given=…=…``
    name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series: what most of its headers say, and its instances in a fixed order."""

    series_instance_uid: str
    modality: str
    header: Header
    #: ordered by position along the normal, then instance number, then UID
    instances: tuple[Instance, ...]
    number: int | None = None
    description: str = ""
    #: Series Date (0008,0021), which may differ from the study's (real studies do)
    date: str = ""

    @property
    def is_image(self) -> bool:
        """Say whether the series holds images (and not SR, SEG, RTSTRUCT, PR, KO …)."""
        return self.modality not in NOT_IMAGES


NOT_IMAGES = frozenset(
    {"SR", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "PR", "KO", "REG", "DOC", "M3D", "RWV", "AU", "PLAN"}
)
"""Values of Modality (0008,0060) that stand for objects about images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study, normalised: the same value for every order of arrival.

    ``problems`` says in words (without identifying values) where headers disagreed or were mended, and which value won.
    """

    study_instance_uid: str
    patient: Patient
    date: str = ""
    time: str = ""
    accession_number: str = ""
    accession_issuer: str = ""
    study_id: str = ""
    description: str = ""
    referring_physician: str = ""
    institution: str = ""
    procedure_codes: tuple[Code, ...] = ()
    requests: tuple[Request, ...] = ()
    series: tuple[Series, ...] = ()
    problems: tuple[str, ...] = ()
    #: every distinct (Patient ID, issuer) that the headers name, sorted, not cut: more than one means more than one patient
    patient_ids: tuple[tuple[str, str], ...] = ()
    #: AE titles by which, and to which, the instances came; sorted
    calling_aes: tuple[str, ...] = ()
    called_aes: tuple[str, ...] = ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Return every instance of every series, series by series."""
        return tuple(i for s in self.series for i in s.instances)

    @property
    def images(self) -> tuple[Series, ...]:
        """Return the series that hold images."""
        return tuple(s for s in self.series if s.is_image)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities of the image series, sorted, each once."""
        return tuple(sorted({s.modality for s in self.images}))
