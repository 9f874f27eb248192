"""Key images: grey values as the standard's formulas say, lines where the measurement is, and objects that say what they are."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from service.model.measurement import Reference
from service.page.drawing import draw, picture, windowed
from service.page.pictures import key_images
from service.sr.encapsulated_pdf import ENCAPSULATED_PDF, encapsulated_pdf
from service.sr.key_image import SECONDARY_CAPTURE, Mark, VoiFunction, Window, key_image
from service.sr.key_objects import KEY_OBJECT_SELECTION, key_objects
from service.sr.presentation_state import GRAYSCALE_SOFTCOPY_PRESENTATION_STATE, groups, presentation_state
from tests import pages as p

YELLOW = (255, 200, 60)


def read(part10: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(part10))


# --- grey values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "grey"),
    [
        # PS3.3 C.11.2.1.2.1: c=2048, w=4096 maps 0 to 0, 4095 to 255
        (VoiFunction.LINEAR, 0, 0),
        (VoiFunction.LINEAR, 4095, 255),
        (VoiFunction.LINEAR, 2048, 128),
        (VoiFunction.LINEAR, 5000, 255),
        (VoiFunction.LINEAR_EXACT, 0, 0),
        (VoiFunction.LINEAR_EXACT, 4096, 255),
        (VoiFunction.LINEAR_EXACT, 1024, 64),
        # C.11.2.1.3.1: half at the centre, a logistic curve around it
        (VoiFunction.SIGMOID, 2048, 128),
        (VoiFunction.SIGMOID, 3072, round(255 / (1 + np.exp(-1)))),
    ],
)
def test_windows_of_the_standard(function: VoiFunction, value: int, grey: int) -> None:
    window = Window(center=2048, width=4096, function=function)
    shown = windowed(np.array([[value]], np.int16), p.marked(rows=1, columns=1, window=window))
    assert abs(int(shown[0, 0]) - grey) <= 1


def test_a_window_of_one_is_a_threshold() -> None:
    window = Window(center=100, width=1)
    shown = windowed(np.array([[99, 100]], np.int16), p.marked(rows=1, columns=2, window=window))
    assert shown.tolist() == [[0, 255]]


def test_rescaling_comes_before_the_window() -> None:
    source = p.marked(rows=1, columns=2, slope=2.0, intercept=-1000.0, window=Window(center=0, width=2001))
    assert windowed(np.array([[0, 1000]], np.uint16), source).tolist() == [[0, 255]]


def test_low_values_are_bright_in_monochrome1() -> None:
    source = p.marked(rows=1, columns=2, inverted=True, window=Window(center=50.5, width=101))
    assert windowed(np.array([[0, 100]], np.int16), source).tolist() == [[255, 0]]


@pytest.mark.parametrize("window", [None, Window(center=0, width=0)])
def test_without_a_window_the_whole_range_is_shown(window: Window | None) -> None:
    shown = windowed(np.array([[-500, 0, 1500]], np.int16), p.marked(rows=1, columns=3, window=window))
    assert (shown.min(), shown.max()) == (0, 255)


# --- lines ------------------------------------------------------------------------------------------------------------


def yellow(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.abs(pixels.astype(int) - YELLOW).sum(axis=2) < 60


def test_a_line_runs_through_the_centres_of_its_pixels() -> None:
    # 512 x 512 is not enlarged: picture and image have the same pixels
    source = p.marked(rows=512, columns=512, marks=(Mark(points=((100.5, 50.5), (300.5, 50.5))),))
    drawn = draw(np.zeros((512, 512), np.int16), source).astype(int)
    column = drawn[40:62, 200, 0]
    assert column.argmax() == 10
    # half a pixel off would be lopsided
    assert column[10 - 3 : 10].tolist() == column[11:14][::-1].tolist()


def test_a_line_ends_where_the_measurement_does() -> None:
    source = p.marked(rows=512, columns=512, marks=(Mark(points=((100.5, 50.5), (300.5, 50.5))),))
    found = np.argwhere(yellow(draw(np.zeros((512, 512), np.int16), source)))
    assert abs(found[:, 1].min() - 100) <= 1
    assert abs(found[:, 1].max() - 300) <= 1
    # ticks stand across it at both ends, and only there
    across = found[np.abs(found[:, 0] - 50) > 3]
    assert set((np.abs(across[:, 1] - 200) > 97).tolist()) == {True}


def test_a_line_shows_on_white() -> None:
    source = p.marked(rows=512, columns=512, marks=(Mark(points=((100.5, 50.5), (300.5, 50.5))),))
    drawn = draw(np.full((512, 512), 3000, np.int16), source)
    column = drawn[40:62, 200].sum(axis=1)
    assert column.min() < 200


@pytest.mark.parametrize(
    ("spacing", "aspect", "shape"),
    [
        ((1.0, 1.0), (1, 1), (512, 512)),
        ((2.0, 1.0), (1, 1), (1024, 512)),
        ((1.0, 2.0), (1, 1), (512, 1024)),
        (None, (2, 1), (1024, 512)),
        (None, (1, 1), (512, 512)),
    ],
)
def test_pixels_become_square_and_small_images_large(
    spacing: tuple[float, float] | None, aspect: tuple[int, int], shape: tuple[int, int]
) -> None:
    drawn = draw(p.frame(), p.marked(spacing=spacing, aspect_ratio=aspect))
    assert drawn.shape == (*shape, 3)


def test_on_tall_pixels_a_line_keeps_its_place() -> None:
    marks = (Mark(points=((20.5, 100.5), (100.5, 100.5))),)
    found = np.argwhere(yellow(draw(p.frame() * 0, p.marked(spacing=(2.0, 1.0), marks=marks))))
    # 128 rows of double height, four times enlarged
    assert abs(np.median(found[:, 0]) - 100.5 * 8) <= 2
    assert abs(found[:, 1].min() - 20.5 * 4) <= 3


@pytest.mark.parametrize("points", [((-50.0, -50.0), (900.0, 900.0)), ((5.5, 5.5), (5.5, 5.5)), ((0.0, 0.0),), ()])
def test_lines_beyond_the_image_or_without_length_do_no_harm(points: tuple[tuple[float, float], ...]) -> None:
    assert draw(p.frame(), p.marked(marks=(Mark(points=points, label="x" * 200),))).shape == (512, 512, 3)


def test_labels_of_both_lines_are_written() -> None:
    plain = replace(p.marked(), marks=tuple(replace(m, label="") for m in p.marked().marks))
    without, with_labels = draw(p.frame(), plain), draw(p.frame(), p.marked())
    assert 500 < (without != with_labels).any(axis=2).sum() < 40_000


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="64 x 64, not 128 x 128"):
        draw(p.frame(64, 64), p.marked())


def test_the_page_shows_the_part_around_the_lines() -> None:
    source = p.marked(rows=512, columns=512, marks=(Mark(points=((100.5, 100.5), (160.5, 100.5)), label="60 mm"),))
    shown = picture(p.frame(512, 512), source)
    assert shown.caption == "Series 2, image 14 (detail)"
    pixels = np.frombuffer(shown.rgb, np.uint8).reshape(shown.rows, shown.columns, 3)
    line = np.argwhere(yellow(pixels))
    # 45 % of 512, enlarged three times: the line is 60 columns long
    assert (shown.rows, shown.columns) == (693, 693)
    assert abs((line[:, 1].max() - line[:, 1].min()) - 60 * 3) < 150


# --- from report to images --------------------------------------------------------------------------------------------


def saved(folder: Path, **changes: object) -> Path:
    """Write the study's image."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = p.CT_IMAGE, p.IMAGE_UID
    ds.Rows = ds.Columns = 128
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.PixelSpacing, ds.WindowCenter, ds.WindowWidth = [1.5, 0.75], [40, 400], [350, 1500]
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 2, -1024, "HU"
    ds.PixelData = p.frame().tobytes()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    path = folder / "image.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def test_a_report_leads_to_its_slices(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (image,) = key_images(p.report(), p.study(), lambda _: path).images
    assert [m.label for m in image.marked.marks] == ["LMS-T1 100 mm (proposed)", "50 mm (proposed)"]
    assert image.marked.marks[0].points == p.LONG.points
    assert image.marked.spacing == (1.5, 0.75)
    assert image.marked.window == Window(center=40, width=350)
    assert (image.marked.slope, image.marked.intercept, image.marked.rescale_type) == (2, -1024, "HU")
    assert image.marked.caption == "Series 2, image 14: LMS-T1 100 mm (proposed) × 50 mm (proposed)"
    assert image.proposed
    assert np.array_equal(image.frame, p.frame())


