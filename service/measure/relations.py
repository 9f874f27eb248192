"""A tumour and the structures around it: distance, contact, and of the vena cava which part is involved. For the surgeon; all proposals.

Whatever lies in one frame of reference is compared, in one segmentation or in several. A structure on another voxel grid is compared by
nearest voxels, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.errors import InputError
from service.measure import cava
from service.measure.centreline import Centreline, centreline_of
from service.measure.contact import Along, contact_along, contact_area
from service.measure.distances import Gap, Nearest
from service.measure.mask import SegmentMask
from service.measure.solid import Bools, Solid, axial, same_grid, solid_of
from service.model.measurement import Measurement, Reference, SegmentMeasurements
from service.model.relation import Intravascular, Relation, Suggestion

TUMOUR = "tumour"
MM, MM2, DEGREES = "mm", "mm2", "deg"
VESSELS, ORGANS = "ves.", "org."
IVC = "ves.ivc"
#: they run along the body, however short or flat a piece of them is segmented
_CRANIOCAUDAL = frozenset({IVC, "ves.aorta_abd", "ves.aorta_suprarenal", "ves.aorta_infrarenal"})
#: slices that are tilted by less (cosine) are axial ones: vessels are looked at on them
_AXIAL = math.cos(math.radians(45))
#: a piece that is so much longer than wide has a direction
_ELONGATED = 1.5
_ACROSS = math.cos(math.radians(55))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A segment that was measured, with its mask."""

    measured: SegmentMeasurements
    mask: SegmentMask
    frame_of_reference_uid: str

    @property
    def identity(self) -> tuple[str, int]:
        """Return what no other segment is called: SOP Instance UID and number; a reference need not tell two of one object apart."""
        return identity_of(self.measured)


def identity_of(measured: SegmentMeasurements) -> tuple[str, int]:
    """Return what no other segment is called: SOP Instance UID and number."""
    return measured.source.sop_instance_uid, measured.segment


def related(pieces: Sequence[Piece]) -> dict[tuple[str, int], tuple[Relation, ...]]:
    """Return how each tumour, by `identity_of`, lies to every vessel and organ that is segmented, in the order of ``pieces``."""
    tumours = [p for p in pieces if p.measured.role == TUMOUR]
    structures = [p for p in pieces if p.measured.role.startswith((VESSELS, ORGANS))]
    work = _Work(structures)
    return {t.identity: tuple(work.relations(t)) for t in tumours} if structures else {}


class _Work:
    """Keeps what is made once for all pairs."""

    def __init__(self, structures: Sequence[Piece]) -> None:
        self._structures = structures
        self._solids: dict[tuple[str, int], Solid | str] = {}
        self._axial: dict[tuple[str, int], tuple[Solid, Centreline]] = {}

    def relations(self, tumour: Piece) -> Iterator[Relation]:
        solid = self._solid(tumour)
        nearest = Nearest(solid) if isinstance(solid, Solid) else None
        for structure in self._structures:
            relation = Relation(
                tumour=tumour.measured.source,
                tumour_label=tumour.measured.label,
                structure=structure.measured.source,
                structure_series_instance_uid=structure.measured.image_series_instance_uid,
                label=structure.measured.label,
                role=structure.measured.role,
                laterality=structure.measured.laterality,
            )
            there = self._solid(structure)
            refusal = _other_space(tumour, structure)
            if not refusal and isinstance(solid, str):
                refusal = f"of the tumour's segment, {solid}"
            if not refusal and isinstance(there, str):
                refusal = there
            if refusal or nearest is None or isinstance(solid, str) or isinstance(there, str):
                yield replace(relation, refusals=(f"No relation to the tumour: {refusal}",))
                continue
            pair = _Pair(tumour, structure, solid, there, nearest.gap(there))
            yield pair.relation(relation, self)

    def _solid(self, piece: Piece) -> Solid | str:
        """Return a segment in space, or why it is none."""
        key = piece.identity
        if key not in self._solids:
            try:
                self._solids[key] = solid_of(piece.mask)
            except InputError as error:
                self._solids[key] = str(error)
        return self._solids[key]

    def across(self, piece: Piece, solid: Solid) -> tuple[Solid, Centreline]:
        """Return a vessel on axial slices, its own where they are axial, and its centreline."""
        key = piece.identity
        if key not in self._axial:
            made = solid if abs(solid.normal[2]) >= _AXIAL else axial(solid)
            self._axial[key] = made, centreline_of(made)
        return self._axial[key]

    def landmarks(self, of: Piece) -> Iterator[cava.Landmark]:
        """Yield what says where segments of the vena cava end: of its own segmentation where that has it, else of others."""
        own = {
            (p.measured.role, p.measured.laterality)
            for p in self._structures
            if p.measured.source.sop_instance_uid == of.measured.source.sop_instance_uid
        }
        for piece in self._structures:
            kind = piece.measured.role, piece.measured.laterality
            elsewhere = piece.measured.source.sop_instance_uid != of.measured.source.sop_instance_uid
            if kind[0] not in cava.LANDMARKS or (elsewhere and kind in own) or _other_space(of, piece):
                continue
            solid = self._solid(piece)
            if isinstance(solid, Solid):
                yield cava.Landmark(role=kind[0], laterality=kind[1], solid=solid, reference=piece.measured.source)


