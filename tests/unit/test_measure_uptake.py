"""SUV from counts and from SUV units, and every attribute that has to be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from service.model.measurement import SegmentMeasurements
from tests.phantoms import HALF_LIFE, Grid, Part, Seg, ellipsoid, measured, pet, pet_header, value

GRID = Grid(origin=(-64, -64, 0), spacing=(4, 4), rows=32, columns=32, depths=tuple(4.0 * i for i in range(24)))
MASK = GRID.voxels(ellipsoid(GRID.centre, (26, 26, 26)))
HOT = GRID.voxels(ellipsoid(GRID.centre, (14, 14, 14)))
SUV = np.where(HOT, 10.0, np.where(MASK, 3.0, 1.0))


def tumour(tmp_path: Path, suv: Any = SUV, mask: Any = MASK, **changes: Any) -> SegmentMeasurements:
    images = pet(GRID, suv, **changes)
    images.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=images).write(tmp_path)
    (found,) = measured(tmp_path)
    return found


def said(of: SegmentMeasurements) -> str:
    return "; ".join(of.refusals)


def test_everything_that_follows_from_uptake(tmp_path: Path) -> None:
    found = tumour(tmp_path)
    hot, all_ = int(HOT.sum()), int(MASK.sum())
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(10, rel=1e-3)
    assert value(found, "pet.suvbw", "deriv.mean") == pytest.approx((10 * hot + 3 * (all_ - hot)) / all_, rel=1e-3)
    assert value(found, "pet.suvbw", "deriv.peak") == pytest.approx(10, rel=1e-3)
    assert value(found, "pet.mtv") == pytest.approx(hot * 64)
    assert value(found, "pet.tlg") == pytest.approx(10 * hot * 64 / 1000, rel=1e-3)
    (mtv,) = (m for m in found.measurements if m.name == "pet.mtv")
    assert mtv.method == "voxels of at least 41 % of SUVmax (4.10 g/ml)"
    assert mtv.threshold == pytest.approx(4.1, rel=1e-3)
    assert found.refusals == ()


def test_the_peak_of_one_hot_voxel_is_its_share_of_a_millilitre(tmp_path: Path) -> None:
    suv = np.zeros(MASK.shape)
    suv[12, 16, 16] = 20
    found = tumour(tmp_path, suv)
    # a voxel of 4 mm has 0.064 ml, wholly within the sphere around itself
    assert value(found, "pet.suvbw", "deriv.peak") == pytest.approx(1.28, rel=0.02)
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(20, rel=1e-3)


def test_the_sphere_of_the_peak_may_reach_beyond_the_segment_not_beyond_the_images(tmp_path: Path) -> None:
    suv = np.full(MASK.shape, 5.0)
    inner = np.zeros(MASK.shape, bool)
    inner[12, 16, 16] = True
    assert value(tumour(tmp_path / "in", suv, inner), "pet.suvbw", "deriv.peak") == pytest.approx(5, rel=1e-3)
    border = np.zeros(MASK.shape, bool)
    border[0, 16, 16] = True
    found = tumour(tmp_path / "border", suv, border)
    assert "No SUVpeak: the images end within the sphere" in said(found)
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(5, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        # corrected to the administration: the activity as it was injected
        ({"DecayCorrection": "ADMIN"}, 2 ** (-3600 / HALF_LIFE)),
        # uncorrected images count as they were acquired, 15 minutes later here
        (
            {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"], "AcquisitionTime": "111500"},
            2 ** (900 / HALF_LIFE),
        ),
        # corrected to the start of the scan, however late this bed position was
        ({"AcquisitionTime": "113000"}, 1),
        # a series made after the scan: its start follows from the acquisition
        ({"SeriesTime": "150000"}, 1),
        # over midnight
        (
            {
                "RadiopharmaceuticalStartTime": "233000",
                "SeriesTime": "003000",
                "AcquisitionTime": "003000",
            },
            1,
        ),
        # date and time of the administration
        ({"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20260301100000"}, 1),
    ],
)
def test_decay_and_times(tmp_path: Path, changes: dict[str, Any], factor: float) -> None:
    found = tumour(tmp_path, **changes)
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(10 * factor, rel=2e-3)


def test_a_frame_reference_time_tells_the_start_of_a_series_made_later(tmp_path: Path) -> None:
    found = tumour(
        tmp_path, SeriesTime="150000", AcquisitionTime="111500", FrameReferenceTime="900000", ActualFrameDuration="1000"
    )
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(10, rel=2e-3)


def test_suv_units_are_taken_as_they_are(tmp_path: Path) -> None:
    found = tumour(tmp_path, Units="GML", PatientWeight=None, RadiopharmaceuticalInformationSequence=None)
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(10 / 0.0002, rel=1e-3)
    assert "as the images state it" in next(m.method for m in found.measurements if m.derivation == "deriv.max")


@pytest.mark.parametrize(("element", "factor"), [(0x00, 0.0002), (0x09, 1.0)])
def test_counts_of_philips_have_a_factor(tmp_path: Path, element: int, factor: float) -> None:
    def change(ds: Dataset, at: int) -> None:
        pet_header(Units="CNTS")(ds, at)
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(element, "DS", str(factor))

    found = tumour(tmp_path, change=change)
    assert value(found, "pet.suvbw", "deriv.max") == pytest.approx(10, rel=2e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Units": None}, "Units (0054,1001) are missing"),
        ({"Units": "PROPCPS"}, "Units (0054,1001) are PROPCPS"),
        ({"Units": "CNTS"}, "no factor to SUV or to Bq/ml"),
        ({"Units": "CM2ML"}, "Units (0054,1001) are CM2ML"),
        ({"Units": "GML", "SUVType": "LBM"}, "SUV by LBM"),
        ({"PatientWeight": None}, "Patient's Weight (0010,1030) is missing"),
        ({"PatientWeight": "0"}, "Patient's Weight (0010,1030) is missing"),
        ({"PatientWeight": "70000"}, "Patient's Weight (0010,1030) is impossible"),
        ({"RadiopharmaceuticalInformationSequence": None}, "the radiopharmaceutical is not described"),
        ({"RadionuclideTotalDose": None}, "Radionuclide Total Dose (0018,1074) is missing"),
        ({"RadionuclideTotalDose": "350"}, "no activity of an examination in Bq"),
        ({"RadionuclideHalfLife": None}, "Radionuclide Half Life (0018,1075) is missing"),
        ({"RadiopharmaceuticalStartTime": None}, "the time of administration is missing"),
        ({"RadiopharmaceuticalStartTime": "113000"}, "too long after the administration"),
        ({"RadiopharmaceuticalStartDateTime": "20260302100000"}, "was given after the scan"),
        ({"RadiopharmaceuticalStartDateTime": "20260301080000"}, "contradict each other"),
        ({"RadiopharmaceuticalStartDateTime": "20260301100000+0100"}, "offset from UTC"),
        ({"DecayCorrection": None}, "Decay Correction (0054,1102) is missing"),
        ({"DecayCorrection": "NONE"}, "contradict each other"),
        ({"CorrectedImage": ["DECY"]}, "not corrected for attenuation"),
        ({"RescaleSlope": None}, "states no Rescale Slope"),
    ],
)
def test_what_is_missing_or_wrong_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    found = tumour(tmp_path, **changes)
    assert said(found).startswith("No SUV: ")
    assert words in said(found)
    assert not any(m.name.startswith("pet.") for m in found.measurements)
    # what needs no uptake is there
    assert value(found, "sz.volume") == pytest.approx(MASK.sum() * 64)


def test_no_time_of_the_scan_is_refused(tmp_path: Path) -> None:
    found = tumour(tmp_path, SeriesTime=None, AcquisitionTime=None)
    assert "the time of the scan is missing" in said(found)


def test_two_units_in_one_series_are_refused(tmp_path: Path) -> None:
    found = tumour(tmp_path, Units=lambda at: "BQML" if at % 2 else "GML")
    assert "different Units" in said(found)


def mr(tmp_path: Path, **changes: Any) -> SegmentMeasurements:
    def change(ds: Dataset, at: int) -> None:
        del ds.RescaleSlope, ds.RescaleIntercept
        for keyword, given in changes.items():
            setattr(ds, keyword, given)

    images = pet(GRID, SUV * 0.2, change=change)
    images.modality, images.sop_class, images.slope = "MR", "1.2.840.10008.5.1.4.1.1.4", 1.0
    images.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=MASK)], ct=images).write(tmp_path)
    (found,) = measured(tmp_path)
    return found


def test_an_adc_map_is_measured_in_the_unit_that_it_states(tmp_path: Path) -> None:
    found = mr(
        tmp_path,
        ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
        RescaleSlope="1e-7",
        RescaleIntercept="0",
        RescaleType="mm2/s",
    )
    # 10,000 stored at the hottest: 0.001 mm2/s
    assert value(found, "mr.adc", "deriv.max") == pytest.approx(1000, rel=1e-3)
    assert {m.unit for m in found.measurements if m.name == "mr.adc"} == {"um2/s"}


def test_an_adc_map_without_a_unit_is_refused(tmp_path: Path) -> None:
    found = mr(tmp_path, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
    assert said(found) == "No ADC: the ADC map does not say its unit, and none is assumed"
    assert not any(m.name in {"mr.adc", "ms.signal"} for m in found.measurements)


def test_other_mr_images_have_a_signal_without_a_unit(tmp_path: Path) -> None:
    found = mr(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "M", "SE"])
    assert value(found, "ms.signal", "deriv.max") == pytest.approx(10000)
    assert {m.unit for m in found.measurements if m.name == "ms.signal"} == {"1"}