def test_a_line_that_stands_alone_says_its_lesion_and_that_it_is_proposed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    report = p.report()
    # a person stated the long axis, and with the number its line went
    left = replace(report, answers=tuple(a for a in report.answers if a.item != "sz.long_axis"))
    (image,) = key_images(left, p.study(), lambda _: path).images
    assert [m.label for m in image.marked.marks] == ["LMS-T1 50 mm (proposed)"]


@pytest.mark.parametrize(
    ("changes", "attribute", "value"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "inverted", True),
        ({"LossyImageCompression": "01"}, "lossy", True),
        ({"WindowWidth": "0"}, "window", None),
        ({"WindowCenter": None}, "window", None),
        ({"VOILUTFunction": "SIGMOID"}, "window", Window(center=40, width=350, function=VoiFunction.SIGMOID)),
        ({"VOILUTFunction": "ODD"}, "window", Window(center=40, width=350)),
        ({"PixelSpacing": None, "PixelAspectRatio": [2, 1]}, "pixel_height", 2.0),
        ({"PixelSpacing": None}, "pixel_height", 1.0),
    ],
)
def test_the_header_says_how_to_show_it(
    tmp_path: Path, changes: dict[str, object], attribute: str, value: object
) -> None:
    path = saved(tmp_path, **changes)
    (image,) = key_images(p.report(), p.study(), lambda _: path).images
    assert getattr(image.marked, attribute) == value


