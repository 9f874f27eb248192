"""Which segments of the inferior vena cava a tumour is at, and how far from the veins that join it: by landmarks that are segmented.

The segments are those of the report: lower, from the confluence of the iliac veins to the renal veins; middle, from there to the hepatic
veins; upper, from there to the right atrium (Mingoli et al., Anticancer Res 1996;16:3201). A boundary is where the veins join: at their
border towards the feet. Where they are not segmented, kidneys and liver say between which limits it has to lie, and no more is claimed:
a segment is suggested only where it is the same wherever the boundary lies within its limits.

All positions are lengths along the centreline of the vena cava in mm; they grow towards the head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from scipy.spatial import cKDTree

from service.measure.centreline import Centreline
from service.measure.solid import Solid
from service.model.measurement import Reference

#: a vein whose segment ends nearer to that of the vena cava joins it there
JOINS_MM = 5.0
#: liver that lies so near to the vena cava is behind which its middle segment runs
BESIDE_MM = 10.0

RENAL, HEPATIC, ATRIUM, ILIAC = "renal veins", "hepatic veins", "right atrium", "common iliac veins"
_VEINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        RENAL: ("ves.renal_v", "ves.renal_v_r", "ves.renal_v_l"),
        # not the inferior right hepatic vein, which joins lower than the confluence
        HEPATIC: ("ves.hepatic_v", "ves.hepatic_v_r", "ves.hepatic_v_m", "ves.hepatic_v_l"),
        ATRIUM: ("ves.right_atrium",),
        ILIAC: ("ves.common_iliac_v", "ves.iliac_v"),
    }
)
_HEART, _LIVER, _KIDNEY = "org.heart", "org.liver", "org.kidney"
LANDMARKS = frozenset({_HEART, _LIVER, _KIDNEY, *(r for roles in _VEINS.values() for r in roles)})
_SIDES: Mapping[str, str] = MappingProxyType({"ves.renal_v_r": "v.right", "ves.renal_v_l": "v.left"})
_PAIR = frozenset({"v.right", "v.left"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmark:
    """A segmented structure that says where segments of the vena cava begin and end."""

    role: str
    laterality: str
    solid: Solid
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Where a boundary lies, or between which limits it has to lie."""

    low: float
    high: float
    #: in words, what says so
    basis: str
    #: both limits are the place itself, known within ``within``
    exact: bool = False
    within: float = 0.0
    evidence: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What landmarks say of the part of the vena cava that a tumour is at, from ``caudal`` to ``cranial``."""

    caudal: float
    cranial: float
    #: keys of ``codes.csv``; empty: not clear
    segments: tuple[str, ...] = ()
    #: ``ivc.2a`` below the liver margin, ``ivc.2b`` behind the liver; empty: not clear, or not the middle segment
    parts: tuple[str, ...] = ()
    #: why a segment is not clear, in words
    unclear: str = ""
    #: what each item of a distance measures, with the boundary it is measured to
    distances: tuple[tuple[str, float, Bound], ...] = ()
    used: tuple[Bound, ...] = field(default=())


def level_of(
    cava: Solid, line: Centreline, span: tuple[float, float], landmarks: Sequence[Landmark], *, within: float
) -> Level:
    """Return which segments lie between the ends of ``span``.

    Parameters
    ----------
    cava, line:
        The vena cava and its centreline.
    span:
        From where to where the tumour is at it, mm along the line.
    landmarks:
        Segments in the same frame of reference.
    within:
        An end is known within so many mm.
    """
    caudal, cranial = span
    finder = _Finder(cava, line, landmarks)
    liver = finder.liver()
    renal = finder.joining(RENAL) or finder.kidneys()
    # the hepatic veins join behind the liver
    hepatic = finder.joining(HEPATIC) or liver
    atrium, iliac = finder.joining(ATRIUM) or finder.heart(), finder.joining(ILIAC, lowest=False)
    segments, unclear = _segments(caudal, cranial, renal, hepatic, within)
    distances = [
        (item, sign * (bound.low - end), bound)
        for item, bound, end, sign in (
            ("ivc.dist_renal", renal, cranial, 1),
            ("ivc.dist_hepatic", hepatic, cranial, 1),
            ("ivc.dist_atrium", atrium, cranial, 1),
            ("ivc.dist_bifurc", iliac, caudal, -1),
        )
        if bound is not None and bound.exact
    ]
    parts = _parts(caudal, cranial, renal, hepatic, liver, within) if "ivc.middle" in segments else ()
    return Level(
        caudal=caudal,
        cranial=cranial,
        segments=segments,
        parts=parts,
        unclear=unclear,
        distances=tuple(distances),
        used=tuple(b for b in (renal, hepatic) if b is not None),
    )


def _segments(
    caudal: float, cranial: float, renal: Bound | None, hepatic: Bound | None, within: float
) -> tuple[tuple[str, ...], str]:
    """Return the segments, or why they are not clear."""
    begins = _side(caudal, renal, within)
    ends = _side(cranial, renal, within)
    upper_begins, upper_ends = _side(caudal, hepatic, within), _side(cranial, hepatic, within)
    if ends == -1:
        return ("ivc.lower",), ""
    if upper_begins == 1:
        return ("ivc.upper",), ""
    if begins is None or ends is None:
        return (), _why(renal, RENAL)
    if upper_begins is None or upper_ends is None:
        return (), _why(hepatic, HEPATIC)
    found = [("ivc.lower", begins == -1), ("ivc.middle", True), ("ivc.upper", upper_ends == 1)]
    return tuple(name for name, there in found if there), ""


def _side(position: float, bound: Bound | None, within: float) -> int | None:
    """Return -1 for a position that lies towards the feet of a boundary, 1 towards the head, None where that is not clear."""
    if bound is None:
        return None
    if position < bound.low - within - bound.within:
        return -1
    return 1 if position > bound.high + within + bound.within else None


def _why(bound: Bound | None, veins: str) -> str:
    if bound is None:
        return f"neither the {veins} nor a landmark in their place are segmented"
    if bound.exact:
        return f"the tumour ends at the very level of the {veins}"
    return (
        f"the {veins} are not segmented, and the tumour ends within the limits between which they lie ({bound.basis})"
    )


def _parts(
    caudal: float, cranial: float, renal: Bound | None, hepatic: Bound | None, liver: Bound | None, within: float
) -> tuple[str, ...]:
    """Return the parts of the middle segment: below the liver margin, behind the liver (Tarique et al., World J Oncol 2024;15:758)."""
    if liver is None:
        return ()
    start = caudal if renal is None else max(caudal, renal.low)
    end = cranial if hepatic is None else min(cranial, hepatic.high)
    below, behind = start < liver.low - within, end > liver.low + within
    unclear = (not below and start < liver.low + within) or (not behind and end > liver.low - within)
    if unclear:
        return ()
    return tuple(name for name, there in (("ivc.2a", below), ("ivc.2b", behind)) if there)


class _Finder:
    """Finds where landmarks lie along the vena cava."""

    def __init__(self, cava: Solid, line: Centreline, landmarks: Sequence[Landmark]) -> None:
        self._cava, self._line, self._landmarks = cava, line, landmarks
        self._tree = cKDTree(cava.points(cava.surface))

    def joining(self, veins: str, *, lowest: bool = True) -> Bound | None:
        """Return where veins join the vena cava: at their border towards the feet, or (not ``lowest``) towards the head."""
        there = [m for m in self._landmarks if m.role in _VEINS[veins]]
        found, sides = [], set()
        for mark in there:
            place = self._joint(mark, lowest=lowest)
            if place is not None:
                found.append((place, mark))
                sides.add(mark.laterality or _SIDES.get(mark.role, ""))
        if not found:
            return None
        place = min(p for p, _ in found) if lowest else max(p for p, _ in found)
        evidence = tuple(m.reference for _, m in found)
        within = max(m.solid.diagonal for _, m in found) / 2
        if veins == RENAL and len(sides & _PAIR) == 1 and "" not in sides:
            # the other one may join lower
            other = "left" if "v.right" in sides else "right"
            return Bound(
                low=-math.inf,
                high=place,
                within=within,
                evidence=evidence,
                basis=f"the {other} renal vein is not segmented and may join lower",
            )
        return Bound(
            low=place, high=place, exact=True, within=within, evidence=evidence, basis=f"the segment of the {veins}"
        )

    def _joint(self, mark: Landmark, *, lowest: bool) -> float | None:
        points = mark.solid.points(mark.solid.surface)
        away = self._tree.query(points, distance_upper_bound=JOINS_MM + mark.solid.diagonal)[0]
        nearest = float(away.min())
        if nearest > JOINS_MM:
            return None
        # the voxels of the vein that lie at the wall
        where = self._line.where(points[away <= nearest + mark.solid.diagonal])
        return float(where.min() if lowest else where.max())

    def kidneys(self) -> Bound | None:
        """Return the limits of the renal veins that the kidneys give: they join between the lowest and the highest pole."""
        kidneys = [m for m in self._landmarks if m.role == _KIDNEY]
        if not kidneys or {m.laterality for m in kidneys} & _PAIR in ({"v.right"}, {"v.left"}):
            return None
        where = np.concatenate([self._line.where(m.solid.points(m.solid.surface)) for m in kidneys])
        return Bound(
            low=float(where.min()),
            high=float(where.max()),
            basis="the poles of the kidneys",
            evidence=tuple(m.reference for m in kidneys),
        )

    def liver(self) -> Bound | None:
        """Return from where to where the liver lies beside the vena cava."""
        found, marks = [], [m for m in self._landmarks if m.role == _LIVER]
        for mark in marks:
            points = mark.solid.points(mark.solid.surface)
            near = self._tree.query(points, distance_upper_bound=BESIDE_MM)[0] < np.inf
            found.append(self._line.where(points[near]))
        where = np.concatenate(found) if found else np.empty(0)
        if not where.size:
            return None
        return Bound(
            low=float(where.min()),
            high=float(where.max()),
            basis="where the liver lies at the vena cava",
            evidence=tuple(m.reference for m in marks),
        )

    def heart(self) -> Bound | None:
        """Return where the vena cava reaches the heart."""
        found = [(p, m) for m in self._landmarks if m.role == _HEART and (p := self._joint(m, lowest=True)) is not None]
        if not found:
            return None
        place, mark = min(found, key=lambda f: f[0])
        return Bound(
            low=place,
            high=place,
            exact=True,
            within=mark.solid.diagonal / 2,
            evidence=(mark.reference,),
            basis="the segment of the heart",
        )
