"""Segments of shapes whose distances and contacts are known: for tests of what is measured between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.measurement import SegmentMeasurements
from service.model.relation import Relation
from sr_templates import load_codes
from tests.phantoms import Grid, Inside, Part, Seg, item, measured

RIGHT, LEFT = "v.right", "v.left"


def part(mask: NDArray[Any], role: str, label: str = "") -> Part:
    """Return a segment of a coded structure; an empty label is that of the code."""
    if role == "tumour":
        return Part(mask=mask, label=label or "Tumour")
    code = load_codes()[role]
    return Part(mask=mask, label=label or code.meaning, property_type=(code.value, code.scheme, code.meaning))


def exclusive(masks: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the masks as a label map has them: what is listed first keeps a voxel."""
    taken: NDArray[Any] | None = None
    found = {}
    for name, mask in masks.items():
        found[name] = mask if taken is None else mask & ~taken
        taken = mask if taken is None else taken | mask
    return found


def seg(grid: Grid, masks: Mapping[str, NDArray[Any]], **changes: Any) -> Seg:
    """Return a segmentation without images; keys of ``masks`` are roles, with a side behind a stroke."""
    parts, sides = [], []
    for name, mask in masks.items():
        role, _, side = name.partition("/")
        parts.append(part(mask, role, f"{load_codes()[role].meaning} {side}" if side else ""))
        sides.append(side)
    unequal = len({round(float(d), 3) for d in np.diff(grid.depths)}) > 1
    # without images, only its own frames tell where slices are
    changes = {
        "ct": None,
        "keep_empty_frames": unequal,
        "nominal_spacing": float(abs(grid.depths[1] - grid.depths[0])),
        **changes,
    }
    return Seg(grid=grid, parts=parts, **changes)


def relations(folder: Path, *segs: Seg) -> dict[str, Relation]:
    """Write segmentations and return how their one tumour lies to the structures: role, with a side behind a stroke, to relation."""
    for number, one in enumerate(segs):
        one.write(folder, f"seg{number}.dcm")
    (tumour,) = tumours(folder)
    return {f"{r.role}/{r.laterality.removeprefix('v.')}".rstrip("/"): r for r in tumour.relations}


def tumours(folder: Path) -> list[SegmentMeasurements]:
    """Return the tumours of the study in a folder."""
    return [m for m in measured(folder) if m.role == "tumour"]


def value(of: Relation, name: str) -> float:
    """Return a measured number."""
    found = of.number(name)
    assert found is not None, (name, of.refusals)
    return found.value


def cylinder(
    centre: Sequence[float],
    radius: float,
    *,
    axis: Sequence[float] = (0, 0, 1),
    inner: float = 0.0,
    wrap: tuple[float, float] = (0, 360),
    half: float = math.inf,
) -> Inside:
    """Return a tube, or the part of a thick wall around one.

    Parameters
    ----------
    centre, axis:
        A point of its axis in mm, and the direction.
    radius, inner:
        It reaches from ``inner`` to ``radius``, mm.
    wrap:
        From which angle on, and how many degrees of it, the wall goes round.
    half:
        Half its length, mm.
    """
    along = np.array(axis, float) / np.linalg.norm(axis)
    first = np.cross(along, [0.0, 1.0, 0.0] if abs(along[1]) < 0.9 else [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(along, first)

    def inside(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
        off = np.stack([x - centre[0], y - centre[1], z - centre[2]], axis=-1)
        a, b, c = off @ first, off @ second, off @ along
        away, angle = np.hypot(a, b), np.degrees(np.arctan2(b, a))
        ring = (away <= radius) & ((away > inner) | (inner == 0))
        return ring & ((angle - wrap[0]) % 360 <= wrap[1]) & (np.abs(c) <= half)

    return inside


def renamed_frame(one: Seg, uid: str) -> Seg:
    """Change the frame of reference of a segmentation."""
    one.change = lambda ds: setattr(ds, "FrameOfReferenceUID", uid)
    return one


__all__ = [
    "LEFT",
    "RIGHT",
    "cylinder",
    "exclusive",
    "item",
    "part",
    "relations",
    "renamed_frame",
    "seg",
    "tumours",
    "value",
]