def test_a_frame_is_shown_as_its_functional_groups_say(tmp_path: Path) -> None:
    def group(center: int) -> Dataset:
        voi, item = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 100
        item.FrameVOILUTSequence = [voi]
        return item

    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [3, 1]
    shared.PixelMeasuresSequence = [measures]
    path = saved(
        tmp_path,
        NumberOfFrames=2,
        PixelData=p.frame().tobytes() + (p.frame() + 7).tobytes(),
        PerFrameFunctionalGroupsSequence=[group(1), group(2)],
        SharedFunctionalGroupsSequence=[shared],
    )
    second = replace(p.LONG, frames=(2,))
    report = p.report()
    answers = tuple(
        replace(a, evidence=(second,)) if a.item == "sz.long_axis" else replace(a, evidence=()) for a in report.answers
    )
    (image,) = key_images(replace(report, answers=answers), p.study(), lambda _: path).images
    assert image.marked.window == Window(center=2, width=100)
    assert image.marked.spacing == (3, 1)
    assert image.marked.reference.frames == (2,)
    assert np.array_equal(image.frame, p.frame() + 7)


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    broken = saved(tmp_path, PixelData=b"\0" * 10)
    found = key_images(p.report(), p.study(), lambda _: broken)
    assert found.images == ()
    assert "too little pixel data" in found.problems[0]
    elsewhere = key_images(p.report(), p.study(series=()), lambda _: broken)
    assert elsewhere.problems == ("A measured image is not in the study: it is not shown",)


# --- objects ----------------------------------------------------------------------------------------------------------


