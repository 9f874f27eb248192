"""Which marks show one lesion: several segmentations under one tracking UID, a segmentation and contours of the same place.

Pure. What is of one lesion without doubt is one: marks on different series that share a tracking UID, and marks of the same voxels of the
same series. Marks on different series without a common tracking UID stay apart, since whether they show one lesion is for a person to
say; so do two segments of one object, which its maker told apart. A line whose middle lies in a marked lesion on the same image is of it.

One mark of a lesion stands for its size: a segment before an ROI, one that could be measured before one that could not, then CT before MR
before PET (spatial resolution), then the order of series. The others are told beside it, and what only they can say (uptake on PET,
diffusion) is taken from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from service.model.measurement import RegionKind, SegmentMeasurements
from service.model.study import Study

_PREFERRED: Mapping[str, int] = MappingProxyType({"CT": 0, "MR": 1, "PT": 2})
_LEAST = 3
_KINDS: Mapping[RegionKind, int] = MappingProxyType({RegionKind.SEGMENT: 0, RegionKind.ROI: 1, RegionKind.LINE: 2})
_MM3_PER_CM3 = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """The marks of one lesion."""

    primary: SegmentMeasurements
    further: tuple[SegmentMeasurements, ...] = ()

    @property
    def tracking_uid(self) -> str:
        """Return the tracking UID that one of the marks has, or an empty text."""
        return next((m.tracking_uid for m in (self.primary, *self.further) if m.tracking_uid), "")

    @property
    def tracking_id(self) -> str:
        """Return the tracking identifier that belongs to it."""
        return next((m.tracking_id for m in (self.primary, *self.further) if m.tracking_uid), self.primary.tracking_id)


def lesions_of(tumours: Sequence[SegmentMeasurements]) -> tuple[Lesion, ...]:
    """Return the lesions that marks of tumours show, in the order of the marks that stand for them."""
    group = list(range(len(tumours)))

    def join(a: int, b: int) -> None:
        low, high = sorted((group[a], group[b]))
        group[:] = [low if g == high else g for g in group]

    by_identity = {(m.source.sop_instance_uid, m.segment): n for n, m in enumerate(tumours)}
    for n, one in enumerate(tumours):
        for k in range(n):
            if _tracked_alike(tumours, n, k):
                join(n, k)
        for other in one.overlaps:
            if other in by_identity:
                join(n, by_identity[other])
    found = []
    for lowest in sorted(set(group)):
        members = [n for n in range(len(tumours)) if group[n] == lowest]
        first, *rest = sorted(members, key=lambda n: (_rank(tumours[n]), n))
        found.append((first, Lesion(primary=tumours[first], further=tuple(tumours[n] for n in rest))))
    return tuple(lesion for _, lesion in sorted(found, key=lambda f: f[0]))


def key_of(number: int) -> str:
    """Return what the ``number``-th lesion of a report is called, from 1."""
    return f"LMS-T{number}"


def marks_of(lesions: Sequence[Lesion]) -> dict[tuple[str, int], str]:
    """Return SOP Instance UID and number of every mark → the lesion that it is of."""
    return {
        (m.source.sop_instance_uid, m.segment): key_of(number)
        for number, lesion in enumerate(lesions, start=1)
        for m in (lesion.primary, *lesion.further)
        if m.kind is RegionKind.SEGMENT
    }


def _tracked_alike(tumours: Sequence[SegmentMeasurements], n: int, k: int) -> bool:
    one, other = tumours[n], tumours[k]
    if not one.tracking_uid or one.tracking_uid != other.tracking_uid:
        return False
    if one.source.sop_instance_uid == other.source.sop_instance_uid:
        return False
    # of several masks with one tracking UID in an object, the first belongs to the first of another
    return _ordinal(tumours, n) == _ordinal(tumours, k)


def _ordinal(tumours: Sequence[SegmentMeasurements], n: int) -> int:
    own = (tumours[n].source.sop_instance_uid, tumours[n].tracking_uid)
    return sum((m.source.sop_instance_uid, m.tracking_uid) == own for m in tumours[:n])


def _rank(one: SegmentMeasurements) -> tuple[bool, int, int]:
    return not one.measurements, _KINDS[one.kind], _PREFERRED.get(one.modality, _LEAST)


def beside(lesion: Lesion, study: Study) -> tuple[str, ...]:
    """Return in words what further marks of a lesion measure, and what of them could not be measured."""
    return tuple(_told(one, study) for one in lesion.further)


def _told(one: SegmentMeasurements, study: Study) -> str:
    series = next((s for s in study.series if s.series_instance_uid == one.image_series_instance_uid), None)
    number = f" series {series.number}" if series is not None and series.number is not None else ""
    where = f" on {one.modality}{number}" if one.modality else ""
    sizes = [
        f"{label} {next(m.value / scale for m in one.measurements if m.name == name):.1f} {unit}"
        for name, label, unit, scale in (
            ("sz.length", "length", "mm", 1),
            ("sz.long_axis", "long axis", "mm", 1),
            ("sz.volume", "volume", "cm3", _MM3_PER_CM3),
        )
        if any(m.name == name for m in one.measurements)
    ]
    said = "; ".join([", ".join(sizes), *one.refusals] if sizes else one.refusals)
    return f"Also marked by a{'n' if one.kind is RegionKind.ROI else ''} {one.kind.value}{where}: {said}"
