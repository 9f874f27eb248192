"""How long the relations of a tumour to ten structures take on a full abdominal CT: 512 x 512 x 300."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.measure.mask import MaskSlice, SegmentMask
from service.measure.relations import Piece, related
from service.model.measurement import Reference, SegmentMeasurements
from service.read.segmentation import PlaneGeometry

TITLE = "Distance, contact and level: a tumour and ten structures on 512 x 512 x 300, processor time"

_SIZE, _SLICES, _PIXEL, _SPACING = 512, 300, 0.74, 1.5
_RUNS = 3
#: role, with a side behind a stroke: centre and semi-axes in mm; the first keeps a voxel
_SHAPES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "tumour": ((-50, 18, -10), (50, 45, 70)),
    "ves.ivc": ((-16, 26, 0), (12, 12, 1e6)),
    "ves.aorta_abd": ((14, 27, 0), (10, 10, 1e6)),
    "org.kidney/right": ((-92, 60, -55), (30, 28, 55)),
    "org.kidney/left": ((78, 50, 5), (30, 28, 55)),
    "org.liver": ((-78, -30, 90), (95, 80, 80)),
    "org.psoas/right": ((-42, 75, 0), (22, 22, 1e6)),
    "org.psoas/left": ((42, 75, 0), (22, 22, 1e6)),
    "org.spine": ((0, 65, 0), (26, 26, 1e6)),
    "org.spleen": ((100, 50, 90), (35, 45, 50)),
    "org.duodenum": ((-20, -20, -10), (14, 14, 60)),
}


def table() -> str:
    """Return the measurement as a Markdown table."""
    pieces = _pieces()
    seconds = []
    for _ in range(_RUNS):
        began = time.process_time()
        (found,) = related(pieces).values()
        seconds.append(time.process_time() - began)
    touched = sum(r.distance == 0 for r in found)
    return (
        f"| structures | touched | seconds, median of {_RUNS} |\n|---|---|---|\n"
        f"| {len(found)} | {touched} | {statistics.median(seconds):.2f} |\n"
    )


def _pieces() -> list[Piece]:
    half = (_SIZE - 1) / 2 * _PIXEL
    line = np.linspace(-half, half, _SIZE)
    depths = (np.arange(_SLICES) - (_SLICES - 1) / 2) * _SPACING
    masks = {name: np.zeros((_SLICES, _SIZE, _SIZE), bool) for name in _SHAPES}
    for at, z in enumerate(depths):
        taken = np.zeros((_SIZE, _SIZE), bool)
        for name, ((cx, cy, cz), (a, b, c)) in _SHAPES.items():
            off = ((line[None] - cx) / a) ** 2 + ((line[:, None] - cy) / b) ** 2
            masks[name][at] = (off <= 1 - min(1.0, ((z - cz) / c) ** 2)) & (abs(z - cz) < c) & ~taken
            taken |= masks[name][at]
    return [_piece(number, name, masks[name], depths) for number, name in enumerate(_SHAPES, start=1)]


def _piece(number: int, name: str, mask: NDArray[Any], depths: NDArray[Any]) -> Piece:
    corner = -(_SIZE - 1) / 2 * _PIXEL
    slices = []
    for at in np.flatnonzero(mask.any(axis=(1, 2))):
        rows, columns = np.flatnonzero(mask[at].any(axis=1)), np.flatnonzero(mask[at].any(axis=0))
        part = mask[at, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        plane = PlaneGeometry(
            origin=(corner, corner, float(depths[at])),
            along_row=(1.0, 0.0, 0.0),
            along_column=(0.0, 1.0, 0.0),
            spacing=(_PIXEL, _PIXEL),
            rows=_SIZE,
            columns=_SIZE,
        )
        faces = float(depths[at]) - _SPACING / 2, float(depths[at]) + _SPACING / 2
        slices.append(
            MaskSlice(
                frame=int(at),
                plane=plane,
                depth=float(depths[at]),
                faces=faces,
                row=int(rows[0]),
                column=int(columns[0]),
                mask=part,
                voxels=int(part.sum()),
            )
        )
    role, _, side = name.partition("/")
    source = Reference(sop_class_uid="1", sop_instance_uid="1.2", series_instance_uid="1.3", segment=number)
    measured = SegmentMeasurements(
        label=name, segment=number, source=source, role=role, laterality=f"v.{side}" if side else ""
    )
    normal = np.array([0.0, 0.0, 1.0])
    return Piece(measured=measured, mask=SegmentMask(normal=normal, slices=tuple(slices)), frame_of_reference_uid="1.9")
