"""Headers as devices write them: every file reads or is refused in words, and names survive their character set."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from service.errors import InputError, StoreUnavailable
from service.model.code import Code
from service.model.study import Request
from service.read.charset import codec_of, decode
from service.read.headers import CODE_KEYWORDS, HEADER_KEYWORDS, INSTANCE_KEYWORDS, read_instance
from tests.helpers import ROOT
from tests.phantoms import code, item

PYDICOM_FILES = Path(pydicom.data.__file__).parent
STS_002 = ROOT / "tests" / "data" / "sts_002"
CT = "1.2.840.10008.5.1.4.1.1.2"


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    """Return an element as explicit VR little endian; the value as it is, padded to an even length."""
    value += b" " * (len(value) % 2)
    if vr in {"SQ", "UT", "UN", "UR", "OB", "OW"}:
        return struct.pack("<HH2sHL", group, number, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def part10(*elements: bytes, syntax: str = ExplicitVRLittleEndian, meta: bytes = b"") -> io.BytesIO:
    """Return a file of these elements, between those that every object has."""
    inner = element(2, 0x10, "UI", syntax.encode()) + meta
    head = element(2, 0, "UL", struct.pack("<L", len(inner))) + inner
    fixed = [
        element(8, 0x16, "UI", CT.encode()),
        element(8, 0x18, "UI", b"1.2.3.4"),
        element(8, 0x60, "CS", b"CT"),
        element(0x20, 0x0D, "UI", b"1.2.3"),
        element(0x20, 0x0E, "UI", b"1.2.3.5\0"),
    ]
    body = b"".join(sorted([*fixed, *elements], key=lambda e: struct.unpack("<HH", e[:4])))
    return io.BytesIO(b"\0" * 128 + b"DICM" + head + body)


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> io.BytesIO:
    """Return a data set as a file."""
    dataset.SOPClassUID, dataset.SOPInstanceUID = dataset.get("SOPClassUID", CT), "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return stream


def name_of(declared: bytes | None, name: bytes) -> str:
    charset = () if declared is None else (element(8, 5, "CS", declared),)
    return read_instance(part10(*charset, element(0x10, 0x10, "PN", name))).header.text("PatientName")


@pytest.mark.parametrize(
    ("declared", "raw", "expected"),
    [
        (b"ISO_IR 100", "Buc^Jérôme".encode("latin_1"), "Buc^Jérôme"),
        (b"ISO_IR 101", "Wałęsa^Łucja".encode("iso8859_2"), "Wałęsa^Łucja"),
        (b"ISO_IR 144", "Люксембург".encode("iso8859_5"), "Люксембург"),
        (b"ISO_IR 192", "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東="),
        (b"GB18030", "Wang^XiaoDong=王^小东=".encode("gb18030"), "Wang^XiaoDong=王^小东="),
        (
            b"\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            b"ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
        (b"\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
        (b"ISO 2022 IR 100\\ISO 2022 IR 144", b"M\xfcller=\x1b-L\xbb\xee\xda", "Müller=Люк"),
    ],
)
def test_names_survive_their_character_set(declared: bytes, raw: bytes, expected: str) -> None:
    assert name_of(declared, raw) == expected


@pytest.mark.parametrize(
    ("declared", "raw", "expected"),
    [
        (None, "Müller^Jörg".encode("latin_1"), "Müller^Jörg"),
        (None, "Müller^Jörg".encode(), "Müller^Jörg"),
        (b"", "Müller^Jörg".encode("latin_1"), "Müller^Jörg"),
        (b"ISO_IR 6", "Müller".encode(), "Müller"),
        (b"ISO-IR 100", "Müller".encode("latin_1"), "Müller"),
        (b"iso_ir 192 \0", "Müller".encode(), "Müller"),
        (b"UTF-8", "Müller".encode(), "Müller"),
        (b"NO SUCH SET", "Müller".encode("latin_1"), "Müller"),
        (b"ISO_IR 192", "Müller".encode("latin_1"), "M\N{REPLACEMENT CHARACTER}ller"),
        (b"ISO_IR 100", b"Wrong\x1b%/IEscape", "Wrong%/IEscape"),
        (b"\\ISO 2022 IR 87", b"\x1b$B;3E", "山\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_wrong_or_missing_character_set_loses_no_more_than_it_must(
    declared: bytes | None, raw: bytes, expected: str
) -> None:
    assert name_of(declared, raw) == expected


def test_control_characters_and_direction_marks_leave_text() -> None:
    assert name_of(b"ISO_IR 192", "A\u202eGNP.exe^\0B\x07".encode()) == "AGNP.exe^B"


@pytest.mark.parametrize("declared", [b"", b"ISO_IR 192", b"ISO 2022 IR 87", b"GB18030", b"ISO_IR 13", b"ISO_IR 166"])
def test_no_bytes_make_decoding_raise(declared: bytes) -> None:
    for first in range(256):
        text = decode(bytes([first, 0x1B, 0x24, first, 0x80, 0xFF, 0x5C]), codec_of(declared))
        assert text.encode("utf-8").decode() == text


def test_items_of_sequences_have_their_own_character_set() -> None:
    inner = element(8, 5, "CS", b"ISO_IR 192") + element(0x40, 0x1002, "LO", "Müller".encode())
    sequence = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    instance = read_instance(
        part10(
            element(8, 5, "CS", b"ISO_IR 100"),
            element(0x10, 0x10, "PN", "Müller".encode("latin_1")),
            element(0x40, 0x275, "SQ", sequence),
        )
    )
    assert instance.header.text("PatientName") == "Müller"
    assert instance.header.text("ReasonForTheRequestedProcedure") == "Müller"


@pytest.mark.parametrize("file", sorted(p for p in PYDICOM_FILES.rglob("*") if p.is_file()), ids=lambda p: p.name)
def test_every_file_of_pydicoms_corpus_reads_or_is_refused_in_words(file: Path) -> None:
    refusal = ""
    try:
        instance = read_instance(file, path=file.name)
    except InputError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith(file.name)
        return
    assert instance.study_instance_uid
    assert set(instance.header.elements) <= set(HEADER_KEYWORDS)
    assert set(instance.own) <= set(INSTANCE_KEYWORDS)
    assert set(instance.header.codes) <= set(CODE_KEYWORDS)


def test_the_corpus_is_there() -> None:
    assert len([p for p in PYDICOM_FILES.rglob("*.dcm") if p.is_file()]) > 50


def test_values_of_a_wrong_form_are_kept_as_they_stand() -> None:
    instance = read_instance(
        part10(
            element(0x10, 0x30, "DA", b"1960-1-1"),
            element(0x20, 0x10, "SH", b"IBSI_1_STS_002_CT"),
            element(0x18, 0x50, "DS", b"3.26999999999998765432"),
            element(0x28, 0x10, "DS", b"512"),  # Rows is US
            element(0x28, 0x11, "US", struct.pack("<H", 256)),
            element(0x10, 0x40, "ZZ", b"M"),
            element(8, 8, "CS", b"ORIGINAL\\PRIMARY\\\\AXIAL"),
            element(0x10, 0x20, "LO", b" A-1 \0"),
            element(0x10, 0x1030, "DS", b"   "),
        )
    )
    text = instance.header.text
    assert text("PatientBirthDate") == "1960-1-1"
    assert text("StudyID") == "IBSI_1_STS_002_CT"
    assert instance.header.number("SliceThickness") == pytest.approx(3.27)
    assert (text("Rows"), text("Columns")) == ("512", "256")
    assert text("PatientSex") == "M"
    assert text("PatientID") == "A-1"
    assert instance.header.texts("ImageType") == ("ORIGINAL", "PRIMARY", "", "AXIAL")
    assert "PatientWeight" not in instance.header.elements


def test_what_differs_from_image_to_image_stays_out_of_the_shared_header() -> None:
    files = sorted((STS_002 / "CT").iterdir())
    instances = [read_instance(f) for f in files]
    assert len(files) == 16
    assert all(i.header == instances[0].header for i in instances[1:])
    assert len({i.own["ImagePositionPatient"] for i in instances}) == len(files)


def test_codes_and_requests_are_taken() -> None:
    ds = Dataset()
    ds.AccessionNumber = "A1"
    ds.IssuerOfAccessionNumberSequence = [item(LocalNamespaceEntityID="RIS")]
    ds.ProcedureCodeSequence = [code("CTABD", "99SITE", "CT abdomen")]
    ds.AnatomicRegionSequence = [item(CodeMeaning="no value")]
    ds.RequestAttributesSequence = [
        item(
            RequestedProcedureID="R1",
            RequestedProcedureDescription="CT",
            ScheduledProcedureStepID="S1",
            ReasonForTheRequestedProcedure="mass?",
            RequestedProcedureCodeSequence=[code("P", "99SITE", "CT")],
        ),
        item(AccessionNumber="A2", RequestedProcedureID="R2", PlacerOrderNumberImagingServiceRequest="P2"),
    ]
    header = read_instance(written(ds)).header
    assert header.codes["ProcedureCodeSequence"] == (Code("CTABD", "99SITE", "CT abdomen"),)
    assert "AnatomicRegionSequence" not in header.codes
    assert header.text("ReasonForTheRequestedProcedure") == "mass?"
    assert header.requests == (
        Request(
            accession_number="A1",
            accession_issuer="RIS",
            requested_procedure_id="R1",
            requested_procedure_description="CT",
            requested_procedure_code=Code("P", "99SITE", "CT"),
            scheduled_procedure_step_id="S1",
        ),
        # one order says nothing about another
        Request(accession_number="A2", requested_procedure_id="R2", placer_order_number="P2"),
    )


def test_tracer_is_taken_from_its_sequence() -> None:
    header = read_instance(STS_002 / "PET" / "000010.dcm").header
    assert header.number("RadionuclideTotalDose") == pytest.approx(433344096)
    assert header.text("RadiopharmaceuticalStartTime") == "135100"
    assert header.codes["RadiopharmaceuticalCodeSequence"][0].meaning == "FDG -- fluorodeoxyglucose"


def test_a_report_says_what_it_is() -> None:
    header = read_instance(STS_002 / "CT_SR_TID1500.dcm").header
    assert header.codes["ConceptNameCodeSequence"][0].value == "126000"
    assert (header.text("CompletionFlag"), header.text("VerificationFlag")) == ("COMPLETE", "UNVERIFIED")
    assert header.text("TemplateIdentifier") == "1500"


def multi_frame(positions: list[list[float]]) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.Rows, ds.Columns, ds.NumberOfFrames = 4, 5, len(positions)
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.6], SliceThickness=2)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            CTXRayDetailsSequence=[item(KVP=110)],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=p)],
            MRDiffusionSequence=[item(DiffusionBValue=float(b))],
            FrameAnatomySequence=[item(AnatomicRegionSequence=[code("818983003", "SCT", "Abdomen")])],
        )
        for b, p in zip((800, 0, 50), positions, strict=True)
    ]
    return ds


def test_multi_frame_images_give_their_shared_values_and_where_they_begin_and_end() -> None:
    instance = read_instance(written(multi_frame([[0, 0, 10], [0, 0, -4], [0, 0, 3]])))
    header = instance.header
    assert header.texts("PixelSpacing") == ("0.5", "0.6")
    assert header.number("SliceThickness") == 2
    assert header.number("KVP") == 110
    assert header.number("NumberOfFrames") == 3
    assert header.texts("DiffusionBValue") == ("0", "50", "800")
    assert header.codes["AnatomicRegionSequence"][0].value == "818983003"
    assert instance.numbers("ImagePositionPatient") == (0, 0, -4)
    assert instance.numbers("LastImagePositionPatient") == (0, 0, 10)


def test_who_sent_the_file_comes_from_its_meta_information() -> None:
    meta = (
        element(2, 0x17, "AE", b"CT1")
        + element(2, 0x18, "AE", b"LMS_SR ")
        + element(2, 0x26, "UR", b"dicom://10.0.0.5:104")
    )
    instance = read_instance(part10(meta=meta))
    assert (instance.calling_ae, instance.called_ae, instance.source_address) == (
        "CT1",
        "LMS_SR",
        "dicom://10.0.0.5:104",
    )
    assert instance.transfer_syntax_uid == ExplicitVRLittleEndian


@pytest.mark.parametrize(
    ("uid", "said"), [(b"", "no StudyInstanceUID"), (b"../../x", "no valid StudyInstanceUID"), (b"1" * 65, "no valid")]
)
def test_an_object_without_a_study_is_refused(uid: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_instance(part10(element(0x20, 0x0D, "UI", uid)), path="x.dcm")


def test_identity_that_only_the_meta_information_has_is_taken_from_there() -> None:
    inner = (
        element(2, 2, "UI", CT.encode())
        + element(2, 3, "UI", b"1.2.9")
        + element(2, 0x10, "UI", b"1.2.840.10008.1.2.1")
    )
    head = element(2, 0, "UL", struct.pack("<L", len(inner))) + inner
    body = element(0x20, 0x0D, "UI", b"1.2.3") + element(0x20, 0x0E, "UI", b"1.2.3.5")
    instance = read_instance(io.BytesIO(b"\0" * 128 + b"DICM" + head + body))
    assert (instance.sop_class_uid, instance.sop_instance_uid) == (CT, "1.2.9")


def deflated(body: bytes) -> io.BytesIO:
    inner = element(2, 0x10, "UI", DeflatedExplicitVRLittleEndian.encode())
    head = element(2, 0, "UL", struct.pack("<L", len(inner))) + inner
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return io.BytesIO(b"\0" * 128 + b"DICM" + head + squeeze.compress(body) + squeeze.flush())


BODY = part10(element(0x10, 0x20, "LO", b"A-1")).getvalue()
BODY = BODY[BODY.index(b"\x08\x00\x16\x00") :]


def test_a_deflated_header_reads() -> None:
    instance = read_instance(deflated(BODY))
    assert instance.header.text("PatientID") == "A-1"
    assert instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian


def test_a_deflate_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    pixel_data = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, 64 << 20)
    bomb = deflated(BODY + pixel_data + bytes(64 << 20))
    lengths: list[int] = []
    opened = io.BytesIO

    def watched(data: bytes = b"") -> io.BytesIO:
        lengths.append(len(data))
        return opened(data)

    monkeypatch.setattr("service.read.part10.io.BytesIO", watched)
    assert read_instance(bomb).header.text("PatientID") == "A-1"
    assert max(lengths) < 20 << 20


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no DICOM at all" * 50,
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + bytes(200),
        part10().getvalue()[:170],
        deflated(BODY).getvalue()[:-20],
        b"\0" * 128
        + b"DICM"
        + b"\xfe\xff" * 100
        + (struct.pack("<HH2sHL", 0x40, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF))
        * 1500,
    ],
)
def test_rubbish_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"^a/file\.dcm "):
        read_instance(io.BytesIO(raw), path="a/file.dcm")


def test_sequences_nested_without_end_are_refused() -> None:
    nested = (
        struct.pack("<HH2sHL", 0x40, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ) * 1500
    with pytest.raises(InputError, match="nested too deeply"):
        read_instance(part10(nested))


def test_a_broken_sequence_costs_only_itself() -> None:
    instance = read_instance(
        part10(element(8, 0x1032, "SQ", b"\x01\x02\x03\x04\x05\x06"), element(0x10, 0x20, "LO", b"A-1"))
    )
    assert instance.header.text("PatientID") == "A-1"
    assert not instance.header.codes


def test_an_empty_element_of_an_unknown_value_representation_is_as_good_as_absent() -> None:
    instance = read_instance(part10(element(8, 0x60, "ZZ", b""), element(0x10, 0x20, "LO", b"A-1")))
    assert instance.header.text("PatientID") == "A-1"
    assert instance.header.text("Modality") == ""


def test_messages_name_the_file_and_no_value() -> None:
    stream = part10(element(0x10, 0x10, "PN", b"Secret^Name"), element(0x20, 0x0D, "UI", b""))
    with pytest.raises(InputError) as caught:
        read_instance(stream, path="a.dcm")
    assert "Secret" not in str(caught.value)


def test_a_file_that_is_gone_is_final_and_one_that_cannot_be_opened_is_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there any more"):
        read_instance(tmp_path / "absent.dcm")
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        read_instance(tmp_path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, "1.2.840.10008.1.2.2"])
def test_numbers_read_the_same_in_every_byte_order(syntax: str) -> None:
    ds = Dataset()
    ds.Rows, ds.Columns = 300, 500
    ds.add_new("DiffusionBValue", "FD", 800.0)
    dataset: Any = ds
    dataset.SOPClassUID = CT
    instance = read_instance(written(dataset, syntax))
    assert (instance.header.text("Rows"), instance.header.text("Columns")) == ("300", "500")
    assert instance.header.number("DiffusionBValue") == 800
