"""The page and the objects made from it, through the validators and readers that others trust."""

from __future__ import annotations

import functools
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from service.flow.objects import content
from service.model.measurement import Reference
from service.page.content import Fact, Paragraph
from service.page.course_picture import course_picture
from service.page.drawing import draw
from service.page.hypertext import web_page
from service.page.pdf import page
from service.page.pictures import KeyImages
from service.page.plot import plots
from service.sr.encapsulated_pdf import ENCAPSULATED_PDF, encapsulated_pdf
from service.sr.key_image import SECONDARY_CAPTURE, MarkedImage, Window, course_image, key_image
from service.sr.key_objects import KEY_OBJECT_SELECTION, key_objects
from service.sr.presentation_state import GRAYSCALE_SOFTCOPY_PRESENTATION_STATE, presentation_state
from tests import builders as b
from tests import pages as p
from tests.filled import filled
from tests.helpers import real_dcmtk, require, require_python_tool
from tests.interop import validators

#: names as the character sets of ISO 2022 and ISO 8859 write them
NAMES = (
    "Müller^Jörg",
    "Люкceмбypг^Анна",
    "Διονυσιος^Νίκος",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "Wang^XiaoDong=王^小东",
)
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
#: dciodvfy's only accepted warning: whether what was examined is one of a pair is not known here
_UNKNOWN_SIDE = "Laterality(0020,0060)> - is only permitted to be empty when actually unknown"


def _multiframe() -> tuple[MarkedImage, ...]:
    def frame(number: int) -> MarkedImage:
        reference = replace(p.marked().reference, sop_class_uid=ENHANCED_CT, frames=(number,))
        return p.marked(reference=reference, spacing=None, aspect_ratio=(2, 1), window=Window(center=number, width=9.5))

    return frame(1), frame(3)


@functools.cache
def _pdf() -> bytes:
    return page(p.content())


def _key_image(image: MarkedImage) -> bytes:
    pixels = draw(p.frame(), image)
    return key_image(pixels, image, p.study(), p.envelope(SECONDARY_CAPTURE), number=1, proposed=True)


def _course() -> bytes:
    pixels = course_picture(plots(p.HISTORY, "Sum of target lesions"), ("Not for measurement",))
    return course_image(pixels, p.study(), p.envelope(SECONDARY_CAPTURE), number=2, title="Course", proposed=True)


def _state(*images: MarkedImage) -> bytes:
    envelope = p.envelope(GRAYSCALE_SOFTCOPY_PRESENTATION_STATE)
    return presentation_state(images, p.study(), envelope, description="Measurements, proposed, not confirmed")


def _selection(*images: Reference) -> bytes:
    envelope = p.envelope(KEY_OBJECT_SELECTION)
    return key_objects(images, p.study(), envelope, description="Images that were measured", device_uid="2.25.5")


def _document() -> bytes:
    return encapsulated_pdf(_pdf(), p.study(), p.envelope(ENCAPSULATED_PDF), title="Report, draft", sources=(p.SR,))


