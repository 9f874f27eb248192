"""Whatever a header lacks or overdoes, a report comes of it that passes the gate; and names keep every character."""

from __future__ import annotations

import io
import random
import warnings
from pathlib import Path

import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from service import offline
from service.clock import ManualClock
from service.errors import InputError
from service.read.headers import read_instance
from service.settings import Settings
from service.sr.parse import parse
from sr_templates import load_template
from tests.helpers import ROOT

NOW = ManualClock().now()
DATA = ROOT / "tests" / "data"
#: the files that come with the package; the others would be downloaded
PYDICOM_FILES = Path(pydicom.data.__file__).parent
MODALITIES = {"CT", "MR", "PT", "US"}


def composable() -> list[Path]:
    """Return the images of pydicom's corpus that a report could be asked about: of our modalities, with all their UIDs."""
    found = []
    for path in sorted(p for p in PYDICOM_FILES.rglob("*") if p.is_file()):
        try:
            instance = read_instance(path, path=path.name)
        except InputError:
            continue
        if instance.header.text("Modality") in MODALITIES and instance.series_instance_uid:
            found.append(path)
    return found


CORPUS = composable()


def composed(folder: Path, out: Path) -> Dataset:
    """Compose the report of a folder; the gate has passed it, or this raises."""
    (study,) = offline.compose(Settings(), folder, out, now=NOW).studies
    report = study.files[0]
    assert offline.problems_of(report) == ()
    ds = dcmread(report)
    assert parse(ds, load_template("baseline")).study_instance_uid == study.study_instance_uid
    return ds


def test_the_corpus_holds_enough() -> None:
    assert len(CORPUS) >= 80


@pytest.mark.parametrize("file", CORPUS, ids=lambda p: p.name)
def test_every_image_of_pydicoms_corpus_gets_a_report(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / file.name).write_bytes(file.read_bytes())
    report = composed(folder, tmp_path / "out")
    original = dcmread(file, stop_before_pixels=True, force=True)
    assert report.StudyInstanceUID == original.StudyInstanceUID


# --- headers that lack, or overdo, what a study is known by ------------------------------------------------------------------

KEYWORDS = (
    "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "PatientName",
    "SpecificCharacterSet",
)  # fmt: skip
#: longer than each value representation allows
OVERLONG = {
    "PatientID": "9" * 80, "PatientBirthDate": "19600101123", "PatientSex": "MALE OR WHATEVER ELSE",
    "AccessionNumber": "A" * 40, "StudyID": "IBSI_1_STS_002_CT_AND_MORE", "StudyDate": "20060128235959",
    "StudyTime": "101530.1234567890123", "PatientName": "N" * 90 + "^" + "V" * 90,
    "SpecificCharacterSet": "ISO_IR 192 AND SOME MORE",
}  # fmt: skip
#: few files, each of another kind: hypothesis composes them hundreds of times
SAMPLES = {
    "CT with its SEG": [*sorted((DATA / "sts_002" / "CT").iterdir())[6:9], DATA / "sts_002" / "CT_SEG.dcm"],
    "MR, PET": [*(DATA / "sts_002" / "MR_T1").iterdir(), *(DATA / "sts_002" / "PET").iterdir()],
    "CT, MR, PET, RTSTRUCT": [
        DATA / "sts_035" / "CT" / "000030.dcm", DATA / "sts_035" / "MR_T1" / "000024.dcm",
        DATA / "sts_035" / "PET" / "000030.dcm", DATA / "sts_035" / "PET" / "RS.dcm",
    ],
    "SRs of others": [
        DATA / "abdomen" / "ct" / "02.dcm", DATA / "abdomen" / "sr_verified.dcm", DATA / "abdomen" / "sr_dcmqi_unverified.dcm",
    ],
}  # fmt: skip


STUDIES = {name: [dcmread(p) for p in paths] for name, paths in SAMPLES.items()}


def changed(ds: Dataset, how: dict[str, str]) -> bytes:
    """Return a file whose elements are missing, empty or over-long; written as bytes, since pydicom refuses some of these."""
    with warnings.catch_warnings():
        # the files have such values already
        warnings.simplefilter("ignore")
        return _changed(ds, how)


def _changed(ds: Dataset, how: dict[str, str]) -> bytes:
    copy = Dataset()
    copy.update({tag: ds[tag] for tag in ds.keys()})  # noqa: SIM118 - a data set iterates over elements
    copy.file_meta = ds.file_meta
    for keyword, state in how.items():
        if state == "missing":
            if keyword in copy:
                delattr(copy, keyword)
        elif keyword == "SpecificCharacterSet" and state == "over-long":
            # what stands in the file is decoded by what it was written with
            copy.SpecificCharacterSet = "ISO_IR 192"
        else:
            with pydicom.config.disable_value_validation():
                setattr(copy, keyword, OVERLONG[keyword] if state == "over-long" else "")
    stream = io.BytesIO()
    with pydicom.config.disable_value_validation():
        copy.save_as(stream, enforce_file_format=True)
    content = stream.getvalue()
    if how.get("SpecificCharacterSet") == "over-long":
        content = content.replace(b"CS\x0a\x00ISO_IR 192", b"CS\x0a\x00NONSENSE!!", 1)
    return content


