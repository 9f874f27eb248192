"""The phantom as DICOM: valid, readable by others, the same each time, and a study on which triage reports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from service.demo import anatomy
from service.demo.phantom import TRACKING_ID, Phantom, images, plain_study, save, segmentation, study, write
from service.flow import triage
from service.flow.folding import fold
from service.model.study import Study
from service.read.headers import read_instance
from service.read.normalise import normalise
from sr_templates import load_codes
from tests.helpers import require_python_tool
from tests.interop.validators import run

SMALL = Phantom(matrix=64, pixel=5.6, slices=36, slice_spacing=5.0)


@pytest.fixture(scope="module")
def made() -> list[Dataset]:
    return study(SMALL)


def bytes_of(objects: list[Dataset]) -> list[bytes]:
    written = []
    for ds in objects:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        written.append(buffer.getvalue())
    return written


def normalised(objects: list[Dataset]) -> Study:
    return normalise(read_instance(io.BytesIO(content)) for content in bytes_of(objects))


def test_the_same_phantom_has_the_same_bytes_and_another_seed_other_uids_and_noise(made: list[Dataset]) -> None:
    assert bytes_of(study(SMALL)) == bytes_of(made)

    other = study(Phantom(seed="other", matrix=64, pixel=5.6, slices=36, slice_spacing=5.0))
    assert not {ds.SOPInstanceUID for ds in other} & {ds.SOPInstanceUID for ds in made}
    assert not {ds.SeriesInstanceUID for ds in other} & {ds.SeriesInstanceUID for ds in made}
    assert other[0].StudyInstanceUID != made[0].StudyInstanceUID
    assert other[0].PixelData != made[0].PixelData


def test_the_first_slices_of_a_longer_series_are_no_copies_of_each_other(made: list[Dataset]) -> None:
    assert len({ds.PixelData for ds in made[:-1]}) == len(made) - 1


def test_each_phase_is_a_series_with_its_own_enhancement(made: list[Dataset]) -> None:
    arterial, portal = (
        [ds for ds in made if ds.SeriesDescription == f"Abdomen {phase} 5.0 B31f"]
        for phase in ("arterial", "portal venous")
    )
    assert len(arterial) == len(portal) == SMALL.slices
    column, row = (round((c + 178.5) / 5.6) for c in (14, 27))
    aorta = [float(np.mean([ds.pixel_array[row, column] - 1024.0 for ds in s])) for s in (arterial, portal)]

    assert aorta == pytest.approx([320, 160], abs=6)


@pytest.mark.parametrize("tilt", [0.0, 20.0, -15.0])
def test_slices_stand_perpendicular_on_the_stack_at_the_stated_distance(tilt: float) -> None:
    phantom = Phantom(matrix=16, pixel=20, slices=5, slice_spacing=4.0, tilt=tilt, phases=("unenhanced",))
    found = list(images(phantom))
    row, column = (np.array(found[0].ImageOrientationPatient[i : i + 3], float) for i in (0, 3))
    normal = np.cross(row, column)
    places = np.array([ds.ImagePositionPatient for ds in found], float)

    assert np.diff(places, axis=0) == pytest.approx(np.tile(normal * 4.0, (4, 1)), abs=1e-4)
    assert normal == pytest.approx(phantom.normal, abs=1e-5)
    # the middle of the middle slice is the origin
    assert places[2] + row * 150 + column * 150 == pytest.approx([0, 0, 0], abs=1e-4)
    assert "ContrastBolusAgent" not in found[0]


def test_dciodvfy_finds_nothing_in_the_images_and_the_segmentation(made: list[Dataset], tmp_path: Path) -> None:
    checker = require_python_tool("dciodvfy")
    for path in save([made[0], made[-2], made[-1]], tmp_path):
        done = run(checker, "-new", path)
        said = [line for line in (done.stdout + done.stderr).splitlines() if line]
        assert said in (["CTImage"], ["Segmentation"]), said


def test_highdicom_reads_the_segmentation_with_verified_codes_and_the_tumours_tracking(made: list[Dataset]) -> None:
    seg = hd.seg.Segmentation.from_dataset(made[-1])
    codes = {(r.code.value, r.code.scheme) for r in load_codes() if r.status == "verified"}
    described = [seg.get_segment_description(n) for n in seg.segment_numbers]

    assert [d.segment_label for d in described] == [
        "Tumour", "Inferior vena cava", "Aorta", "Kidney right", "Kidney left", "Liver",
    ]  # fmt: skip
    for d in described:
        for code in (d.segmented_property_category, d.segmented_property_type):
            assert (code.value, code.scheme_designator) in codes
    assert (described[0].tracking_id, described[0].tracking_uid) == (TRACKING_ID, SMALL.tracking_uid)
    assert [d.tracking_id for d in described[1:]] == [None] * 5
    sides = [
        [m.CodeMeaning for m in d.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence", [])]
        for d in described
    ]  # fmt: skip
    assert sides == [[], [], [], ["Right"], ["Left"], []]


def test_the_segmentation_is_of_the_last_phase_and_holds_what_the_shapes_hold(made: list[Dataset]) -> None:
    seg = hd.seg.Segmentation.from_dataset(made[-1])
    portal = [ds for ds in made[:-1] if ds.SeriesNumber == 3]
    uids = [ds.SOPInstanceUID for ds in portal]
    masks = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)

    assert {s.SeriesInstanceUID for s in made[-1].ReferencedSeriesSequence} == {portal[0].SeriesInstanceUID}
    line = (np.arange(64) - 31.5) * 5.6
    x, y = np.meshgrid(line, line)
    for index, ds in enumerate(portal):
        z = np.full_like(x, float(ds.ImagePositionPatient[2]))
        tumour = anatomy.MASS.holds(x, y, z) | anatomy.THROMBUS.holds(x, y, z)
        assert np.array_equal(masks[index, ..., 0].astype(bool), tumour)
    assert masks[..., 0].sum() > 1000
    # no voxel belongs to two structures
    assert masks.sum(axis=-1).max() == 1


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Sommerfeld^Jörg"),
        ("ISO_IR 100", "Sommerfeld^Jörg"),
        ("ISO_IR 144", "Люкceмбypг^Иван"),
        ("GB18030", "王^小东"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
    ],
)
def test_the_patients_name_survives_in_every_character_set(charset: str, name: str) -> None:
    phantom = Phantom(
        matrix=16, pixel=22, slices=30, slice_spacing=6.0, phases=("arterial",), charset=charset, patient_name=name
    )
    written = bytes_of(study(phantom))

    for content in (written[0], written[-1]):
        ds = pydicom.dcmread(io.BytesIO(content))
        assert str(ds.PatientName) == name
        assert ds.SpecificCharacterSet == (charset.split("\\") if "\\" in charset else charset)
    assert normalise(read_instance(io.BytesIO(c)) for c in written).patient.name == name


def test_triage_reports_because_of_the_indication_and_takes_the_patient_for_a_person(made: list[Dataset]) -> None:
    normal = normalised(made)
    decision = triage.decide(triage.load(), triage.Question(study=normal))

    assert decision.report
    assert decision.values == (("ReasonForTheRequestedProcedure", "leiomyosarc*"),)
    assert normal.problems == ()
    assert (normal.accession_number, normal.accession_issuer) == ("A2026001", "RIS-SEEBLICK")
    assert normal.patient.issuer == "KLINIKUM-SEEBLICK"


def test_files_hold_the_study_and_a_study_without_segmentation_is_images_only(tmp_path: Path) -> None:
    with_seg = write(SMALL, tmp_path / "both")
    without = write(SMALL, tmp_path / "images", with_segmentation=False)

    assert [p.name for p in with_seg] == [f"{n:05d}.dcm" for n in range(1, 2 * SMALL.slices + 2)]
    assert len(without) == 2 * SMALL.slices
    # the SEG does not need the pixels of its images
    assert pydicom.dcmread(with_seg[-1]).PixelData == study(SMALL)[-1].PixelData


def test_the_segmentation_of_a_512_matrix_refers_to_its_images() -> None:
    phantom = Phantom(matrix=512, pixel=0.7, slices=3, slice_spacing=20.0, phases=("portal venous",), noise=0.0)
    sources = list(images(phantom))
    seg = segmentation(phantom, sources)

    assert (seg.Rows, seg.Columns) == (512, 512)
    referenced: set[Any] = {
        i.ReferencedSOPInstanceUID for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence
    }
    assert referenced == {ds.SOPInstanceUID for ds in sources}


def test_plain_studies_are_small_and_of_different_patients_on_whom_triage_reports() -> None:
    seeds = ["plain", *(f"test-{n}" for n in range(60)), "phantom qa"]
    studies = [plain_study(3, seed=seed) for seed in seeds]

    assert len({s[0].PatientID for s in studies}) == len({s[0].StudyInstanceUID for s in studies}) == len(seeds)
    assert len({ds.SOPInstanceUID for s in studies for ds in s}) == 3 * len(seeds)
    assert max(len(c) for c in bytes_of(studies[0])) < 3000
    rules = triage.load()
    words = {fold(w).strip() for r in rules for w in r.patient_words}
    for s in studies:
        assert not words & set(fold(f"{s[0].PatientName} {s[0].PatientID}").split())
    assert triage.decide(rules, triage.Question(study=normalised(studies[5]))).report
    quiet = plain_study(1, seed="a", indication="cough", study_date="20250101")
    assert not triage.decide(rules, triage.Question(study=normalised(quiet))).report
    assert (quiet[0].StudyDate, quiet[0].PatientAge) == ("20250101", "063Y")
