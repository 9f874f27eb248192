"""Every kind of SR that we make, through the validators and readers that others trust."""

from __future__ import annotations

import functools
import io
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from service.demo import anatomy
from service.demo.phantom import Phantom, plain_study, save, write
from service.flow.produce import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    ENHANCED_SR,
    Produced,
    Rendition,
    produce,
)
from service.measure.segments import measure_study
from service.model.prior import PriorReport
from service.model.report import CompletionFlag, Provenance, Quantity, Report, Scope, Status
from service.model.study import Study
from service.read.folder import read_folder
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import IMPRESSION, Presentation, encode
from service.sr.groups import STRUCTURES
from sr_templates import Template, load_template, template_names
from tests import builders as b
from tests.helpers import ROOT
from tests.interop import validators
from tests.phantoms import Contours, Ct, Grid, ball, circle
from tests.proof import test_many_reports as many

PRIOR = PriorReport(
    study_instance_uid="1.2.840.99.1", study_date="20251201", modalities=("CT",), version=2, signed=True
)
SMALL = Phantom(
    seed="interop", slices=38, slice_spacing=5.0, matrix=128, pixel=2.8, phases=("unenhanced", "portal venous")
)
#: Specific Character Set (0008,0005) and a name that needs it
NAMES = {
    "latin 1": ("ISO_IR 100", "Müller-Lüdenscheidt^Zoë"),
    "cyrillic": ("ISO_IR 144", "Люкceмбypг^Анна"),
    "greek": ("ISO_IR 126", "Διονυσιος^Νίκος"),
    "arabic": ("ISO_IR 127", "قباني^لنزار"),
    "japanese": ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
}


# --- what we make -----------------------------------------------------------------------------------------------------


def _built(study: Study, *segments: Any, prior: PriorReport | None = None) -> Produced:
    return produce(
        study, segments, prior, replace(b.OPTIONS, complete_at="https://lms-sr.hospital.example/r/7QF4-K2MD")
    )


def _of_folder(folder: Path) -> Produced:
    found = read_folder(folder)
    (study,) = found.studies
    return _built(study, *measure_study(study, found.open_file))


def _phantom(folder: Path) -> Produced:
    write(SMALL, folder)
    return _of_folder(folder)


def _named(folder: Path, charset: str, name: str) -> Produced:
    save(plain_study(3, seed=charset, charset=charset, patient_name=name), folder)
    return _of_folder(folder)