def test_a_key_image_says_what_it_is() -> None:
    pixels = draw(p.frame(), p.marked())
    ds = read(key_image(pixels, p.marked(), p.study(), p.envelope(SECONDARY_CAPTURE), number=3, proposed=True))
    assert (ds.SOPClassUID, ds.Modality, ds.InstanceNumber) == (SECONDARY_CAPTURE, "OT", 3)
    assert ds.ImageType == ["DERIVED", "SECONDARY"]
    assert ds.BurnedInAnnotation == "YES"
    assert "proposed, not confirmed" in ds.DerivationDescription
    assert "LMS-T1 100 mm" in ds.DerivationDescription
    (source,) = ds.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == p.IMAGE_UID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert ds.LossyImageCompression == "00"
    assert "PixelSpacing" not in ds
    assert np.array_equal(ds.pixel_array, pixels)


def test_what_was_lossy_stays_so() -> None:
    source = p.marked(lossy=True)
    made = key_image(
        draw(p.frame(), source), source, p.study(), p.envelope(SECONDARY_CAPTURE), number=1, proposed=False
    )
    assert read(made).LossyImageCompression == "01"


def test_a_key_image_in_grey_is_refused() -> None:
    grey = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match="rows x columns x 3"):
        key_image(grey, p.marked(), p.study(), p.envelope(SECONDARY_CAPTURE), number=1, proposed=True)


def test_the_pdf_travels_unchanged() -> None:
    for pdf in (b"%PDF-1.7 even", b"%PDF-1.7 odd!"):
        made = encapsulated_pdf(pdf, p.study(), p.envelope(ENCAPSULATED_PDF), title="Report, draft", sources=(p.SR,))
        ds = read(made)
        assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == pdf
        assert len(ds.EncapsulatedDocument) % 2 == 0
        assert (ds.Modality, ds.BurnedInAnnotation, ds.VerificationFlag) == ("DOC", "YES", "UNVERIFIED")
        assert ds.SourceInstanceSequence[0].ReferencedSOPInstanceUID == "2.25.7"
        assert ds.ConceptNameCodeSequence[0].CodeValue == "18748-4"
        assert "HL7InstanceIdentifier" not in ds


def test_what_is_no_pdf_is_refused() -> None:
    with pytest.raises(ValueError, match="not a PDF"):
        encapsulated_pdf(b"<html>", p.study(), p.envelope(ENCAPSULATED_PDF), title="", sources=())


def test_the_selection_names_originals_each_once() -> None:
    images = (p.marked().reference, p.LONG, p.SHORT)
    made = key_objects(images, p.study(), p.envelope(KEY_OBJECT_SELECTION), description="why", device_uid="2.25.5")
    ds = read(made)
    assert ds.ConceptNameCodeSequence[0].CodeValue == "113000"
    named = [i for i in ds.ContentSequence if i.ValueType == "IMAGE"]
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in named] == [p.IMAGE_UID]
    (evidence,) = ds.CurrentRequestedProcedureEvidenceSequence
    assert evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == p.IMAGE_UID
    assert ds.ReferencedRequestSequence[0].AccessionNumber == "A123"


def test_a_selection_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs something that it points at"):
        key_objects((), p.study(), p.envelope(KEY_OBJECT_SELECTION), description="", device_uid="2.25.5")


def state(*images: object) -> Dataset:
    envelope = p.envelope(GRAYSCALE_SOFTCOPY_PRESENTATION_STATE)
    return read(presentation_state(images, p.study(), envelope, description="proposed, not confirmed"))  # type: ignore[arg-type] - MarkedImage