def _other_space(one: Piece, other: Piece) -> str:
    ours, theirs = one.frame_of_reference_uid, other.frame_of_reference_uid
    if not ours or not theirs:
        return "the segmentation does not say which frame of reference it is in"
    return "" if ours == theirs else "the two segmentations are in different frames of reference"


class _Pair:
    """Measures a tumour against one structure."""

    def __init__(self, tumour: Piece, structure: Piece, solid: Solid, there: Solid, gap: Gap) -> None:
        self._tumour, self._structure = tumour, structure
        self._solid, self._there, self._gap = solid, there, gap
        self._vessel = structure.measured.role.startswith(VESSELS)
        self._prefix = VESSELS if self._vessel else ORGANS
        self.measurements: list[Measurement] = []
        self.suggestions: list[Suggestion] = []
        self.remarks: list[str] = []
        self.refusals: list[str] = []
        self._angle_within = 0.0
        self._intravascular: Intravascular | None = None

    def relation(self, bare: Relation, work: _Work) -> Relation:
        touching = self._measure(work)
        return replace(
            bare,
            distance=0.0 if touching else self._gap.distance,
            within=self._gap.within,
            angle_within=self._angle_within,
            measurements=tuple(self.measurements),
            suggestions=tuple(self.suggestions),
            intravascular=self._intravascular,
            remarks=tuple(self.remarks),
            refusals=tuple(self.refusals),
        )

    def _measure(self, work: _Work) -> bool:
        """Measure, and say whether the two touch."""
        there = self._there
        tumour: Bools | None = None
        if self._gap.centres <= self._gap.step or _boxes_meet(self._solid, there):
            tumour = there.sampled(self._solid)
        area = contact_area(there, tumour) if tumour is not None else 0.0
        overlap = tumour is not None and bool((tumour & there.mask).any())
        along = self._along(work) if self._vessel and tumour is not None and tumour.any() else None
        touching = bool(area) or overlap or (along is not None and bool(along[0].levels))
        within = f"known within {self._gap.within:.1f} mm"
        if not touching:
            self._add(
                "distance", self._gap.distance, MM, f"shortest distance between the surfaces of the segments, {within}"
            )
        else:
            self._add(
                "distance", 0.0, MM, f"the segments overlap, {within}" if overlap else f"the segments touch, {within}"
            )
            if area:
                self._add(
                    "contact_area",
                    area,
                    MM2,
                    "surface of the structure at which the tumour lies, known within about 15 percent",
                )
        self._say_where_from()
        if along is not None and touching:
            self._vessel_numbers(*along, work)
        return touching

    def _say_where_from(self) -> None:
        ours, theirs = self._tumour.measured, self._structure.measured
        if ours.image_series_instance_uid != theirs.image_series_instance_uid:
            self.remarks.append(
                "Segmented on another series than the tumour: whether the patient moved between the two is not known"
            )
        if not same_grid(self._solid, self._there):
            self.remarks.append("On other voxels than the tumour: contact is that of the nearest voxels")

    def _add(self, name: str, value: float, unit: str, method: str, evidence: Iterable[Reference] = ()) -> None:
        self.measurements.append(
            Measurement(
                name=name if "." in name else f"{self._prefix}{name}",
                value=value,
                unit=unit,
                method=method,
                evidence=(self._structure.measured.source, self._tumour.measured.source, *evidence),
            )
        )

    # --- vessels -----------------------------------------------------------------------------------------------------------

    def _along(self, work: _Work) -> tuple[Along, Solid, Centreline] | None:
        vessel, line = work.across(self._structure, self._there)
        if self._structure.measured.role not in _CRANIOCAUDAL and _runs_along(vessel):
            self.refusals.append(
                "No degrees and no length of contact: the vessel runs along the slices, not across them"
            )
            return None
        try:
            return contact_along(vessel, vessel.sampled(self._solid), line), vessel, line
        except InputError as error:
            self.refusals.append(f"No degrees and no length of contact: {error}")
            return None

    def _vessel_numbers(self, along: Along, vessel: Solid, line: Centreline, work: _Work) -> None:
        most = along.most
        if most is not None:
            self._angle_within = most.within
            where, images = _where(vessel, most.level)
            self._add(
                "contact_angle",
                min(most.angle, 360.0),
                DEGREES,
                f"part of the segment's outline at which the tumour lies, greatest in {where}, known within {most.within:.0f} degrees",
                images,
            )
        elif along.thin:
            self.refusals.append("No degrees of contact: the vessel's segment is too thin where the tumour touches it")
        if along.thin and most is not None:
            self.remarks.append(
                f"The vessel's segment is too thin in {_slices(len(along.thin))} that the tumour touches: degrees are of the others"
            )
        if along.span is None:
            return
        length = along.span[1] - along.span[0]
        if most is not None or along.thin:
            self._add(
                "contact_length",
                length,
                MM,
                f"along the vessel, from the first to the last slice of contact{_gaps(along)}",
            )
        if along.replaced:
            self.remarks.append(
                f"The vessel is not marked in {_slices(len(along.replaced))} where the tumour lies in its course: "
                "whether it is compressed, invaded or occluded there is for the radiologist to say"
            )
        if along.inside is not None:
            self._intravascular = Intravascular(
                volume=along.inside.volume,
                depth=max(0.0, along.inside.depth),
                share=100 * along.inside.volume / self._tumour.mask.volume,
            )
        if self._structure.measured.role == IVC:
            self._cava(vessel, line, along.span, along, work)

    def _cava(self, vessel: Solid, line: Centreline, span: tuple[float, float], along: Along, work: _Work) -> None:
        level = cava.level_of(vessel, line, span, list(work.landmarks(self._structure)), within=self._gap.within)
        self._add(
            "ivc.length",
            span[1] - span[0],
            MM,
            f"along the vena cava, from the first to the last slice at the tumour{_gaps(along)}",
        )
        for item, distance, bound in level.distances:
            self._add(item, distance, MM, f"along the vena cava, to {bound.basis}", bound.evidence)
        evidence = tuple(dict.fromkeys(e for b in level.used for e in b.evidence))
        basis = "; ".join(dict.fromkeys(b.basis for b in level.used))
        if level.segments:
            self.suggestions.append(
                Suggestion(item="ivc.segment", values=level.segments, basis=f"by {basis}", evidence=evidence)
            )
        else:
            self.remarks.append(f"Segment of the vena cava not proposed: {level.unclear}")
        if level.parts:
            self.suggestions.append(
                Suggestion(
                    item="ivc.middle_sub",
                    values=level.parts,
                    basis="by where the liver lies at the vena cava",
                    evidence=evidence,
                )
            )