def _built_with_images(folder: Path) -> Produced:
    """Return a report of two lesions, and write the headers of the images that their lines are drawn on."""
    study = b.study()
    for position, instance in enumerate(study.images[0].instances):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = b.CT_IMAGE, instance.sop_instance_uid
        ds.Rows = ds.Columns = 512
        ds.PixelSpacing, ds.ImageOrientationPatient = list(b.SPACING), [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient, ds.FrameOfReferenceUID = [0, 0, 1.5 * position], "2.25.77"
        ds.save_as(folder / f"{position:03d}.dcm", enforce_file_format=True)
    second = replace(b.tumour(2), label="Satellite", laterality="v.left")
    return _built(study, b.tumour(), second)


def _contoured(folder: Path) -> Produced:
    """Return a report of a tumour and a vein that were contoured."""
    grid = Grid()
    ct = Ct(grid=grid, hounsfield=np.full((20, 128, 128), 50.0))
    beside = (grid.centre[0] + 30, *grid.centre[1:])
    vein = [circle(beside, 10, float(grid.position(at)[2])) for at in range(20)]
    ct.write(folder)
    Contours(contours=ball(grid, 22), ct=ct, name="GTV", further={"Inferior vena cava": vein}).write(folder)
    return _of_folder(folder)


def _incomplete() -> Any:
    return replace(
        b.tumour(),
        measurements=b.tumour().measurements[:2],
        remarks=("Slices are missing inside the segment: the long axis is the longest on those that are there",),
        refusals=("No extents: slices are missing inside the segment", "No volume: slices are missing"),
    )


def _only(modality: str, **elements: str) -> Produced:
    return _built(b.study(b.series(2, modality=modality, **elements), description=f"{modality} abdomen"))


MAKERS: dict[str, Callable[[Path], Produced]] = {
    "a segmented CT": lambda folder: _built(b.study(), b.tumour()),
    "the phantom": _phantom,
    "sts_002": lambda folder: _of_folder(ROOT / "tests" / "data" / "sts_002"),
    "two lesions": _built_with_images,
    "contours": _contoured,
    "an incomplete segmentation": lambda folder: _built(b.study(), _incomplete()),
    "with a prior report": lambda folder: _built(b.study(), b.tumour(), prior=PRIOR),
    "without a segmentation": lambda folder: _built(b.study(b.ct_series())),
    "nothing of it a tumour": lambda folder: _built(b.study(), replace(b.tumour(), role="")),
    "a site's procedure code": lambda folder: _built(b.study(procedure_codes=(b.SITE_CODE,)), b.tumour()),
    "MR only": lambda folder: _only("MR", description="T1 vibe dixon venous", SliceThickness="4"),
    "PT only": lambda folder: _only("PT", description="PET WB"),
    "US only": lambda folder: _only("US"),
    **{
        f"a {language} name": functools.partial(_named, charset=charset, name=name)
        for language, (charset, name) in NAMES.items()
    },
}
#: those whose companion has a line to draw
DRAWN = frozenset(
    {
        "a segmented CT",
        "the phantom",
        "sts_002",
        "two lesions",
        "contours",
        "an incomplete segmentation",
        "with a prior report",
        "a site's procedure code",
    }
)
#: those that are made as every class
EVERY_CLASS = ("a segmented CT", "the phantom", "contours", "without a segmentation")
CLASSES = {"Comprehensive 3D": COMPREHENSIVE_3D_SR, "Comprehensive": COMPREHENSIVE_SR, "Enhanced": ENHANCED_SR}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    case: str
    sop_class: str
    what: str
    profile: str = "standard"

    def __str__(self) -> str:
        profile = f" for {self.profile}" if self.what == "companion" else ""
        return f"{self.case}, {self.sop_class} {self.what}{profile}"


def _kinds() -> Iterator[Kind]:
    for case in MAKERS:
        for sop_class in CLASSES if case in EVERY_CLASS else ("Comprehensive",):
            yield Kind(case, sop_class, "report")
            if case in DRAWN:
                yield Kind(case, sop_class, "companion")
                yield Kind(case, sop_class, "companion", "ohif")


KINDS = tuple(_kinds())
REPORTS = tuple(k for k in KINDS if k.what == "report")
COMPANIONS = tuple(k for k in KINDS if k.what == "companion")
#: PixelMed takes seconds for each object, so it sees every content and every class once
FOR_PIXELMED = tuple(
    k
    for k in KINDS
    if (k.what == "report" and k.sop_class == "Comprehensive" and " name" not in k.case)
    or (k.case == "a segmented CT" and k.profile == "standard")
    or (k.case in {"two lesions", "sts_002"} and k.profile == "ohif")
)
every = functools.partial(pytest.mark.parametrize, "kind", ids=str)


class Made:
    """Makes each case once, and its objects as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._produced: dict[str, Produced] = {}
        self._paths: dict[Kind, Path] = {}

    def images(self, case: str) -> Path:
        """Return where the images of a case lie."""
        return ROOT / "tests" / "data" / "sts_002" / "CT" if case == "sts_002" else self._folder / case

    def produced(self, case: str) -> Produced:
        """Return the produced draft of a case."""
        if case not in self._produced:
            (self._folder / case).mkdir()
            self._produced[case] = MAKERS[case](self._folder / case)
        return self._produced[case]

    def report(self, kind: Kind) -> Report:
        """Return the report behind an object."""
        return self.produced(kind.case).report

    def path(self, kind: Kind) -> Path:
        """Return the file of an object."""
        if kind not in self._paths:
            made: tuple[Rendition, ...] = b.rendered(
                self.produced(kind.case), sop_class_uid=CLASSES[kind.sop_class], profile=kind.profile
            )
            (rendition,) = (r for r in made if r.kind == kind.what)
            self._paths[kind] = self._folder / f"{len(self._paths)}.dcm"
            self._paths[kind].write_bytes(rendition.part10)
        return self._paths[kind]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("interop"))


def test_only_what_has_a_line_has_a_companion(made: Made) -> None:
    assert {case for case in MAKERS if len(b.rendered(made.produced(case))) > 1} == DRAWN


#: what dciodvfy says of the images too, since it is their patient's name: it has one component only
OF_THE_IMAGES = {"sts_002": "Value dubious for this VR [PN] = <STS_002> - Retired Person Name form"}


# --- validators -------------------------------------------------------------------------------------------------------


@every(argvalues=KINDS)
def test_dciodvfy_has_nothing_to_say(made: Made, kind: Kind) -> None:
    said = [line for line in validators.dciodvfy(made.path(kind)) if OF_THE_IMAGES.get(kind.case, "\0") not in line]
    assert said == []


@every(argvalues=KINDS)
def test_dcmtk_reads_it_and_every_container_is_separate(made: Made, kind: Kind) -> None:
    dump = validators.dsrdump(made.path(kind))
    assert "=CONTINUOUS>" not in dump
    assert dump.count("CONTAINER:(") == dump.count("=SEPARATE>") > 2


@pytest.mark.timeout(300)
@every(argvalues=FOR_PIXELMED)
def test_pixelmed_finds_no_error(made: Made, kind: Kind) -> None:
    """The errors that are none are a list in `validators`, each with its reason."""
    assert validators.pixelmed(made.path(kind)) == []


# --- what a reader sees -----------------------------------------------------------------------------------------------

#: a UID stands where the template wants it, and nowhere else
UID_ROWS = (
    "Device Observer UID",
    "Tracking Unique Identifier",
    "Series Instance UID",
    "Source series for segmentation",
    "Comparison study instance UID",
)
_UID = re.compile(r"\b[0-2](\.\d+){3,}\b")
_BESIDE = re.compile(
    r"^(Concept Modifier|Observation Context|Acquisition Context|Inferred from|Selected from) : "
    r"[^=]+(= .+|\[ Annex \d+ \])$"
)
_VALUE = re.compile(r"^[^:=]+: \S.*$")


def _headings(item: Dataset) -> Iterator[str]:
    if item.ValueType == "CONTAINER":
        yield item.ConceptNameCodeSequence[0].CodeMeaning
    for child in item.get("ContentSequence", ()):
        yield from _headings(child)


def _content(path: Path) -> list[str]:
    """Return the lines from the document's title on."""
    lines = validators.read_lines(path)
    title = pydicom.dcmread(path).ConceptNameCodeSequence[0].CodeMeaning
    footer = next(n for n, line in enumerate(lines) if line.startswith("This page was generated"))
    return lines[lines.index(title) : footer]


def _blocks(lines: list[str], headings: set[str]) -> list[tuple[str, list[str]]]:
    """Part a page at its headings."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line in headings or re.fullmatch(r"Annex( \d+)?", line):
            found.append((line, []))
        elif found:
            found[-1][1].append(line)
    return found


@every(argvalues=KINDS)
def test_every_value_has_its_name_and_uids_stand_where_they_must(made: Made, kind: Kind) -> None:
    path = made.path(kind)
    headings = set(_headings(pydicom.dcmread(path)))
    for line in _content(path):
        if _UID.search(line):
            assert any(line.split(" : ")[-1].startswith(row) for row in UID_ROWS), line
        if line not in headings and not re.fullmatch(r"Annex( \d+)?", line):
            assert _BESIDE.match(line) or _VALUE.match(line), line


@every(argvalues=REPORTS)
def test_it_reads_in_the_order_of_the_example(made: Made, kind: Kind) -> None:
    path = made.path(kind)
    headings = set(_headings(pydicom.dcmread(path)))
    order = [h for h, _ in _blocks(_content(path), headings) if not h.startswith("Annex")]
    wanted = [
        "Oncology Measurement Report",
        "Summary (automatic, not verified)",
        "Open items",
        "Clinical Information",
        "Prior Procedure Descriptions",
        "Current Procedure Descriptions",
        "Image Library",
    ]
    present = [h for h in wanted if h in order]
    # an indication is not always given; the rest always is
    assert set(wanted) - set(present) <= {"Clinical Information"}
    assert [h for h in order if h in wanted] == present
    last = "Imaging Measurements" if made.report(kind).subjects_of(Scope.LESION) else "Qualitative Evaluations"
    assert order.index("Image Library") < order.index(last)
    for absent in ("Impressions", "Impression", "Not Evaluated"):
        assert not any(absent == line or line.endswith(f": {absent}") for line in _content(path))
    assert all(lines for heading, lines in _blocks(_content(path), headings) if heading == "Measurement Group")


def _proposed(report: Report, template: Template) -> Iterator[str]:
    """Yield the headings of the sections in which something is only proposed."""
    for section in template.sections:
        # (a proposed impression stands in the summary)
        asked = {i.key for i in section.items if i.scope is Scope.REPORT and i.key != IMPRESSION}
        if any(a.item in asked and a.status is Status.PROPOSED for a in report.answers):
            yield section.heading.meaning


@every(argvalues=REPORTS)
def test_every_machine_value_says_proposed(made: Made, kind: Kind) -> None:
    path, report = made.path(kind), made.report(kind)
    assert {a.provenance for a in report.answers}.isdisjoint({Provenance.RADIOLOGIST})
    blocks = _blocks(_content(path), set(_headings(pydicom.dcmread(path))))
    shown = dict(reversed(blocks))
    for heading in _proposed(report, made.produced(kind.case).template):
        assert any("Basis = Proposed" in line for line in shown[heading]), heading
    summary = next(line for line in shown["Summary (automatic, not verified)"] if line.startswith("Summary: "))
    if report.answers_of(IMPRESSION):
        first = " ".join(shown["Summary (automatic, not verified)"])
        assert "Suggested impression (automatic): " in first
        assert "Basis = Proposed by a rule, not confirmed" in first
    assert summary.startswith("Summary: DRAFT, NOT VERIFIED. ")
    assert summary.count("(proposed from the segmentation)") == len(report.subjects_of(Scope.LESION))
    groups = [lines for heading, lines in blocks if heading == "Measurement Group"]
    assert len(groups) == sum(s.scope is Scope.LESION or s.scope in STRUCTURES for s in report.subjects)
    for lines in groups:
        assert re.match(r"Comment: .*proposed from the segmentation.*, not confirmed: ", lines[0]), lines[0]
        assert "Concept Modifier : Basis = Proposed from the segmentation, not confirmed" in " ".join(lines)
    named = [line for line in shown["Current Procedure Descriptions"] if "enhancement phase" in line]
    assert len(named) == sum(a.item == "tech.phase" for a in report.answers)
    assert all("(proposed from the " in line for line in named)


@every(argvalues=COMPANIONS)
def test_a_companion_says_draft_and_proposed_where_a_viewer_cuts_it(made: Made, kind: Kind) -> None:
    lines = _content(made.path(kind))
    comments = [line.removeprefix("Comment: ") for line in lines if line.startswith("Comment: ")]
    assert len(comments) == len(made.report(kind).subjects_of(Scope.LESION))
    assert all(c.startswith("DRAFT, proposed: LMS-T") and len(c) <= 45 for c in comments)


@every(argvalues=[k for k in REPORTS if "name" in k.case])
def test_names_arrive_in_any_script(made: Made, kind: Kind) -> None:
    wanted = next(name for language, (_, name) in NAMES.items() if language in kind.case)
    assert str(pydicom.dcmread(io.BytesIO(made.path(kind).read_bytes())).PatientName) == wanted
    family, given = wanted.split("=")[0].split("^")
    assert f"{given} {family}" in validators.dsr2html(made.path(kind))


# --- readers of measurements ------------------------------------------------------------------------------------------


def _numbers(report: Report, items: set[str] | None = None) -> list[tuple[str, str]]:
    """Return concept and number of a report's measurements, of ``items`` only where they are named."""
    template = load_template(report.template)
    grouped = {s.key for s in report.subjects if s.scope is Scope.LESION or s.scope in STRUCTURES}
    return sorted(
        (template.item(a.item).concept.value, f"{value.number:f}")
        for a in report.answers
        for value in a.values
        if isinstance(value, Quantity) and a.subject in grouped and (items is None or a.item in items)
    )


@every(argvalues=KINDS)
def test_dcmqi_reads_the_measurements(made: Made, kind: Kind, tmp_path: Path) -> None:
    read = validators.tid1500reader(made.path(kind), tmp_path)
    found = sorted(
        (item["quantity"]["CodeValue"], item["value"])
        for group in read.get("Measurements", [])  # type: ignore[attr-defined]
        for item in group["measurementItems"]
    )
    drawn = {"sz.long_axis", "sz.short_axis"} if kind.what == "companion" else None
    assert found == _numbers(made.report(kind), drawn)


#: those whose images there are files of
WITH_IMAGES = ("the phantom", "sts_002", "two lesions")


@every(argvalues=[k for k in COMPANIONS if k.profile == "ohif" and k.case in WITH_IMAGES])
def test_cornerstone_makes_editable_diameters_of_a_companion(made: Made, kind: Kind) -> None:
    read: dict[str, Any] = validators.hydrate(made.path(kind), made.images(kind.case))
    assert (read["root"], read["blank"], list(read["tools"])) == ("126000", [], ["Bidirectional"])
    report = made.report(kind)
    drawn = read["tools"]["Bidirectional"]
    assert len(drawn) == len(report.subjects_of(Scope.LESION))
    for subject, tool in zip(report.subjects_of(Scope.LESION), drawn, strict=True):
        long_axis, short_axis = (
            float(answer.values[0].number)
            for item in ("sz.long_axis", "sz.short_axis")
            for answer in report.answers_of(item, subject.key)
        )
        assert (tool["stats"]["length"], tool["stats"]["width"]) == (long_axis, short_axis)
        first, second, third, fourth = tool["points"]
        # what the viewer will compute from the ends
        assert _distance(first, second) == pytest.approx(long_axis, abs=0.06)
        assert _distance(third, fourth) == pytest.approx(short_axis, abs=0.06)
        assert tool["label"].startswith(f"DRAFT, proposed: {subject.key}")
        if kind.case == "the phantom":
            middles = ([(p + q) / 2 for p, q in zip(*ends, strict=True)] for ends in ((first, second), (third, fourth)))
            for x, y, z in (first, second, third, fourth, *middles):
                tissue = anatomy.tissues(np.array([x]), np.array([y]), np.array([z]))[0]
                assert tissue in {anatomy.Tissue.TUMOUR, anatomy.Tissue.NECROSIS}


def _distance(one: list[float], other: list[float]) -> float:
    return sum((a - c) ** 2 for a, c in zip(one, other, strict=True)) ** 0.5


@every(argvalues=[k for k in COMPANIONS if k.profile == "standard" and k.case in WITH_IMAGES])
def test_a_companion_of_the_standard_profile_is_a_plain_overlay(made: Made, kind: Kind) -> None:
    read = validators.hydrate(made.path(kind), made.images(kind.case))
    assert (read["root"], read["blank"], read["tools"]) == ("126000", [], {})


# --- of every template, as far as a person has come ---------------------------------------------------------------------

#: every stage and template stands among so many
SAMPLE = 8


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[many.Made], Path]:
    folder = tmp_path_factory.mktemp("sample")
    return list(many.make(SAMPLE, random.Random(20260301), folder, Counter(), of_files_too=False)), folder