states = st.sampled_from(["as it is", "missing", "empty", "over-long"])
faults = st.fixed_dictionaries(dict.fromkeys(KEYWORDS, states)).map(
    lambda d: {k: v for k, v in d.items() if v != "as it is"}
)


@settings(max_examples=30)
@given(st.sampled_from(sorted(STUDIES)), faults, st.booleans(), st.randoms(use_true_random=False))
def test_a_report_comes_of_any_header(
    tmp_path_factory: pytest.TempPathFactory, name: str, faults: dict[str, str], everywhere: bool, rng: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("robust")
    chosen = STUDIES[name]
    patient = {k for k in ("PatientID",) if k in faults}
    for number, ds in enumerate(chosen):
        # one patient is not two: what tells patients apart is changed in all of the study or in none
        own = faults if everywhere or rng.random() < 0.5 else {k: v for k, v in faults.items() if k in patient}
        (folder / f"{number}.dcm").write_bytes(changed(ds, own))
    report = composed(folder, folder / "out")
    assert report.StudyInstanceUID == chosen[0].StudyInstanceUID
    assert report.SpecificCharacterSet == "ISO_IR 192"
    for keyword, limit in (("PatientID", 64), ("AccessionNumber", 16), ("StudyID", 16)):
        assert keyword in report, "Type 2: there, if need be empty"
        assert len(str(report.get(keyword) or "")) <= limit


# --- names -------------------------------------------------------------------------------------------------------------------

ALPHABETS = {
    "ISO_IR 100": "AÄÖÜßéèñçåØ",
    "ISO_IR 101": "ŁłŻżĄęČčŠšŐő",
    "ISO_IR 144": "ЉЊЋЯюшщБгД",
    "ISO_IR 192": "Ääя漢字한글ไทย𠮷",
    "GB18030": "王小东汉字龙马A",
    "\\ISO 2022 IR 87": "山田太郎漢字やまだたろう",
}
IR_87 = {"codec": "iso2022_jp"}


def encoded(name: str, charset: str) -> bytes:
    """Return a name's bytes as PS3.5 6.1.2 says; each component and component group of code extensions ends in ASCII by itself."""
    if charset == "\\ISO 2022 IR 87":
        return b"=".join(
            b"^".join(part.encode(IR_87["codec"]) for part in group.split("^")) for group in name.split("=")
        )
    codecs = {
        "ISO_IR 100": "latin_1",
        "ISO_IR 101": "iso8859_2",
        "ISO_IR 144": "iso8859_5",
        "ISO_IR 192": "utf_8",
        "GB18030": "gb18030",
    }
    return name.encode(codecs[charset])


def image(charset: str, name: bytes) -> bytes:
    """Return a CT image whose name stands in the file as these bytes."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, UID("1.2.3.4")
    ds.SpecificCharacterSet = charset.split("\\")
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    ds.Modality, ds.PatientID, ds.StudyDate = "CT", "P-1", "20260301"
    mark = b"N" * (len(name) + len(name) % 2)
    with pydicom.config.disable_value_validation():
        ds.PatientName = mark.decode()
        stream = io.BytesIO()
        ds.save_as(stream, enforce_file_format=True)
    content = stream.getvalue()
    assert content.count(mark) == 1
    return content.replace(mark, name.ljust(len(mark)))


@st.composite
def names(draw: st.DrawFn) -> tuple[str, str]:
    """Return a character set and a name in it: family and given name, in the alphabetic or the ideographic group."""
    charset = draw(st.sampled_from(sorted(ALPHABETS)))
    part = st.text(ALPHABETS[charset], min_size=1, max_size=10)
    name = f"{draw(part)}^{draw(part)}"
    ascii_first = charset in {"GB18030", "\\ISO 2022 IR 87", "ISO_IR 192"}
    return charset, f"Yamada^Tarou={name}" if ascii_first else name


@settings(max_examples=60)
@given(names())
def test_a_name_keeps_every_character(
    tmp_path_factory: pytest.TempPathFactory, charset_and_name: tuple[str, str]
) -> None:
    charset, name = charset_and_name
    folder = tmp_path_factory.mktemp("name")
    (folder / "image.dcm").write_bytes(image(charset, encoded(name, charset)))
    report = composed(folder, folder / "out")
    assert str(report.PatientName) == name
    # as bytes too, not only as pydicom reads it
    assert name.encode() in (folder / "out" / "report.dcm").read_bytes()
