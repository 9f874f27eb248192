"""Hundreds of reports, each of another random study: every reader and validator takes them, and each reads back as itself.

All templates and modalities, drafts and reports with an answer to everything, signed ones too; dciodvfy, PixelMed and dcmtk find no
error, dcmqi and highdicom find every group and number, and highdicom's classes would have built the same content items.
"""

from __future__ import annotations

import io
import os
import random
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from service.demo.phantom import Phantom, study
from service.flow.lifecycle import State
from service.flow.produce import (
    CLASS_NAMES,
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    ENHANCED_SR,
    Options,
    Produced,
    Rendition,
    produce,
    renditions,
)
from service.flow.signing import observed
from service.measure.segments import measure_study
from service.model.code import Code
from service.model.measurement import SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Report
from service.model.report_json import content_hash
from service.model.signing import Person, Signature
from service.read.folder import read_folder
from service.sr.companion import Profile
from service.sr.groups import SCOPES
from service.sr.parse import parse
from sr_templates import Template, template_names
from tests import builders as b
from tests.conftest import ProofRecord
from tests.filled import asked, confirmed, filled
from tests.interop import validators
from tests.plain_items import plainly, written

COUNT = int(os.environ.get("LMS_SR_PROOF_REPORTS", "200"))
#: one in so many is made of files, with pixels measured; the others of values
OF_FILES = 8
#: the classes that hold more than text
CODED = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
IMAGING_MEASUREMENTS, MEASUREMENT_GROUP = "126010", "125007"
PROFILES: tuple[Profile, ...] = ("standard", "ohif")
#: each character set with names that it can hold
NAMES = {
    "": ("Sommer^Anna", "O'Neill^Mary^^Dr."),
    "ISO_IR 100": ("Müller^Jörg", "Buc^Jérôme"),
    "ISO_IR 101": ("Wałęsa^Łucja", "Dvořák^Antonín"),
    "ISO_IR 144": ("Люксембург^Анна", "Иванов^Пётр"),
    "ISO_IR 192": ("王^小東", "Παπαδόπουλος^Γιώργος", "Yamada^Tarou=山田^太郎=やまだ^たろう", "אבג^דה"),
    "GB18030": ("Wang^XiaoDong=王^小东",),
    "\\ISO 2022 IR 87": ("Yamada^Tarou=山田^太郎=やまだ^たろう",),
}
#: what a header may lack without its study losing its report
LOSABLE = (
    "PatientName", "PatientBirthDate", "PatientSex", "PatientAge", "IssuerOfPatientID", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "StudyDescription", "RequestAttributesSequence",
    "SeriesDescription", "SeriesNumber", "SeriesDate", "SeriesTime", "BodyPartExamined", "ContrastBolusAgent", "KVP",
    "SliceThickness", "SpacingBetweenSlices", "Manufacturer", "InstitutionName", "InstanceNumber", "AcquisitionDate",
)  # fmt: skip