MAKERS = {
    "encapsulated PDF": (_document, "EncapsulatedPDF"),
    "key image": (lambda: _key_image(p.marked()), "SCImage"),
    "key image of tall pixels": (lambda: _key_image(p.marked(spacing=(3.0, 1.0), lossy=True)), "SCImage"),
    "plot of the course": (_course, "SCImage"),
    "key objects": (lambda: _selection(p.LONG), "KeyObjectSelectionDocument"),
    "key objects, frames": (lambda: _selection(*(i.reference for i in _multiframe())), "KeyObjectSelectionDocument"),
    "presentation state": (lambda: _state(p.marked()), "GrayscaleSoftcopyPresentationState"),
    "presentation state, frames": (lambda: _state(*_multiframe()), "GrayscaleSoftcopyPresentationState"),
    "presentation state without a window": (
        lambda: _state(p.marked(window=None, inverted=True, slope=2.5, intercept=-1024.0)),
        "GrayscaleSoftcopyPresentationState",
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_dciodvfy_finds_nothing(name: str, tmp_path: Path) -> None:
    make, kind = MAKERS[name]
    path = tmp_path / "object.dcm"
    path.write_bytes(make())
    done = validators.run(require_python_tool("dciodvfy"), "-new", path)
    said = (done.stdout + done.stderr).splitlines()
    assert kind in {line.strip() for line in said}, said[:3]
    problems = [line for line in said if line.startswith(("Error", "Warning"))]
    assert [line for line in problems if _UNKNOWN_SIDE not in line] == []


def test_dcmtk_takes_the_pdf_out_unchanged(tmp_path: Path) -> None:
    (tmp_path / "page.dcm").write_bytes(_document())
    done = validators.run(real_dcmtk("dcm2pdf"), tmp_path / "page.dcm", tmp_path / "page.pdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.pdf").read_bytes().rstrip(b"\0") == _pdf()


def test_dcmtk_reads_the_selection(tmp_path: Path) -> None:
    (tmp_path / "selection.dcm").write_bytes(_selection(p.LONG))
    said = validators.dsrdump(tmp_path / "selection.dcm")
    assert "Of Interest" in said
    assert "Images that were measured" in said
    assert "CT image" in said


def _image(path: Path) -> Path:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = p.CT_IMAGE, p.IMAGE_UID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = p.STUDY_UID, p.SERIES_UID, "CT"
    ds.PatientName = ds.PatientID = ds.StudyID = ds.SeriesNumber = ds.InstanceNumber = ""
    ds.Rows = ds.Columns = 128
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelData = np.full((128, 128), -150, np.int16).tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path


def test_dcmtk_shows_the_image_with_the_window_of_the_state(tmp_path: Path) -> None:
    image = _image(tmp_path / "image.dcm")
    (tmp_path / "state.dcm").write_bytes(_state(p.marked(window=Window(center=-150, width=100))))
    out = tmp_path / "out.pgm"
    done = validators.run(real_dcmtk("dcmp2pgm"), "-p", tmp_path / "state.dcm", image, out)
    assert done.returncode == 0, done.stderr
    assert "E: " not in done.stderr
    header, _, pixels = out.read_bytes().partition(b"255\n")
    assert header.startswith(b"P5")
    # half of full brightness, not the black of the image's own range
    assert 120 <= np.median(np.frombuffer(pixels, np.uint8)) <= 135


def test_pydicom_reads_the_key_image(tmp_path: Path) -> None:
    (tmp_path / "image.dcm").write_bytes(_key_image(p.marked()))
    assert np.array_equal(pydicom.dcmread(tmp_path / "image.dcm").pixel_array, draw(p.frame(), p.marked()))


# --- the page itself --------------------------------------------------------------------------------------------------

POPPLER = "apt install poppler-utils"


def _text(pdf: bytes, folder: Path) -> str:
    (folder / "page.pdf").write_bytes(pdf)
    done = validators.run(require("pdftotext", POPPLER), "-layout", folder / "page.pdf", "-")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_names_can_be_taken_out_of_the_page(name: str, tmp_path: Path) -> None:
    study = p.study(patient=replace(p.study().patient, name=name))
    said = _text(page(replace(p.content(), patient=name.replace("^", " "))), tmp_path)
    for part in re.split(r"[\^=]", study.patient.name):
        assert part in said


def test_hostile_text_stands_on_the_page_as_it_is(tmp_path: Path) -> None:
    impression = (Paragraph(label="Impression", text=p.HOSTILE),)
    said = " ".join(_text(page(replace(p.content(), impression=impression)), tmp_path).split())
    # (where a long word may end a line stands a mark without width)
    assert p.HOSTILE in said.replace("\u200b", "")


def test_a_long_identifier_does_not_run_over_its_neighbour(tmp_path: Path) -> None:
    long = "3f9c1d2ab84e4c7fa0b1c2d3e4f50617" * 2
    shown = replace(p.content(), facts=(Fact(label="Patient ID", value=long), Fact(label="Born", value="1960-01-01")))
    (tmp_path / "page.pdf").write_bytes(page(shown))
    done = validators.run(require("pdftotext", POPPLER), "-bbox", tmp_path / "page.pdf", "-")
    words = re.findall(r'xMin="([\d.]+)" yMin="[\d.]+" xMax="([\d.]+)" yMax="[\d.]+">([^<]+)<', done.stdout)
    plain = [(word.replace("\u200b", ""), float(end)) for _, end, word in words]
    ends = [end for word, end in plain if len(word) > 3 and word in long]
    born = next(float(start) for start, _, word in words if word == "1960-01-01")
    assert ends
    assert max(ends) < born


def test_what_no_font_has_can_still_be_taken_out(tmp_path: Path) -> None:
    assert "‹U+1208›" in _text(page(replace(p.content(), patient="\u1208")), tmp_path)


def test_an_answer_to_everything_about_three_lesions_is_all_on_the_page(tmp_path: Path) -> None:
    draft = b.produced(None, *(b.tumour(n) for n in (1, 2, 3)))
    report = filled(draft.report, draft.template, random.Random(1), person="Reader^One")
    shown = content(
        replace(draft, report=report), KeyImages(), version=1, sop_instance_uid="2.25.1", created_at=b.CREATED_AT
    )
    said = " ".join(_text(page(shown), tmp_path).split())
    assert re.findall(r"\d+ (?:more (?:rows|lines|tables)|characters more)", said) == []
    rows = [r for t in (*shown.lesions, *shown.sections) for r in t.rows]
    assert len(rows) > 150
    numbers = [r.value for r in rows if r.numeric]
    assert [n for n in numbers if n not in said] == []


def test_the_page_says_what_a_tumour_board_needs(tmp_path: Path) -> None:
    said = _text(_pdf(), tmp_path)
    order = [
        "DRAFT, NOT VERIFIED",
        "Summary (automatic",
        "Long axis, mm",
        "100.0",
        "inferior vena cava",
        "Liposarcoma",
        "Open items",
        "page 1 of 1",
    ]
    places = [said.index(text) for text in order]
    assert places == sorted(places)


def test_every_font_is_embedded_and_unicode(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(page(replace(p.content(), patient="山田 홍 קנ ไท قبا")))
    done = validators.run(require("pdffonts", POPPLER), tmp_path / "page.pdf")
    lines = done.stdout.splitlines()[2:]
    assert len(lines) >= 6
    for line in lines:
        assert re.search(r"yes yes yes +\d+ +0$", line), line


def test_qpdf_finds_no_damage(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(_pdf())
    done = validators.run(require("qpdf", "apt install qpdf"), "--check", tmp_path / "page.pdf")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_browser_shows_the_page_and_reports_no_violation(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(web_page(p.content()), encoding="utf-8")
    browser = require("/usr/bin/chromium", "apt install chromium")
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
    )
    target = tmp_path / "printed.pdf"
    done = validators.run(
        browser, *flags, "--no-pdf-header-footer", f"--print-to-pdf={target}", f"file://{tmp_path / 'page.html'}"
    )
    assert target.exists(), done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    said = validators.run(require("pdftotext", POPPLER), target, "-").stdout
    assert "DRAFT, NOT VERIFIED" in said
    assert "inferior vena cava" in said
