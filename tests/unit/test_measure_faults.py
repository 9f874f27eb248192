"""Wrong objects: each ends in a right number or in a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from service.errors import StoreUnavailable
from service.measure.segments import measure_study
from service.model.measurement import SegmentMeasurements
from tests.phantoms import ROOT, Ct, Grid, Part, Seg, ellipsoid, item, measured, phantom, study_of, value

GRID = Grid()
SPHERE = ellipsoid(GRID.centre, (30, 30, 30))
VOLUME = pytest.approx(4 / 3 * np.pi * 30**3, rel=0.01)


def names(of: SegmentMeasurements) -> set[str]:
    return {m.name for m in of.measurements}


def said(of: SegmentMeasurements) -> str:
    return "; ".join(of.refusals)


def one(tmp_path: Path, change: Callable[[Dataset], None], **changes: Any) -> SegmentMeasurements:
    """Measure a sphere whose segmentation was changed."""
    phantom(tmp_path, SPHERE, change=change, **changes)
    (tumour,) = measured(tmp_path)
    return tumour


def without_sources(ds: Dataset) -> None:
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence


def test_another_frame_of_reference_leaves_out_what_needs_the_images(tmp_path: Path) -> None:
    tumour = one(tmp_path, lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2.3"))
    assert "another frame of reference" in said(tumour)
    assert value(tumour, "sz.volume") == VOLUME
    assert "ct.hu" not in names(tumour)
    assert all(not e.points for m in tumour.measurements for e in m.evidence)
    assert tumour.laterality == ""


def test_an_empty_segment_is_refused(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask & False)], ct=ct, keep_empty_frames=True).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert tumour.refusals == ("Not measured: the segment is empty: no voxel is marked",)
    assert (tumour.measurements, tumour.centroid) == ((), None)


@pytest.mark.parametrize("sequence", ["PlanePositionSequence"])
def test_a_frame_without_a_place_is_refused(tmp_path: Path, sequence: str) -> None:
    def change(ds: Dataset) -> None:
        del ds.PerFrameFunctionalGroupsSequence[2][sequence]

    assert "does not say where its frames lie" in said(one(tmp_path, change))


@pytest.mark.parametrize("keyword", ["PixelMeasuresSequence", "PlaneOrientationSequence"])
def test_frames_without_spacing_or_orientation_are_refused(tmp_path: Path, keyword: str) -> None:
    tumour = one(tmp_path, lambda ds: ds.SharedFunctionalGroupsSequence[0].__delattr__(keyword))
    assert "does not say where its frames lie" in said(tumour)


def test_frames_that_are_not_parallel_are_refused(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        ds.PerFrameFunctionalGroupsSequence[3].PlaneOrientationSequence = [
            item(ImageOrientationPatient=["0.9962", "0", "0.0872", "0", "1", "0"])
        ]

    assert "not parallel" in said(one(tmp_path, change))


@pytest.mark.parametrize(("at", "instead"), [(2, 3), (5, 6)])
def test_two_frames_in_one_place_are_refused(tmp_path: Path, at: int, instead: int) -> None:
    # 5 and 6 hold the same mask, on both sides of the sphere's middle, but name different images
    def change(ds: Dataset) -> None:
        groups = ds.PerFrameFunctionalGroupsSequence
        groups[at].PlanePositionSequence = groups[instead].PlanePositionSequence

    assert "two frames of the segment lie in one plane and differ" in said(one(tmp_path, change))


def test_the_same_frame_twice_counts_once(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    doubled = replace(GRID, depths=(*GRID.depths, *GRID.depths))
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    Seg(grid=doubled, parts=[Part(mask=np.concatenate([mask, mask]))], ct=None).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "sz.volume") == VOLUME


def test_masks_of_several_times_are_refused(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        groups = ds.PerFrameFunctionalGroupsSequence
        ds.DimensionIndexSequence = [item(DimensionIndexPointer=0x00209128)]
        for n, group in enumerate(groups):
            group.FrameContentSequence = [item(DimensionIndexValues=[n])]
        groups[5].PlanePositionSequence = groups[6].PlanePositionSequence

    assert "several masks in one plane (several times or parameters)" in said(one(tmp_path, change))


def test_missing_images_leave_out_attenuation_only(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path, without=[9])
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct, nominal_spacing=5).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "No attenuation: 1 of 12 slices of the segment have no image in the study" in tumour.refusals
    assert value(tumour, "sz.volume") == VOLUME
    assert "ct.hu" not in names(tumour)


def test_a_slice_missing_in_images_and_mask_leaves_out_what_it_would_falsify(tmp_path: Path) -> None:
    grid = replace(GRID, depths=tuple(d for i, d in enumerate(GRID.depths) if i != 9))
    phantom(tmp_path, SPHERE, grid)
    (tumour,) = measured(tmp_path)
    assert "No volume: slices are missing inside the segment" in tumour.refusals
    assert "No extents: slices are missing inside the segment" in tumour.refusals
    assert "No attenuation: slices are missing inside the segment" in tumour.refusals
    assert names(tumour) == {"sz.long_axis", "sz.short_axis"}
    assert any("the longest on those that are there" in r for r in tumour.remarks)


def test_a_slice_missing_outside_the_lesion_changes_nothing(tmp_path: Path) -> None:
    # the gap begins where the lesion ends
    grid = replace(GRID, depths=tuple(d for i, d in enumerate(GRID.depths) if i != 16))
    phantom(tmp_path, SPHERE, grid)
    (tumour,) = measured(tmp_path)
    assert tumour.refusals == ()
    assert value(tumour, "sz.volume") == VOLUME


def test_empty_frames_that_were_left_out_are_no_gap(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    mask[9] = False
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert tumour.refusals == ()
    assert value(tumour, "sz.volume") == pytest.approx(mask.sum() * 5.0)


def test_images_of_another_study_leave_the_segmentation_to_itself(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000), series_uid=f"{ROOT}.77")
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct, nominal_spacing=5).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert tumour.image_series_instance_uid == ""
    assert said(tumour) == (
        "No line for long and short axis: the images that the segmentation was made on are not in this study"
    )
    assert value(tumour, "sz.volume") == VOLUME
    assert value(tumour, "sz.long_axis") == pytest.approx(60, abs=1)
    assert tumour.laterality_basis == "not proposed: the images are not in the study"


def test_one_slice_of_unknown_thickness_has_no_volume(tmp_path: Path) -> None:
    grid = replace(GRID, depths=(45.0,))
    Seg(grid=grid, parts=[Part(mask=grid.voxels(SPHERE))], ct=None).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "the slice spacing is not known" in said(tumour)
    assert not tumour.measurements


def test_one_slice_of_stated_thickness_has_a_volume(tmp_path: Path) -> None:
    grid = replace(GRID, depths=(45.0,))
    mask = grid.voxels(SPHERE)
    Seg(grid=grid, parts=[Part(mask=mask)], ct=None, nominal_spacing=3).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "sz.volume") == pytest.approx(mask.sum() * 3)
    assert value(tumour, "sz.height") == pytest.approx(3)


def test_references_that_dangle_are_resolved_by_place(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4"

    tumour = one(tmp_path, change)
    assert tumour.refusals == ()
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)


def test_two_series_in_the_same_planes_are_not_chosen_between(tmp_path: Path) -> None:
    ct, _ = phantom(tmp_path, SPHERE, change=without_sources)
    replace(ct, series_uid=f"{ROOT}.55", series_number=3).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "names no images of this study, and 2 series lie in its planes" in said(tumour)
    assert "ct.hu" not in names(tumour)
    assert value(tumour, "sz.volume") == VOLUME


def test_the_series_that_is_named_is_taken_of_two_in_the_same_planes(tmp_path: Path) -> None:
    ct, _ = phantom(tmp_path, SPHERE)
    replace(ct, series_uid=f"{ROOT}.1.5", series_number=3, hounsfield=ct.hounsfield * 0).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)
    assert tumour.image_series_instance_uid == ct.series_uid


def test_a_series_named_as_a_whole_is_taken(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        without_sources(ds)
        ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=f"{ROOT}.2")]

    ct, _ = phantom(tmp_path, SPHERE, change=change)
    replace(ct, series_uid=f"{ROOT}.55", series_number=3, hounsfield=ct.hounsfield * 0).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)


def test_frames_that_name_the_wrong_images_are_measured_on_those_in_their_planes(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        groups = ds.PerFrameFunctionalGroupsSequence
        named = [g.DerivationImageSequence for g in groups]
        for group, wrong in zip(groups, [*named[1:], named[0]], strict=True):
            group.DerivationImageSequence = wrong

    tumour = one(tmp_path, change)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)
    assert any("name images that lie elsewhere" in r for r in tumour.remarks)


def test_positions_that_were_rounded_still_find_the_named_images(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        for group in ds.PerFrameFunctionalGroupsSequence:
            x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
            group.PlanePositionSequence[0].ImagePositionPatient = [x, y, z + 0.6]

    assert value(one(tmp_path, change), "ct.hu", "deriv.mean") == pytest.approx(60)


def test_another_pixel_grid_has_no_attenuation(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    finer = replace(GRID, spacing=(0.5, 0.5), rows=256, columns=256)
    Seg(grid=finer, parts=[Part(mask=finer.voxels(SPHERE))], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "No attenuation: the segmentation has another pixel grid than the images" in tumour.refusals
    assert value(tumour, "sz.volume") == VOLUME
    # lines are drawn on the images all the same: their pixels are twice as large
    (line,) = [e for m in tumour.measurements if m.name == "sz.long_axis" for e in m.evidence if e.points]
    assert max(x for x, _ in line.points) < 128


def test_a_cropped_segmentation_is_measured_on_the_right_pixels(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    cropped = replace(GRID, origin=(-64.0 + 20, -64.0 + 10, 0.0), rows=100, columns=90)
    Seg(grid=cropped, parts=[Part(mask=cropped.voxels(SPHERE))], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(60)
    assert value(tumour, "ct.hu", "deriv.sd") == pytest.approx(0, abs=1e-3)


def test_a_flipped_segmentation_is_measured_on_the_right_pixels(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    flipped = replace(GRID, origin=(63.0, -64.0, 0.0), orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
                      depths=tuple(-d for d in GRID.depths))  # fmt: skip
    Seg(grid=flipped, parts=[Part(mask=flipped.voxels(SPHERE))], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "ct.hu", "deriv.sd") == pytest.approx(0, abs=1e-3)


def test_a_segment_beyond_the_images_has_no_attenuation(tmp_path: Path) -> None:
    larger = replace(GRID, origin=(-94.0, -64.0, 0.0), columns=158)
    outside = ellipsoid((-70, 0, 47), (15, 15, 15))
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    Seg(grid=larger, parts=[Part(mask=larger.voxels(outside))], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "No attenuation: the segment reaches beyond the images" in tumour.refusals


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda ds, at: ds.__delattr__("RescaleSlope"), "state no Rescale Slope and Intercept"),
        (lambda ds, at: setattr(ds, "RescaleType", "EDW"), "Rescale Type is EDW"),
        (lambda ds, at: setattr(ds, "ModalityLUTSequence", [item(LUTExplanation="x")]), "through a table"),
        (lambda ds, at: ds.__delattr__("PixelData"), "has no pixel data"),
        (lambda ds, at: setattr(ds, "PixelData", ds.PixelData[:100]), "too little pixel data"),
        (lambda ds, at: setattr(ds.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian), "deflated"),
    ],
)
def test_images_that_are_not_hounsfield_have_no_attenuation(
    tmp_path: Path, change: Callable[[Dataset, int], None], reason: str
) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000), change=change)
    ct.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert reason in said(tumour)
    assert "ct.hu" not in names(tumour)
    assert value(tumour, "sz.volume") == VOLUME


def test_a_segment_of_padding_only_has_no_attenuation(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, -1024 + 5, -1000), padding=5)
    ct.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "all voxels of the segment are padding" in said(tumour)


def test_images_that_are_no_ct_have_no_attenuation_and_no_complaint(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, 0), modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4")
    ct.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "ct.hu" not in names(tumour)
    assert tumour.refusals == ()


def test_images_without_a_place_are_said(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, 0), change=lambda ds, at: ds.__delattr__("ImagePositionPatient"))
    ct.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct, nominal_spacing=5).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "have no position in the patient" in said(tumour)


def test_a_segmentation_that_cannot_be_read_is_one_refusal(tmp_path: Path) -> None:
    phantom(tmp_path, SPHERE, change=lambda ds: setattr(ds, "SegmentationType", "WISH"))
    (broken,) = measured(tmp_path)
    assert (broken.segment, broken.role) == (0, "")
    assert said(broken).startswith("Not measured: the segmentation is no segmentation that can be read")


def test_a_fault_in_one_frame_costs_its_segment_only(tmp_path: Path) -> None:
    mask = GRID.voxels(SPHERE)
    ct = Ct(grid=GRID, hounsfield=np.where(mask, 60, -1000))
    ct.write(tmp_path)
    parts = [Part(mask=mask * 200), Part(mask=mask * 255, label="Tumour 2")]
    Seg(grid=GRID, parts=parts, ct=ct, kind="FRACTIONAL").write(tmp_path)
    first, second = measured(tmp_path)
    assert value(first, "sz.volume") == VOLUME
    assert "holds fractions above its maximum" in said(second)


def test_frames_of_no_segment_are_nobodys(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        for group in ds.PerFrameFunctionalGroupsSequence:
            del group.SegmentIdentificationSequence

    assert "the segment is empty" in said(one(tmp_path, change))


def test_a_file_that_is_gone_is_refused_and_one_that_cannot_be_read_now_is_tried_again(tmp_path: Path) -> None:
    phantom(tmp_path, SPHERE)
    study, _ = study_of(tmp_path)
    (broken,) = measure_study(study, lambda instance: tmp_path / "gone.dcm")
    assert "is not there any more" in said(broken)
    with pytest.raises(StoreUnavailable):
        measure_study(study, lambda instance: tmp_path)


def test_images_that_are_gone_leave_what_the_segmentation_says(tmp_path: Path) -> None:
    phantom(tmp_path, SPHERE)
    study, _ = study_of(tmp_path)
    (tumour,) = measure_study(study, lambda i: tmp_path / (i.path if i.path == "seg.dcm" else "gone.dcm"))
    assert "No attenuation: an image is not there any more" in tumour.refusals
    assert value(tumour, "sz.volume") == VOLUME