@pytest.mark.timeout(240)
def test_reports_of_every_template_are_taken_by_every_reader(sample: tuple[list[many.Made], Path]) -> None:
    """A sample of the proof: dciodvfy, dcmtk, dcmqi, highdicom, and back."""
    made, folder = sample
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        assert [x for said in pool.map(lambda one: many.examine(one, folder), made) for x in said] == []


@pytest.mark.timeout(240)
def test_pixelmed_finds_no_error_in_a_signed_report_with_an_answer_to_everything(tmp_path: Path) -> None:
    rng = random.Random(1)
    produced = many.stage(b.produced(None, b.tumour(1), b.tumour(2)), rng, "signed")
    objects = b.rendered(produced)
    one = many.Made(name="signed", report=produced.report, template=produced.template, objects=objects)
    assert many.examine(one, tmp_path) == []
    assert many.through_pixelmed([one], tmp_path) == []


# --- how large --------------------------------------------------------------------------------------------------------

#: bytes of a report, and for each instance that is its evidence
_BYTES, _BYTES_EACH = 120 * 1024, 150
#: the length of UIDs that scanners make, within the 64 that there may be
_UID_LENGTH = 56
_DRAWN_ON = 14


def _of_a_scanner(study: Study) -> Study:
    """Return a study whose instances have UIDs as long as those of a scanner."""
    series = tuple(
        replace(
            s,
            instances=tuple(
                # the lines of the builder's tumours are drawn on one of them, which keeps its own
                i
                if n == _DRAWN_ON
                else replace(i, sop_instance_uid=f"{i.sop_instance_uid.ljust(_UID_LENGTH - 6, '7')}.{n + 10000}")
                for n, i in enumerate(s.instances, start=1)
            ),
        )
        if s.modality == "CT"
        else s
        for s in study.series
    )
    return replace(study, series=series)


@pytest.mark.parametrize("template", template_names())
@pytest.mark.parametrize("stage", ["confirmed", "signed"])
def test_a_full_report_of_three_lesions_stays_small(template: str, stage: str) -> None:
    """An answer to every question, every row of every matrix, a CT of 620 images (with 22 images such a report has up to 152 KB)."""
    study = _of_a_scanner(b.study(b.ct_series(620), b.segmentation_series()))
    options = replace(b.OPTIONS, template=template)
    draft = produce(study, tuple(b.tumour(n) for n in (1, 2, 3)), None, options)
    for seed in range(3):
        produced = many.stage(draft, random.Random(seed), stage)
        completion = CompletionFlag.COMPLETE if produced.signature else CompletionFlag.PARTIAL
        root = encode(produced.report, produced.template, Presentation(completion=completion))
        envelope = Envelope(
            sop_class_uid=COMPREHENSIVE_SR,
            sop_instance_uid="2.25.1",
            series_instance_uid="2.25.2",
            series_number=1,
            series_description="LMS report",
            version=1,
            created_at=b.CREATED_AT,
            signature=produced.signature,
        )
        size = len(to_bytes(document(root, study, envelope), study, envelope))
        assert size <= _BYTES + _BYTES_EACH * len(study.instances)
