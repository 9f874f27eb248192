"""Which marks are of one lesion, and what a draft makes of them."""

from __future__ import annotations

from dataclasses import replace

from service.flow.lesions import beside, lesions_of, marks_of
from service.model.measurement import Measurement, Reference, RegionKind, SegmentMeasurements
from service.model.study import Patient, Study

STUDY = Study(study_instance_uid="1.2.3", patient=Patient())


def mark(
    uid: str,
    *,
    modality: str = "CT",
    tracking: str = "",
    segment: int = 1,
    kind: RegionKind = RegionKind.SEGMENT,
    **changes: object,
) -> SegmentMeasurements:
    source = Reference(sop_class_uid="1", sop_instance_uid=uid, series_instance_uid=f"{uid}.0")
    one = SegmentMeasurements(
        label="Tumour",
        segment=segment,
        source=source,
        kind=kind,
        modality=modality,
        image_series_instance_uid=f"series {modality}",
        tracking_uid=tracking,
        tracking_id="T" if tracking else "",
        role="tumour",
        measurements=(
            Measurement(name="sz.long_axis", value=55.0, unit="mm", method=""),
            Measurement(name="sz.volume", value=53_000.0, unit="mm3", method=""),
        ),
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def grouped(*marks: SegmentMeasurements) -> list[list[str]]:
    return [[m.source.sop_instance_uid for m in (x.primary, *x.further)] for x in lesions_of(marks)]


def test_segmentations_on_three_series_under_one_tracking_uid_are_one_lesion_and_ct_stands_for_its_size() -> None:
    pet, ct, mr = (mark(u, modality=m, tracking="9.9") for u, m in (("1", "PT"), ("2", "CT"), ("3", "MR")))
    assert grouped(pet, ct, mr) == [["2", "3", "1"]]
    assert grouped(mr, pet, ct) == [["2", "3", "1"]]


def test_without_a_common_tracking_uid_they_stay_apart() -> None:
    assert grouped(mark("1", modality="PT"), mark("2")) == [["1"], ["2"]]
    assert grouped(mark("1", tracking="9.1", modality="PT"), mark("2", tracking="9.2")) == [["1"], ["2"]]


def test_two_segments_of_one_object_stay_apart_whatever_their_tracking_uid() -> None:
    first, second = mark("1", tracking="9.9", segment=1), mark("1", tracking="9.9", segment=2)
    assert grouped(first, second) == [["1"], ["1"]]
    # and the first goes with the first of another object
    other = mark("2", tracking="9.9", modality="PT")
    assert [[m.segment for m in (x.primary, *x.further)] for x in lesions_of((first, second, other))] == [[1, 1], [2]]


def test_marks_of_the_same_pixels_are_one_and_the_segment_stands_for_it() -> None:
    roi = mark("1", kind=RegionKind.ROI, overlaps=(("2", 1),))
    segment = mark("2", overlaps=(("1", 1),))
    assert grouped(roi, segment) == [["2", "1"]]
    (lesion,) = lesions_of((roi, segment))
    assert beside(lesion, STUDY) == ("Also marked by an ROI on CT: long axis 55.0 mm, volume 53.0 cm3",)


def test_a_mark_that_could_not_be_measured_does_not_stand_for_a_lesion() -> None:
    broken = mark("1", tracking="9.9", measurements=(), refusals=("Not measured: the segment is empty",))
    assert grouped(broken, mark("2", tracking="9.9", modality="PT")) == [["2", "1"]]
    (lesion,) = lesions_of((broken, mark("2", tracking="9.9", modality="PT")))
    assert beside(lesion, STUDY) == ("Also marked by a segment on CT: Not measured: the segment is empty",)


def test_chains_of_marks_are_one_lesion() -> None:
    segment = mark("1", tracking="9.9", overlaps=(("3", 1),))
    assert grouped(segment, mark("2", tracking="9.9", modality="PT"), mark("3", kind=RegionKind.ROI)) == [
        ["1", "2", "3"]
    ]


def test_every_segment_is_known_by_its_lesion() -> None:
    lesions = lesions_of((mark("1", tracking="9.9"), mark("2", tracking="9.9", modality="PT"), mark("3")))
    assert marks_of(lesions) == {("1", 1): "LMS-T1", ("2", 1): "LMS-T1", ("3", 1): "LMS-T2"}
