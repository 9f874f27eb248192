"""Against what others measured: the digital phantom of IBSI, and the published measurements of real studies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.measure.segments import measure_study
from service.model.measurement import RegionKind, SegmentMeasurements
from service.read.folder import read_folder
from tests.phantoms import Ct, Grid, Part, Seg, measured, value

DATA = Path(__file__).parents[1] / "data"

#: Zwanenburg et al., Image Biomarker Standardisation Initiative, chapter 1: slices, rows, columns; 0 is outside of the region
IBSI = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)


@pytest.mark.parametrize(("modality", "name"), [("CT", "ct.hu"), ("MR", "ms.signal")])
def test_the_digital_phantom_of_ibsi(tmp_path: Path, modality: str, name: str) -> None:
    grid = Grid(origin=(0, 0, 0), spacing=(2, 2), rows=4, columns=5, depths=(0, 2, 4, 6))
    image = Ct(grid=grid, hounsfield=IBSI, modality=modality)
    if modality == "MR":
        image.sop_class = "1.2.840.10008.5.1.4.1.1.4"
    image.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=IBSI > 0)], ct=image).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "sz.volume") == pytest.approx(592)
    assert value(tumour, "sz.vol_mesh") == pytest.approx(556, abs=4)
    assert value(tumour, "sz.max3d") == pytest.approx(13.1, abs=0.05)
    assert value(tumour, name, "deriv.mean") == pytest.approx(2.15, abs=0.005)
    assert value(tumour, name, "deriv.median") == pytest.approx(1)
    assert value(tumour, name, "deriv.p10") == pytest.approx(1)
    assert value(tumour, name, "deriv.p90") == pytest.approx(4)
    assert value(tumour, name, "deriv.max") == pytest.approx(6)
    assert value(tumour, name, "deriv.sd") ** 2 == pytest.approx(3.05, abs=0.005)


def of(folder: Path, kind: RegionKind) -> SegmentMeasurements:
    found = read_folder(folder)
    (study,) = found.studies
    (one,) = (m for m in measure_study(study, found.open_file) if m.kind is kind)
    return one


@pytest.mark.parametrize("kind", [RegionKind.SEGMENT, RegionKind.ROI])
def test_uptake_of_a_real_study_is_what_was_published(kind: RegionKind) -> None:
    """From the segmentation, and from contours whose image references dangle: PET_SR_TID1500.dcm says the same."""
    tumour = of(DATA / "sts_035", kind)
    assert tumour.role == "tumour"
    assert value(tumour, "sz.volume") == pytest.approx(35.696e3, rel=1e-3)
    assert value(tumour, "pet.suvbw", "deriv.mean") == pytest.approx(4.8014, rel=1e-3)
    assert value(tumour, "pet.suvbw", "deriv.max") == pytest.approx(14.143, rel=1e-3)
    assert tumour.overlaps != ()
