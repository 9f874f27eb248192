"""Which earlier examinations a node is asked for, and which objects of them: pure decisions over its answers.

Only structured reports and segmentations of the same patient, of studies that are not later, and a few images for their headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.flow.folding import fold
from service.flow.technique import REGIONS, regions_of
from service.model.archive import Found, FoundSeries, FoundStudy
from service.model.study import Study
from service.read.returned import SR_CLASSES
from service.read.sop_classes import LABEL_MAP_SEGMENTATION, SEGMENTATION
from service.settings import Priors

#: modalities of the objects that are asked for
OBJECTS = frozenset({"SR", "SEG"})
_CLASSES = SR_CLASSES | {SEGMENTATION, LABEL_MAP_SEGMENTATION}
#: versions of one series: viewers and we write one after the other, and the newest says what stands
_NEWEST_OF_SERIES = 8

_TRUNK, _CHEST, _NECK = "abdomen and pelvis", "chest", "neck"
#: region of `technique.REGIONS` to what it covers
_COVERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "reg.abdomen": frozenset({_TRUNK}),
        "reg.abd_pelvis": frozenset({_TRUNK}),
        "reg.pelvis": frozenset({_TRUNK}),
        "reg.chest": frozenset({_CHEST}),
        "reg.chest_abd": frozenset({_CHEST, _TRUNK}),
        "reg.cap": frozenset({_CHEST, _TRUNK}),
        "reg.ncap": frozenset({_NECK, _CHEST, _TRUNK}),
    }
)
#: Body Part Examined (PS3.16 Annex L), folded and without blanks, that is certainly none of these; a word in neither table says nothing
_ELSEWHERE = frozenset(
    {
        "ankle", "arm", "brain", "breast", "cspine", "elbow", "extremity", "face", "finger", "foot", "forearm", "hand", "head",
        "headneck", "heart", "humerus", "jaw", "knee", "leg", "orbit", "shoulder", "skull", "thumb", "toe", "wrist",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The earlier studies to look into, the newest first, and in words why others were left out."""

    studies: tuple[FoundStudy, ...] = ()
    left_out: tuple[str, ...] = ()


def choose_studies(found: Iterable[FoundStudy], study: Study, known: frozenset[str], settings: Priors) -> Chosen:
    """Return the studies of a patient that may be earlier examinations with something to read in them.

    Parameters
    ----------
    found:
        What a node holds of the patient.
    study:
        The study at hand.
    known:
        Studies that need not be asked for: the registry has their report, or their images are here.
    settings:
        How many, and of which modalities.
    """
    patient = study.patient
    fit: list[FoundStudy] = []
    left: list[str] = []
    for one in sorted(found, key=lambda f: (f.date, f.study_instance_uid), reverse=True):
        if one.study_instance_uid == study.study_instance_uid or one.study_instance_uid in known:
            continue
        if not one.date or not study.date or one.date > study.date:
            # without both dates nobody can say that it is the earlier one
            continue
        when = f"the study of {one.date[:4]}-{one.date[4:6]}-{one.date[6:]}"
        if one.issuer and patient.issuer and one.issuer != patient.issuer:
            left.append(f"{when} names another Issuer of Patient ID")
        elif one.birth_date and patient.birth_date and one.birth_date != patient.birth_date:
            left.append(f"{when} names another birth date")
        elif one.modalities and not (one.modalities & OBJECTS and _wanted(one.modalities, settings)):
            continue
        else:
            fit.append(one)
    return Chosen(studies=tuple(fit[: settings.max_studies]), left_out=tuple(left))


def _wanted(modalities: frozenset[str], settings: Priors) -> bool:
    # some nodes hold the results without the images, and then name SR and SEG alone
    images = modalities - OBJECTS
    return not images or bool(images & set(settings.modalities))


def same_region(study: Study, series: Iterable[FoundSeries]) -> bool:
    """Say whether the body parts that series name may be those of a study: what says nothing may be any."""
    here: set[str] = set()
    for region in regions_of(study):
        here |= _COVERS.get(region, frozenset())
    there: set[str] = set()
    for one in series:
        name = fold(one.body_part).replace(" ", "")
        if name in _ELSEWHERE:
            there.add(name)
        else:
            there |= _COVERS.get(REGIONS.get(name, ""), frozenset())
    return not here or not there or bool(here & there)


def choose_series(series: Iterable[FoundSeries]) -> tuple[str, ...]:
    """Return the series that hold structured reports or segmentations, in the order of their UIDs."""
    return tuple(sorted(s.series_instance_uid for s in series if s.modality in OBJECTS))


def choose_objects(found: Iterable[Found], held: frozenset[str], settings: Priors) -> tuple[Found, ...]:
    """Return the objects of a study to ask for: of each series the newest by Instance Number, of classes that are read here."""
    by_series: dict[str, list[Found]] = {}
    for one in found:
        if not one.sop_class_uid or one.sop_class_uid in _CLASSES:
            by_series.setdefault(one.series_instance_uid, []).append(one)
    newest: list[tuple[int, Found]] = []
    for members in by_series.values():
        members.sort(key=lambda f: (f.instance_number or 0, f.sop_instance_uid), reverse=True)
        newest += enumerate(members[:_NEWEST_OF_SERIES])
    # the newest of every series before the second newest of any
    newest.sort(key=lambda pair: (pair[0], pair[1].series_instance_uid))
    return tuple(f for _, f in newest[: settings.max_objects] if f.sop_instance_uid not in held)