def test_the_presentation_state_draws_the_same_points() -> None:
    ds = state(p.marked())
    (annotation,) = ds.GraphicAnnotationSequence
    first, second = annotation.GraphicObjectSequence
    assert first.GraphicAnnotationUnits == "PIXEL"
    assert list(first.GraphicData) == [v for point in p.LONG.points for v in point]
    assert list(second.GraphicData) == [v for point in p.SHORT.points for v in point]
    assert [t.UnformattedTextValue for t in annotation.TextObjectSequence] == [
        "LMS-T1 100 mm (proposed)",
        "50 mm",
    ]
    assert annotation.GraphicLayer == ds.GraphicLayerSequence[0].GraphicLayer
    assert ds.GraphicLayerSequence[0].GraphicLayerDescription == "LMS measurements"
    (area,) = ds.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaBottomRightHandCorner) == [128, 128]
    assert (ds.SoftcopyVOILUTSequence[0].WindowCenter, ds.SoftcopyVOILUTSequence[0].WindowWidth) == (50, 400)
    assert (ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType) == (1, 0, "HU")
    assert ds.PresentationLUTShape == "IDENTITY"


def test_labels_stay_within_the_image() -> None:
    corner = Mark(points=((1.0, 1.0), (128.0, 128.0)), label="a label")
    (annotation,) = state(p.marked(marks=(corner,))).GraphicAnnotationSequence
    (text,) = annotation.TextObjectSequence
    assert max(text.BoundingBoxBottomRightHandCorner) <= 128
    assert min(text.BoundingBoxTopLeftHandCorner) >= 0


def test_frames_are_named_exactly() -> None:
    def frame(number: int, center: float) -> object:
        reference = replace(p.marked().reference, frames=(number,))
        return p.marked(reference=reference, window=Window(center=center, width=10))

    ds = state(frame(7, 1), frame(3, 2))
    (image,) = ds.ReferencedSeriesSequence[0].ReferencedImageSequence
    assert list(image.ReferencedFrameNumber) == [3, 7]
    assert [a.ReferencedImageSequence[0].ReferencedFrameNumber for a in ds.GraphicAnnotationSequence] == [7, 3]
    assert [v.ReferencedImageSequence[0].ReferencedFrameNumber for v in ds.SoftcopyVOILUTSequence] == [7, 3]


def test_a_state_for_bright_lows_is_inverse() -> None:
    assert state(p.marked(inverted=True)).PresentationLUTShape == "INVERSE"


def test_images_that_need_states_of_their_own_get_them() -> None:
    other = Reference(sop_class_uid=p.CT_IMAGE, sop_instance_uid="2.25.3", series_instance_uid="2.25.4")
    images = (
        p.marked(),
        p.marked(rows=64),
        p.marked(slope=2.0),
        p.marked(reference=other),
        p.marked(inverted=True),
        p.marked(),
    )
    parted = groups(images)
    assert [len(g) for g in parted] == [2, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="one series, size and rescaling"):
        state(*images)


def test_the_same_input_gives_the_same_bytes() -> None:
    def made() -> tuple[bytes, ...]:
        image, study = p.marked(), p.study()
        pixels = draw(p.frame(), image)
        return (
            key_image(pixels, image, study, p.envelope(SECONDARY_CAPTURE), number=1, proposed=True),
            key_objects(
                (image.reference,), study, p.envelope(KEY_OBJECT_SELECTION), description="d", device_uid="2.25.5"
            ),
            presentation_state((image,), study, p.envelope(GRAYSCALE_SOFTCOPY_PRESENTATION_STATE), description="d"),
            encapsulated_pdf(b"%PDF-", study, p.envelope(ENCAPSULATED_PDF), title="t", sources=(p.SR,)),
        )

    assert made() == made()


def test_every_object_is_in_unicode_and_names_the_study() -> None:
    study = p.study(patient=replace(p.study().patient, name="Yamada^Tarou=山田^太郎"))
    made = key_objects((p.LONG,), study, p.envelope(KEY_OBJECT_SELECTION), description="d", device_uid="2.25.5")
    ds = read(made)
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert str(ds.PatientName) == "Yamada^Tarou=山田^太郎"
    assert (ds.StudyInstanceUID, ds.AccessionNumber) == (p.STUDY_UID, "A123")
    assert (ds.ContentDate, ds.ContentTime, ds.TimezoneOffsetFromUTC) == ("20260301", "112000", "+0100")
