"""A study to measurements: what is measured on which segment, in which order, and on which side."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from service.errors import InputError
from service.measure.listing import segments
from service.measure.segments import measure_study
from service.read.folder import read_folder
from tests.helpers import ROOT as PROJECT
from tests.phantoms import (
    ENHANCED_CT,
    FRAME_OF_REFERENCE_UID,
    NOTHING_SAID,
    ROOT,
    STUDY_UID,
    Ct,
    Grid,
    Part,
    Seg,
    box,
    ellipsoid,
    item,
    measured,
    number,
    phantom,
    study_of,
    value,
)

STS_002 = PROJECT / "tests" / "data" / "sts_002"
#: wide enough for a body
WIDE = Grid(
    origin=(-200.0, -150.0, 0.0), spacing=(2.0, 2.0), rows=150, columns=200, depths=tuple(5.0 * i for i in range(12))
)
MIDDLE = WIDE.centre


def away(x: float, y: float = 0, z: float = 0) -> np.ndarray:
    """Return the point that lies so far from the middle, in mm."""
    return MIDDLE + np.array([x, y, z])


def abdomen(folder: Path, *parts: Part, body: Callable[..., Any] | None = None, **changes: Any) -> Ct:
    """Write a body with segments."""
    hounsfield = np.where(WIDE.voxels(body or ellipsoid(MIDDLE, (160, 110, 1000))), 40.0, -1000.0)
    for part in parts:
        hounsfield[part.mask.astype(bool)] = 60
    ct = Ct(grid=WIDE, hounsfield=hounsfield, **changes)
    ct.write(folder)
    Seg(grid=WIDE, parts=parts, ct=ct).write(folder)
    return ct


def part(x: float, label: str = "Tumour", **changes: Any) -> Part:
    """Return a ball at ``x`` mm left of the middle."""
    return Part(mask=WIDE.voxels(ellipsoid(away(x), (20, 20, 20))), label=label, **changes)


def test_reference_measurements_are_met() -> None:
    """Those that dcmqi published for a real study, within one in a hundred."""
    found = read_folder(STS_002)
    (study,) = found.studies
    (tumour,) = measure_study(study, found.open_file)
    assert (tumour.label, tumour.role, tumour.role_basis) == ("GTV_Mass", "tumour", "the coded property type Neoplasm")
    reference = {name: float(v) for name, v in published(STS_002 / "CT_SR_TID1500.dcm")}
    assert value(tumour, "sz.volume") / 1000 == pytest.approx(reference["Volume"], rel=1e-4)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(reference["Attenuation Coefficient"], abs=1e-3)
    assert tumour.refusals == ()
    # a cropped thigh: nobody can say from its middle which side it is
    assert (tumour.laterality, tumour.laterality_basis) == (
        "",
        "not proposed: the images do not show the whole width of the body",
    )


def published(file: Path) -> list[tuple[str, str]]:
    """Return the numbers of a TID 1500 report, the maximum left out."""
    found: list[tuple[str, str]] = []

    def walk(items: Any) -> None:
        for content in items:
            children = content.get("ContentSequence", [])
            kinds = [c.ConceptCodeSequence[0].CodeMeaning for c in children if c.ValueType == "CODE"]
            if content.ValueType == "NUM" and "Maximum" not in kinds:
                found.append(
                    (content.ConceptNameCodeSequence[0].CodeMeaning, content.MeasuredValueSequence[0].NumericValue)
                )
            walk(children)

    with pydicom.config.disable_value_validation():
        walk(pydicom.dcmread(file).ContentSequence)
    return found


def test_lesions_get_everything_and_other_structures_their_volume(tmp_path: Path) -> None:
    abdomen(
        tmp_path,
        part(60),
        part(-30, "IVC", property_type=NOTHING_SAID),
        part(0, "Kidney left", property_type=("64033007", "SCT", "Kidney")),
        part(-90, "GREEN", property_type=NOTHING_SAID),
    )
    tumour, cava, kidney, unknown = measured(tmp_path)
    assert [(m.name, m.derivation) for m in tumour.measurements] == [
        ("sz.long_axis", ""),
        ("sz.short_axis", ""),
        ("sz.height", ""),
        ("sz.width", ""),
        ("sz.depth", ""),
        ("sz.max3d", ""),
        ("sz.volume", ""),
        ("sz.vol_mesh", ""),
        ("ct.hu", "deriv.mean"),
        ("ct.hu", "deriv.sd"),
        ("ct.hu", "deriv.p10"),
        ("ct.hu", "deriv.median"),
        ("ct.hu", "deriv.p90"),
        ("ct.hu", "deriv.min"),
        ("ct.hu", "deriv.max"),
        ("ms.low_att_fraction", ""),
        ("ms.fat_att_fraction", ""),
    ]
    assert [m.unit for m in tumour.measurements] == ["mm"] * 6 + ["mm3"] * 2 + ["[hnsf'U]"] * 7 + ["%"] * 2
    assert (cava.role, [m.name for m in cava.measurements]) == ("ves.ivc", ["sz.volume"])
    assert (kidney.role, [m.name for m in kidney.measurements]) == ("org.kidney", ["sz.volume"])
    assert (unknown.role, unknown.measurements) == ("", ())
    assert unknown.refusals == ("Not measured: it is not known which structure the segment is",)


def test_every_segment_is_measured_where_that_is_asked(tmp_path: Path) -> None:
    abdomen(tmp_path, part(-90, "GREEN", property_type=NOTHING_SAID))
    (unknown,) = measured(tmp_path, every_segment=True)
    assert len(unknown.measurements) == 17


def test_evidence_names_segment_and_image(tmp_path: Path) -> None:
    ct = abdomen(tmp_path, part(60), part(-60, "Tumour 2"))
    for n, lesion in enumerate(measured(tmp_path), start=1):
        assert lesion.source.segment == n
        for m in lesion.measurements:
            assert m.evidence[0] == lesion.source
            assert bool(m.evidence[1:]) == m.name.endswith("_axis")
        assert lesion.image_series_instance_uid == ct.series_uid
        assert lesion.measurements[0].evidence[1].series_instance_uid == ct.series_uid


@pytest.mark.parametrize(
    ("x", "side", "words"),
    [
        (60, "v.left", "60 mm left of the middle of the body"),
        (-60, "v.right", "60 mm right of the middle of the body"),
        (10, "v.midline", "within 15 mm of the middle of the body"),
    ],
)
def test_the_side_is_proposed_from_the_body(tmp_path: Path, x: float, side: str, words: str) -> None:
    abdomen(tmp_path, part(x))
    (tumour,) = measured(tmp_path)
    assert tumour.laterality == side
    assert words in tumour.laterality_basis


def test_the_middle_is_that_of_the_body_not_of_the_image(tmp_path: Path) -> None:
    # the patient lies 30 mm off centre: 40 mm from the image's middle is 10 mm from the body's
    abdomen(tmp_path, part(40), body=ellipsoid(away(30), (150, 110, 1000)))
    (tumour,) = measured(tmp_path)
    assert tumour.laterality == "v.midline"


def test_both_legs_are_one_body(tmp_path: Path) -> None:
    def legs(x: Any, y: Any, z: Any) -> Any:
        left = ellipsoid(away(90), (70, 80, 1000))(x, y, z)
        return left | ellipsoid(away(-90), (70, 80, 1000))(x, y, z)

    abdomen(tmp_path, part(70), body=legs)
    (tumour,) = measured(tmp_path)
    assert tumour.laterality == "v.left"


def test_a_table_is_no_body(tmp_path: Path) -> None:
    def on_a_table(x: Any, y: Any, z: Any) -> Any:
        table = box(away(40, 125), (300, 4, 1000))(x, y, z)
        return ellipsoid(MIDDLE, (150, 110, 1000))(x, y, z) | table

    abdomen(tmp_path, part(10), body=on_a_table)
    assert measured(tmp_path)[0].laterality == "v.midline"


def test_a_body_that_is_cut_off_at_one_side_has_no_middle(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60), body=ellipsoid(away(80), (160, 110, 1000)))
    (tumour,) = measured(tmp_path)
    assert (tumour.laterality, tumour.laterality_basis) == (
        "",
        "not proposed: the body is cut off at one side of the image",
    )


def test_a_body_wider_than_the_image_has_the_middle_of_the_image(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60), body=ellipsoid(MIDDLE, (400, 110, 1000)))
    (tumour,) = measured(tmp_path)
    assert tumour.laterality == "v.left"
    assert "middle of the image" in tumour.laterality_basis


def test_images_without_hounsfield_have_the_middle_of_the_image(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60), modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4")
    assert "middle of the image" in measured(tmp_path)[0].laterality_basis


def test_air_alone_has_no_body(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60), body=lambda x, y, z: x > 1e9)
    ct = Ct(grid=WIDE, hounsfield=np.full((12, 150, 200), -1000.0))
    ct.write(tmp_path)
    assert "middle of the image" in measured(tmp_path)[0].laterality_basis


def test_a_side_that_the_label_says_is_not_proposed_again(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60, "Tumour right"))
    (tumour,) = measured(tmp_path)
    assert (tumour.laterality, tumour.laterality_basis) == ("v.right", "the label 'Tumour right'")


def test_unpaired_structures_have_no_side(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60, "IVC", property_type=NOTHING_SAID))
    assert (measured(tmp_path)[0].laterality, measured(tmp_path)[0].laterality_basis) == ("", "")


def test_coronal_images_propose_no_side(tmp_path: Path) -> None:
    grid = Grid(orientation=(1.0, 0, 0, 0, 0, -1.0))
    phantom(tmp_path, ellipsoid(grid.centre, (20, 20, 20)), grid)
    assert measured(tmp_path)[0].laterality_basis == "not proposed: the images are not axial"


def deliveries(folder: Path, *changes: dict[str, Any]) -> list[tuple[str, float]]:
    """Write several segmentations of one CT; return source and volume of what was measured."""
    hounsfield = np.full((12, 150, 200), 40.0)
    ct = Ct(grid=WIDE, hounsfield=hounsfield)
    ct.write(folder)
    for n, change in enumerate(changes, start=1):
        options = {"radius": 10 + n, "label": "Tumour", "tracking_uid": "", **change}
        mask = WIDE.voxels(ellipsoid(MIDDLE, [options.pop("radius")] * 3))
        parts = [Part(mask=mask, label=options.pop("label"), tracking_uid=options.pop("tracking_uid"))] * options.pop(
            "copies", 1
        )
        Seg(grid=WIDE, parts=parts, ct=ct, uid=f"{ROOT}.9.{n}", **options).write(folder, f"seg{n}.dcm")
    return sorted((m.source.sop_instance_uid.rpartition(".")[2], m.segment) for m in measured(folder))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        # without a tracking UID: same label and type in the same series
        (({}, {"content_time": "130000"}), [("2", 1)]),
        (({"content_time": "130000"}, {}), [("1", 1)]),
        (({}, {"instance_number": 2}), [("2", 1)]),
        (({}, {}), [("2", 1)]),
        (({}, {"label": "Tumour 2"}), [("1", 1), ("2", 1)]),
        (({}, {"series_uid": f"{ROOT}.10"}), [("1", 1), ("2", 1)]),
        # with one: wherever it comes from
        (({"tracking_uid": "1.2"}, {"tracking_uid": "1.2", "series_uid": f"{ROOT}.10"}), [("2", 1)]),
        (({"tracking_uid": "1.2"}, {"tracking_uid": "1.3"}), [("1", 1), ("2", 1)]),
        # several in one object are several
        (({"copies": 2}, {"copies": 2}), [("2", 1), ("2", 2)]),
        (({"copies": 2, "tracking_uid": "1.2"},), [("1", 1), ("1", 2)]),
    ],
)
def test_the_newest_delivery_of_a_segment_counts(tmp_path: Path, changes: Any, kept: Any) -> None:
    assert deliveries(tmp_path, *changes) == kept


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    abdomen(tmp_path / "a", part(60), part(-60, "Kidney right"))
    first = measured(tmp_path / "a")
    other = tmp_path / "b"
    other.mkdir()
    for n, file in enumerate(sorted((tmp_path / "a").iterdir(), reverse=True)):
        shutil.copy(file, other / f"{n:03d}.dcm")
    assert measured(other) == first


def enhanced(ct: Ct, folder: Path) -> None:
    """Write a CT series as one multi-frame image."""
    single = ct.dataset(0)
    ds = Dataset()
    ds.file_meta = single.file_meta
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "FrameOfReferenceUID", "Rows",
                    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
                    "PhotometricInterpretation"):  # fmt: skip
        setattr(ds, keyword, single[keyword].value)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    ds.Modality, ds.NumberOfFrames = "CT", str(len(ct.grid.depths))
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[number(v) for v in ct.grid.spacing])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[number(v) for v in ct.grid.orientation])],
            PixelValueTransformationSequence=[item(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[number(v) for v in ct.grid.position(at)])])
        for at in range(len(ct.grid.depths))
    ]
    # every other frame has a rescale of its own
    for at, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        if at % 2:
            group.PixelValueTransformationSequence = [
                item(RescaleSlope="1", RescaleIntercept="-1000", RescaleType="HU")
            ]
    shifted = np.stack([ct.hounsfield[at] + (1000 if at % 2 else 1024) for at in range(len(ct.grid.depths))])
    ds.PixelData = np.clip(shifted, 0, 65535).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    folder.mkdir(exist_ok=True)
    ds.save_as(folder / "enhanced.dcm", enforce_file_format=True)


def test_multi_frame_images_are_measured_and_drawn_on_by_frame(tmp_path: Path) -> None:
    mask = WIDE.voxels(ellipsoid(away(60), (40, 30, 20)))
    ct = Ct(grid=WIDE, hounsfield=np.where(mask, 60.0, -500.0))
    enhanced(ct, tmp_path)

    def change(ds: Dataset) -> None:
        for (_, at), group in zip(seg.frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
            source = group.DerivationImageSequence[0].SourceImageSequence[0]
            source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = ct.uid(0), at + 1

    seg = Seg(grid=WIDE, parts=[Part(mask=mask)], ct=ct, change=change)
    seg.write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert tumour.refusals == ()
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60, abs=1e-3)
    assert value(tumour, "ct.hu", "deriv.sd") == pytest.approx(0, abs=1e-3)
    (line,) = [e for e in tumour.measurements[0].evidence if e.points]
    assert line.sop_instance_uid == ct.uid(0)
    assert mask[line.frames[0] - 1].sum() == mask.sum(axis=(1, 2)).max()


def test_fractional_segmentations_say_their_threshold(tmp_path: Path) -> None:
    mask = WIDE.voxels(ellipsoid(MIDDLE, (30, 30, 20)))
    ct = Ct(grid=WIDE, hounsfield=np.where(mask, 60.0, -500.0))
    ct.write(tmp_path)
    Seg(grid=WIDE, parts=[Part(mask=mask * 150)], ct=ct, kind="FRACTIONAL").write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert tumour.remarks == ("Fractional segmentation: voxels of at least 50% count",)
    assert value(tumour, "sz.volume") == pytest.approx(mask.sum() * 20)


def test_label_maps_are_measured(tmp_path: Path) -> None:
    mask = WIDE.voxels(ellipsoid(MIDDLE, (30, 30, 20)))
    ct = Ct(grid=WIDE, hounsfield=np.where(mask, 60.0, -500.0))
    ct.write(tmp_path)
    Seg(grid=WIDE, parts=[Part(mask=mask)], ct=ct, kind="LABELMAP").write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "sz.volume") == pytest.approx(mask.sum() * 20)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)


def test_a_study_without_segmentations_has_no_measurements(tmp_path: Path) -> None:
    Ct(grid=Grid(depths=(0.0,)), hounsfield=np.zeros((1, 128, 128))).write(tmp_path)
    assert measured(tmp_path) == ()


def test_localizers_in_the_series_are_passed_over(tmp_path: Path) -> None:
    ct, _ = phantom(tmp_path, ellipsoid(Grid().centre, (30, 30, 30)))
    localizer = Ct(grid=Grid(orientation=(1.0, 0, 0, 0, 0, -1.0), depths=(0.0,)), hounsfield=np.zeros((1, 128, 128)))
    ds = localizer.dataset(0)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ct.series_uid}.999"
    ds.save_as(tmp_path / "localizer.dcm", enforce_file_format=True)
    (tumour,) = measured(tmp_path)
    assert tumour.refusals == ()
    assert value(tumour, "sz.volume") == pytest.approx(4 / 3 * math.pi * 30**3, rel=0.01)


def test_two_phases_in_one_series_are_told_apart_by_name(tmp_path: Path) -> None:
    ct, _ = phantom(tmp_path, ellipsoid(Grid().centre, (30, 30, 30)))
    for at in range(len(ct.grid.depths)):
        ds = replace(ct, hounsfield=ct.hounsfield * 0).dataset(at)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ct.series_uid}.9{at}"
        ds.save_as(tmp_path / f"second{at}.dcm", enforce_file_format=True)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)


def test_the_list_for_scripts_has_names_values_units_and_methods(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60))
    (row,) = json.loads(json.dumps(segments((STUDY_UID, m) for m in measured(tmp_path))))
    assert row["study_instance_uid"] == STUDY_UID
    assert row["label"] == "Tumour"
    assert row["source_sop_instance_uid"] == f"{ROOT}.9.1"
    assert row["segment"] == 1
    long_axis = row["measurements"][0]
    assert {"name", "value", "unit", "method"} <= set(long_axis)
    assert (long_axis["name"], long_axis["unit"]) == ("sz.long_axis", "mm")
    assert len(long_axis["lines"][0]["points"]) == 2
    assert [m["threshold"] for m in row["measurements"] if "threshold" in m] == [30, -20]


def test_a_folder_is_read_study_by_study(tmp_path: Path) -> None:
    abdomen(tmp_path / "one", part(60))
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "link.dcm").symlink_to(tmp_path / "one" / "seg.dcm")
    other = Ct(grid=Grid(depths=(0.0,)), hounsfield=np.zeros((1, 128, 128)), series_uid="1.9.9",
               change=lambda ds, at: setattr(ds, "StudyInstanceUID", "1.9"))  # fmt: skip
    other.write(tmp_path / "two")
    found = read_folder(tmp_path, default_issuer="SITE")
    assert [s.study_instance_uid for s in found.studies] == [STUDY_UID, "1.9"]
    assert found.refused == ("notes.txt is no DICOM file: 'DICM' is not at byte 128 (PS3.10 7.1)",)
    assert found.studies[0].patient.issuer == "SITE"
    assert found.open_file(found.studies[1].instances[0]) == tmp_path / "two" / "ct2_0000.dcm"
    with pytest.raises(InputError, match="is no folder"):
        read_folder(tmp_path / "absent")


def test_the_phantoms_frame_of_reference_is_one(tmp_path: Path) -> None:
    abdomen(tmp_path, part(60))
    study, _ = study_of(tmp_path)
    assert {s.header.text("FrameOfReferenceUID") for s in study.series} == {FRAME_OF_REFERENCE_UID}