_TOO_LONG = re.compile(r"= <(?P<value>.*)> - Length invalid for this VR = <\d+> - expected <= (?P<limit>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A report's objects, the report that they were made of, and what it is called where something is wrong with it."""

    name: str
    report: Report
    template: Template
    objects: tuple[Rendition, ...]


def text(rng: random.Random, length: int) -> str:
    """Return words as people write them into headers, some of them odd."""
    words = (
        "mass",
        "retroperitoneal",
        "?LMS",
        "Tumor",
        "größe",
        "山田",
        "<b>",
        "a & b",
        '"quoted"',
        "1/2",
        "—",
        "^",
        "=",
        "ı",
        "𠮷",
    )
    return " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))[:length].strip()


#: how far a report has come
STAGES = ("draft", "begun", "answered", "overdone", "confirmed", "signed")
READER = Person(name="Reader^One^^Dr.", organisation="Radiologie München", code=Code("R-1", "99SITE", "Reader one"))
#: series of one modality with the headers that its templates read
MODALITIES = {
    "CT": ("CT",),
    "MR": ("MR",),
    "PT/CT": ("CT", "PT"),
    "US": ("US",),
}


def stage(produced: Produced, rng: random.Random, name: str) -> Produced:
    """Return a report that has come as far as ``name`` says."""
    template, report = produced.template, produced.report
    person = rng.choice(["", READER.name, "山田^太郎"])
    match name:
        case "draft":
            return produced
        case "begun":
            report = filled(report, template, rng, share=rng.random(), person=person)
        case "answered":
            report = asked(report, template, rng, person=person)
        case "overdone":
            report = filled(report, template, rng, person=person)
        case _:
            report = confirmed(asked(report, template, rng, person=READER.name), READER.name)
    if name == "signed":
        report = observed(report, template, READER)
        signature = Signature(person=READER, at=b.CREATED_AT)
        produced = replace(produced, signature=signature, state=State.SIGNED)
    return replace(produced, report=report, content_hash=content_hash(report))


def of_values(rng: random.Random, modality: str, template: str) -> Produced:
    """Return a report of a study that never was a file."""
    patient = replace(
        b.PATIENT,
        name=rng.choice(rng.choice(list(NAMES.values()))) if rng.random() < 0.9 else "",
        patient_id=text(rng, 64) or "P-1",
        issuer=rng.choice(["", "HOSPITAL"]),
        birth_date=rng.choice(["", "19600101"]),
        sex=rng.choice(["", "M", "F", "O"]),
    )
    members = [b.ct_series(rng.randint(20, 400))] if "CT" in modality else []
    kinds = MODALITIES[modality]
    for number in range(rng.randint(0, 3) + ("CT" not in kinds) + len(kinds) - 1):
        modality = kinds[-1] if number == 0 else rng.choice(kinds)
        headers = {"SliceThickness": "3", "Manufacturer": text(rng, 60), "MagneticFieldStrength": "1.5", "KVP": "120"}
        kept = {k: v for k, v in headers.items() if rng.random() < 0.6}
        members.append(
            b.series(10 + number, images=rng.randint(1, 60), modality=modality, description=text(rng, 64), **kept)
        )
    tumours = rng.choice([0, 0, 1, 1, 2, 5]) if members and members[0].number == 2 else 0
    segments: list[SegmentMeasurements] = []
    for segment in range(1, tumours + 1):
        height, width, depth = (rng.uniform(3, 300) for _ in range(3))
        one = b.tumour(segment, extents=(height, width, depth))
        if rng.random() < 0.3:
            one = replace(one, measurements=one.measurements[: rng.randint(0, len(one.measurements))])
        segments.append(replace(one, label=text(rng, 64) or "Tumour", laterality=rng.choice(["", "v.left", "v.right"])))
    if tumours:
        members.append(b.segmentation_series())
    made = b.study(*(members or [b.series()]), patient=patient)
    made = replace(
        made,
        date=rng.choice(["", "20260301", "19991231"]),
        time=rng.choice(["", "101500", "101500.123"]),
        accession_number=rng.choice(["", "A123", "Ä-17"]),
        study_id=rng.choice(["", "S1"]),
        description=text(rng, 64),
    )
    if not made.accession_number:
        made = replace(made, requests=())
    options = Options(
        template=template,
        language=rng.choice(["en", "en", "de"]),
        installation=f"proof-{rng.randrange(10**9)}",
        timezone=rng.choice(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
        series_number=rng.choice([1, 9901, 2**31 - 2]),
        complete_at=rng.choice(["", "https://lms.example/r/ABCD-EFGH"]),
        remarks=tuple(text(rng, 200) or "x" for _ in range(rng.randint(0, 2))),
    )
    prior = PriorReport(
        study_instance_uid="1.2.840.99.1", study_date="19991201", modalities=("CT",), version=2, signed=True
    )
    return produce(made, tuple(segments), rng.choice([None, prior]), options)


def of_files(rng: random.Random, folder: Path) -> Produced:
    """Return a report of a phantom's files, from which attributes were taken."""
    charset = rng.choice(sorted(NAMES))
    phantom = Phantom(
        seed=str(rng.randrange(10**9)),
        slices=rng.choice([30, 40]),
        slice_spacing=rng.choice([5.0, 6.0]),
        matrix=rng.choice([48, 64]),
        pixel=rng.uniform(5.6, 7.5),
        tilt=rng.choice([0.0, 0.0, 15.0]),
        phases=rng.choice([("portal venous",), ("arterial", "portal venous")]),
        charset=charset,
        patient_name=rng.choice(NAMES[charset]),
        indication=rng.choice(["?leiomyosarcoma", "mass", ""]),
    )
    lost = [k for k in LOSABLE if rng.random() < 0.25]
    folder.mkdir()
    for number, ds in enumerate(study(phantom)):
        if rng.random() < 0.9:
            _lose(ds, lost)
        ds.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    found = read_folder(folder)
    (only,) = found.studies
    assert found.refused == ()
    return produce(only, measure_study(only, found.open_file), None, Options(installation="proof"))


def _lose(ds: Dataset, keywords: list[str]) -> None:
    for keyword in keywords:
        if keyword in ds:
            delattr(ds, keyword)


def make(
    count: int, rng: random.Random, folder: Path, counted: Counter[str], *, of_files_too: bool = True
) -> Iterator[Made]:
    """Make reports in every SR class, template, modality and stage in turn; the gate sees each of them."""
    templates = template_names()
    for number in range(count):
        files = of_files_too and number % OF_FILES == 0
        modality, template = list(MODALITIES)[number // 2 % len(MODALITIES)], templates[number % len(templates)]
        draft = of_files(rng, folder / f"study{number}") if files else of_values(rng, modality, template)
        reached = STAGES[number // len(templates) % len(STAGES)]
        produced = stage(draft, rng, reached)
        counted["of files" if files else "of values"] += 1
        sop_class = CODED[number // 5 % len(CODED)]
        class_name = CLASS_NAMES[sop_class]
        profile = rng.choice(PROFILES)
        objects = renditions(
            produced, sop_class_uid=sop_class, profile=profile, version=rng.choice([1, 2, 17]), created_at=b.CREATED_AT
        )
        counted.update([class_name, produced.template.key, reached, *([] if files else [modality])])
        counted["companions"] += len(objects) > 1
        name = f"report {number}, {produced.template.key}, {modality}, {reached}, as {class_name}, {profile}"
        yield Made(name=name, report=produced.report, template=produced.template, objects=objects)


def errors_of(path: Path) -> list[str]:
    """Return dciodvfy's errors, but not that a value is too long whose characters are not: it counts bytes of UTF-8 (PS3.5 6.2)."""
    found = []
    for line in validators.dciodvfy(path):
        long = _TOO_LONG.search(line)
        if line.startswith("Error") and not (
            long and len(long["value"]) <= int(long["limit"]) < len(long["value"].encode())
        ):
            found.append(line)
    return found


def examine(made: Made, folder: Path) -> list[str]:
    """Return what is wrong with a report's objects; their files stay."""
    found = []
    for one in made.objects:
        path = file_of(one, folder)
        path.write_bytes(one.part10)
        said = [*errors_of(path), *readers(made, one, path, folder)]
        if not validators.dsrdump(path):
            said.append("dsrdump shows nothing")
        found += [f"{made.name}, {one.kind}: {x}" for x in said]
    return found


def file_of(one: Rendition, folder: Path) -> Path:
    """Return where an object is kept."""
    return folder / f"{one.sop_instance_uid}.dcm"


def readers(made: Made, one: Rendition, path: Path, folder: Path) -> Iterator[str]:
    """Yield what dcmqi, highdicom and our own parser do not find again."""
    ds = dcmread(io.BytesIO(one.part10))
    groups = [g for c in ds.ContentSequence if name_of(c) == IMAGING_MEASUREMENTS for g in c.ContentSequence]
    groups = [g for g in groups if name_of(g) == MEASUREMENT_GROUP]
    said = [c for g in groups for c in g.ContentSequence if c.ValueType == "NUM"]
    numbers = sum(not validators.is_no_number(c) for c in said)
    if one.kind == "report":
        if parse(ds, made.template) != made.report:
            yield "does not read back as itself"
        if len(groups) != sum(s.scope in SCOPES for s in made.report.subjects):
            yield "a subject has no group"
    volumes = sum(g.ContentTemplateSequence[0].TemplateIdentifier == "1411" for g in groups)
    if (read := validators.highdicom(path)) != validators.Groups(
        volumes=volumes, others=len(groups) - volumes, numbers=numbers
    ):
        yield f"highdicom reads {read}"
    seen: Any = validators.tid1500reader(path, folder).get("Measurements", [])
    if (len(seen), sum(len(g["measurementItems"]) for g in seen)) != (len(groups), len(said)):
        yield "dcmqi reads other groups or numbers"
    if any(written(plainly(c)) != written(c) for c in ds.ContentSequence):
        yield "highdicom's classes build other content items"


def name_of(item: Dataset) -> str:
    """Return the value of the Concept Name."""
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def through_pixelmed(made: list[Made], folder: Path) -> list[str]:
    """Return the errors of PixelMed for every object, with one run for each processor."""
    names = {file_of(one, folder): f"{m.name}, {one.kind}" for m in made for one in m.objects}
    workers = os.cpu_count() or 1
    shares = [list(names)[n::workers] for n in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        found = [pool.submit(validators.pixelmed_many, share, folder) for share in shares if share]
        return [f"{names[path]}: {e}" for one in found for path, said in one.result().items() for e in said]


@pytest.mark.proof
@pytest.mark.timeout(7200)
def test_hundreds_of_reports_have_no_error(tmp_path: Path, proof_record: ProofRecord) -> None:
    seed = int(os.environ.get("LMS_SR_PROOF_SEED") or secrets.randbelow(2**32))
    counted: Counter[str] = Counter()
    faults: list[str] = []
    made: list[Made] = []
    try:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            jobs = []
            for one in make(COUNT, random.Random(seed), tmp_path, counted):
                made.append(one)
                jobs.append(pool.submit(examine, one, tmp_path))
            for job in jobs:
                faults += job.result()
        faults += through_pixelmed(made, tmp_path)
        assert faults == [], "\n".join(faults)
    except BaseException:
        print(f"repeat with LMS_SR_PROOF_SEED={seed}")
        raise
    proof_record.add(
        "reports of random studies, of every template, modality and stage, have no error for dciodvfy, PixelMed and dcmtk, in every SR "
        "class; dcmqi and highdicom find every group and number in them, and each reads back as itself",
        seed=seed,
        reports=COUNT,
        objects=sum(len(m.objects) for m in made),
        errors=len(faults),
        **counted,
    )
