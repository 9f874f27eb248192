"""Hundreds of reports, each of another random study, through dciodvfy, dcmtk and back: none has an error, each reads back as itself."""

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

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from service.demo.phantom import Phantom, study
from service.flow.produce import CLASS_NAMES, Options, Produced, Rendition, produce, renditions
from service.measure.segments import measure_study
from service.model.measurement import SegmentMeasurements
from service.model.report import Report
from service.read.folder import read_folder
from service.sr.companion import Profile
from service.sr.parse import parse
from sr_templates import load_template
from tests import builders as b
from tests.conftest import ProofRecord
from tests.interop import validators

COUNT = int(os.environ.get("LMS_SR_PROOF_REPORTS", "400"))
#: one in so many is made of files, with pixels measured; the others of values
OF_FILES = 8
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


def of_values(rng: random.Random) -> Produced:
    """Return a report of a study that never was a file."""
    patient = replace(
        b.PATIENT,
        name=rng.choice(rng.choice(list(NAMES.values()))) if rng.random() < 0.9 else "",
        patient_id=text(rng, 64) or "P-1",
        issuer=rng.choice(["", "HOSPITAL"]),
        birth_date=rng.choice(["", "19600101"]),
        sex=rng.choice(["", "M", "F", "O"]),
    )
    members = [b.ct_series(rng.randint(20, 400))] if rng.random() < 0.8 else []
    for number in range(rng.randint(0, 3)):
        modality = rng.choice(["CT", "MR", "PT", "US"])
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
        installation=f"proof-{rng.randrange(10**9)}",
        timezone=rng.choice(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
        series_number=rng.choice([1, 9901, 2**31 - 2]),
        complete_at=rng.choice(["", "https://lms.example/r/ABCD-EFGH"]),
        remarks=tuple(text(rng, 200) or "x" for _ in range(rng.randint(0, 2))),
    )
    return produce(made, tuple(segments), None, options)


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


def make(count: int, rng: random.Random, folder: Path, counted: Counter[str]) -> Iterator[Made]:
    """Make reports, in every SR class and profile in turn; the gate sees each of them."""
    for number in range(count):
        files = number % OF_FILES == 0
        produced = of_files(rng, folder / f"study{number}") if files else of_values(rng)
        counted["of files" if files else "of values"] += 1
        sop_class, class_name = list(CLASS_NAMES.items())[number % len(CLASS_NAMES)]
        profile = rng.choice(PROFILES)
        objects = renditions(
            produced, sop_class_uid=sop_class, profile=profile, version=rng.choice([1, 2, 17]), created_at=b.CREATED_AT
        )
        counted[class_name] += 1
        counted["companions"] += len(objects) > 1
        yield Made(name=f"report {number} as {class_name}, {profile}", report=produced.report, objects=objects)


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
    """Return what is wrong with a report's objects."""
    found = []
    template = load_template("baseline")
    for one in made.objects:
        path = folder / f"{one.sop_instance_uid}.dcm"
        path.write_bytes(one.part10)
        found += [f"{made.name}, {one.kind}: {x}" for x in errors_of(path)]
        if not validators.dsrdump(path):
            found.append(f"{made.name}, {one.kind}: dsrdump shows nothing")
        if one.kind == "report" and parse(dcmread(io.BytesIO(one.part10)), template) != made.report:
            found.append(f"{made.name}: does not read back as itself")
        path.unlink()
    return found


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_hundreds_of_reports_have_no_error(tmp_path: Path, proof_record: ProofRecord) -> None:
    seed = int(os.environ.get("LMS_SR_PROOF_SEED") or secrets.randbelow(2**32))
    counted: Counter[str] = Counter()
    faults: list[str] = []
    objects = 0
    try:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            asked = []
            for made in make(COUNT, random.Random(seed), tmp_path, counted):
                objects += len(made.objects)
                asked.append(pool.submit(examine, made, tmp_path))
            for one in asked:
                faults += one.result()
        assert faults == []
    except BaseException:
        print(f"repeat with LMS_SR_PROOF_SEED={seed}")
        raise
    proof_record.add(
        "reports of random studies have no error for dciodvfy and dcmtk, in every SR class, and read back as themselves",
        seed=seed,
        reports=COUNT,
        objects=objects,
        errors=len(faults),
        **counted,
    )
