"""Measuring a large segmentation, and a small one."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from service.measure.segments import measure_study
from tests.phantoms import ROOT, Ct, Grid, Part, Seg, ellipsoid, study_of

TITLE = (
    "Measuring six segments that are all lesions, everything on each (processor time of one core, files in the cache)"
)
#: x, y, z semi-axes in mm, and offset of the centre along x and y
LARGE = (
    ((0, 0), (40, 40, 60)),
    ((70, 0), (35, 30, 50)),
    ((-70, 0), (35, 30, 50)),
    ((0, 70), (30, 25, 90)),
    ((0, -70), (30, 25, 90)),
    ((80, 80), (20, 20, 100)),
)


class _Tissue:
    """Noise, one plane at a time."""

    def __init__(self, grid: Grid) -> None:
        self._shape = grid.rows, grid.columns
        self._random = np.random.default_rng(1)

    def __getitem__(self, at: int) -> np.ndarray:
        return self._random.normal(40, 15, self._shape)


def write_study(folder: Path, slices: int) -> None:
    """Write a CT of so many slices, and a segmentation of six tumours on it."""
    depths = tuple(300 / slices * i for i in range(slices))
    grid = Grid(origin=(-180, -180, 0), spacing=(0.7, 0.7), rows=512, columns=512, depths=depths)
    parts = [
        Part(
            mask=grid.voxels(ellipsoid(grid.centre + np.array([*offset, 0]), axes)),  # type: ignore[arg-type]
            label=f"Tumour {n}",
            tracking_uid=f"{ROOT}.5.{n}",
        )
        for n, (offset, axes) in enumerate(LARGE, start=1)
    ]
    ct = Ct(grid=grid, hounsfield=_Tissue(grid))  # type: ignore[arg-type]
    ct.write(folder)
    Seg(grid=grid, parts=parts, ct=ct).write(folder)


def table() -> str:
    """Measure and return a Markdown table."""
    rows = []
    for slices in (3, 300):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_study(folder, slices)
            study, open_file = study_of(folder)
            measure_study(study, open_file)
            start = time.process_time()
            measured = measure_study(study, open_file)
            seconds = time.process_time() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            numbers = sum(len(m.measurements) for m in measured)
            rows.append(f"| 512 x 512 x {slices} | {seconds:.2f} | {numbers} | {peak:,} |")
    head = "| images | seconds | numbers | MB at most, the making of the phantom included |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"
