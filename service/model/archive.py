"""What a node says that it holds: answers to C-FIND."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An instance at a node, as it answered; ``instance_number`` is None where it says none."""

    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    instance_number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStudy:
    """A study at a node, as it answered; empty where it says nothing."""

    study_instance_uid: str
    #: Study Date (DA)
    date: str = ""
    modalities: frozenset[str] = frozenset()
    description: str = ""
    issuer: str = ""
    birth_date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """A series at a node, as it answered; empty where it says nothing."""

    series_instance_uid: str
    modality: str = ""
    #: Body Part Examined (0018,0015), which a node need not answer
    body_part: str = ""
    description: str = ""
