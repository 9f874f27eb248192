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
from service.page.pictures import KeyImage, KeyImages
from tests import builders as b
from tests import over_time
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


# --- over time ---------------------------------------------------------------------------------------------------------


def course(wanted: tuple[str, ...] = ("key-image",), images: KeyImages = IMAGES, **changes: object):
    """Return the objects of a report with three earlier examinations."""
    produced, prior = over_time.last()
    return made(wanted, produced, images=images, prior=prior, **changes)


def test_the_plot_of_the_course_stands_behind_the_key_images() -> None:
    slice_, plot = (read(r) for r in course())
    assert plot.SeriesInstanceUID == slice_.SeriesInstanceUID
    assert plot.SOPInstanceUID != slice_.SOPInstanceUID
    assert [int(ds.InstanceNumber) for ds in (slice_, plot)] == [301, 302]
    assert plot.BurnedInAnnotation == "YES"
    assert plot.ImageComments.startswith("Not for measurement")
    assert "SourceImageSequence" not in plot
    said = "Course of the tumour: Sum of target lesions, mm: drawn from the numbers of the report (not all confirmed)"
    assert plot.DerivationDescription == said


def test_the_plot_needs_no_slice_and_the_slices_no_plot() -> None:
    assert [r.kind for r in course(images=KeyImages())] == ["key-image"]
    assert [r.kind for r in course(("key-objects", "pdf"), images=KeyImages())] == ["pdf"]
    assert [r.kind for r in made(("key-image",))] == ["key-image"]


def test_one_examination_is_no_plot() -> None:
    produced, _ = over_time.last()
    assert made(("key-image",), produced, images=KeyImages(), prior=None) == ()


def test_the_plot_is_the_same_twice_and_another_object_in_each_version() -> None:
    first, again, next_one = course()[1], course()[1], course(version=4)[1]
    assert first == again
    assert first.sop_instance_uid != next_one.sop_instance_uid


def test_the_selection_of_originals_has_no_plot() -> None:
    (selection,) = course(("key-objects",))
    (series,) = read(selection).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [i.ReferencedSOPClassUID for i in series.ReferencedSOPSequence] == [b.CT_IMAGE]