def _gaps(along: Along) -> str:
    return ", with those where the tumour is within it" if along.inside or along.replaced else ""


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


def _runs_along(vessel: Solid) -> bool:
    """Say whether a vessel runs along the slices: its largest spread lies in them."""
    points = vessel.points(vessel.surface)
    spread, axes = np.linalg.eigh(np.cov(points.T))
    elongated = math.sqrt(spread[2]) >= _ELONGATED * math.sqrt(max(spread[1], 1e-9))
    return bool(elongated and abs(axes[:, 2] @ vessel.normal) < _ACROSS)


def _boxes_meet(one: Solid, other: Solid) -> bool:
    (low, high), (other_low, other_high) = one.box, other.box
    return bool((low <= other_high).all() and (other_low <= high).all())


def _where(vessel: Solid, level: int) -> tuple[str, tuple[Reference, ...]]:
    """Return the slice in words, and the image that a reader finds it on."""
    image = vessel.images[level]
    if image is None:
        held = np.argwhere(vessel.mask[level]).mean(axis=0)
        place = vessel.points(np.array([[level, round(held[0]), round(held[1])]]))[0]
        return f"the axial slice at z = {place[2]:.0f} mm", ()
    instance = image.instance
    reference = Reference(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        frames=() if image.frame is None else (image.frame + 1,),
    )
    if image.frame is not None:
        return f"frame {image.frame + 1}", (reference,)
    number = next(iter(instance.numbers("InstanceNumber")), None)
    return ("one slice" if number is None else f"image {number:.0f}"), (reference,)
