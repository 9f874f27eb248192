"""What a destination may get beside the SRs is made of the version alone, and the same twice."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from service.flow import objects
from service.flow.produce import EXTRAS, Produced, Rendition
from service.model.prior import CoursePoint
from service.page.pictures import KeyImage, KeyImages
from tests import builders as b
from tests.pages import frame, marked

NAMES = {
    "pdf": "Encapsulated PDF Storage",
    "key-image": "Secondary Capture Image Storage",
    "key-objects": "Key Object Selection Document Storage",
    "presentation": "Grayscale Softcopy Presentation State Storage",
}
IMAGES = KeyImages(images=(KeyImage(marked=marked(), frame=frame(), proposed=True),))


def made(wanted: tuple[str, ...] = EXTRAS, of: Produced | None = None, **changes: object) -> tuple[Rendition, ...]:
    """Return the objects of a version."""
    produced = of or b.produced()
    arguments: dict[str, object] = {"images": IMAGES, "version": 3, "created_at": b.CREATED_AT, **changes}
    images = arguments.pop("images")
    return objects.extras(produced, b.rendered(produced)[0], wanted, images, **arguments)  # type: ignore[arg-type]


def read(rendition: Rendition) -> Dataset:
    """Return an object as a data set."""
    return dcmread(io.BytesIO(rendition.part10))


@pytest.mark.parametrize("kind", EXTRAS)
def test_each_kind_is_what_it_is_called(kind: str) -> None:
    (one,) = made((kind,))
    ds = read(one)
    assert one.kind == kind
    assert UID(one.sop_class_uid).name == NAMES[kind]
    assert (ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID) == (
        one.sop_class_uid,
        one.sop_instance_uid,
        one.series_instance_uid,
    )
    assert ds.StudyInstanceUID == b.STUDY_UID
    assert ds.PatientID == b.PATIENT.patient_id


def test_only_what_is_wanted_is_made() -> None:
    assert made(()) == ()
    assert [r.kind for r in made(("presentation", "pdf"))] == ["pdf", "presentation"]


def test_without_a_line_on_an_image_there_is_only_the_page() -> None:
    assert [r.kind for r in made(images=KeyImages())] == ["pdf"]


def test_the_same_version_gives_the_same_bytes_and_another_another_uid() -> None:
    assert made() == made()
    first, second = made(), made(version=4)
    assert {r.sop_instance_uid for r in first}.isdisjoint(r.sop_instance_uid for r in second)
    assert [r.series_instance_uid for r in first] == [r.series_instance_uid for r in second]


def test_a_time_to_the_microsecond_is_no_obstacle() -> None:
    assert made(("pdf",), created_at=b.CREATED_AT.replace(microsecond=123456))


def test_kinds_stand_in_series_of_their_own_behind_the_report() -> None:
    found = [read(r) for r in made()]
    assert len({ds.SeriesInstanceUID for ds in found}) == len(EXTRAS)
    assert sorted(int(ds.SeriesNumber) for ds in found) == [9903, 9904, 9905, 9906]


def test_the_page_names_the_report_that_it_shows() -> None:
    produced = b.produced()
    report = b.rendered(produced)[0]
    (page,) = made(("pdf",), produced)
    ds = read(page)
    assert ds.SourceInstanceSequence[0].ReferencedSOPInstanceUID == report.sop_instance_uid
    assert ds.DocumentTitle.endswith("draft, not verified")
    assert ds.VerificationFlag == "UNVERIFIED"


def test_what_is_proposed_says_so_on_every_object() -> None:
    texts = [read(r) for r in made(("key-image", "key-objects", "presentation"))]
    said = [
        ds.get("DerivationDescription") or ds.get("ContentDescription") or ds.ContentSequence[-2].TextValue
        for ds in texts
    ]
    assert all("proposed" in s for s in said), said
    confirmed = KeyImages(images=(replace(IMAGES.images[0], proposed=False),))
    (selection,) = made(("key-objects",), images=confirmed)
    assert "not confirmed" not in str(read(selection))


def point(date: str, item: str, number: float, tracking_uid: str = "", study: str = "1.2.3") -> CoursePoint:
    """Return a number of an earlier examination."""
    return CoursePoint(study_instance_uid=study, date=date, item=item, tracking_uid=tracking_uid, number=number)


class TestHistory:
    report = b.produced().report
    tracked = next(s.tracking_uid for s in report.subjects if s.key == "LMS-T1")

    def test_one_examination_is_its_own_point(self) -> None:
        label, (only,) = objects.history(self.report)
        assert label == "Long axis"
        assert (only.length_mm, only.volume_ml, only.proposed) == (80.4, 684.0, True)

    def test_the_same_lesion_is_followed_and_no_other(self) -> None:
        course = (
            point("20250101", "sz.long_axis", 90, self.tracked),
            point("20250101", "sz.volume", 300, self.tracked),
            point("20250201", "sz.long_axis", 20, "2.25.99"),
        )
        _, points = objects.history(self.report, course)
        first, this = points
        assert (first.date, first.length_mm, first.volume_ml) == ("20250101", 90, 300)
        assert (this.date, this.length_mm) == ("20260301", 80.4)

    def test_sums_of_targets_are_followed_where_there_are_several(self) -> None:
        course = (point("20250101", "fu.sum", 120), point("20250601", "fu.sum", 80, study="1.2.4"))
        label, points = objects.history(self.report, course)
        assert label == "Sum of target lesions"
        assert [p.length_mm for p in points] == [120, 80, None]

    def test_an_older_number_of_this_study_is_not_counted_twice(self) -> None:
        course = (point("20260301", "sz.long_axis", 1, self.tracked, study=b.STUDY_UID),)
        _, (only,) = objects.history(self.report, course)
        assert only.length_mm == 80.4
