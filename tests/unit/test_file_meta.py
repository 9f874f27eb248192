"""File meta information: what a crash must not lose is written as PS3.10 says, and read back without a parser."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InputError, StoreUnavailable
from service.store.file_meta import PREAMBLE, FileMeta, dataset_offset, read_meta
from tests.dicom_bytes import CT, EXPLICIT, INSTANCE, data_set

META = FileMeta(
    sop_class_uid=CT,
    sop_instance_uid=INSTANCE,
    transfer_syntax_uid=EXPLICIT,
    calling_ae_title="PACS",
    called_ae_title="LMS_SR",
    address="fe80::1",
)
_ASCII = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=16)


def read(path: Path, content: bytes) -> FileMeta:
    path.write_bytes(content)
    return read_meta(path)


def values(meta: FileMeta) -> dict[str, str]:
    return {name: getattr(meta, name) for name in FileMeta.__dataclass_fields__}


def test_data_set_begins_where_the_head_ends(tmp_path: Path) -> None:
    head = META.encode()
    assert len(head) % 2 == 0
    assert dataset_offset(head, "x") == len(head)
    found = read(tmp_path / "x", head + data_set())
    assert values(found) == values(META)
    assert found.dataset_offset == len(head)  # type: ignore[attr-defined]


def test_pydicom_reads_the_same() -> None:
    found = pydicom.dcmread(io.BytesIO(META.encode() + data_set())).file_meta
    assert found.FileMetaInformationVersion == b"\0\1"
    assert found.FileMetaInformationGroupLength == len(META.encode()) - 144
    assert found.SourceApplicationEntityTitle == found.SendingApplicationEntityTitle == "PACS"
    assert found.ReceivingApplicationEntityTitle == "LMS_SR"
    assert found.SourcePresentationAddress == "fe80::1"


@given(_ASCII, _ASCII, _ASCII)
def test_text_of_any_length_comes_back(tmp_path_factory: pytest.TempPathFactory, a: str, b: str, c: str) -> None:
    meta = FileMeta(
        sop_class_uid=CT,
        sop_instance_uid=INSTANCE,
        transfer_syntax_uid=EXPLICIT,
        calling_ae_title=a,
        called_ae_title=b,
        address=c,
    )
    path = tmp_path_factory.mktemp("meta") / "x"
    assert values(read(path, meta.encode())) == values(meta)


def test_text_that_is_not_ascii_cannot_break_the_file(tmp_path: Path) -> None:
    meta = FileMeta(sop_class_uid=CT, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT, calling_ae_title="PÄCS")
    assert read(tmp_path / "x", meta.encode()).calling_ae_title == "P?CS"


def test_head_longer_than_one_read_is_read_whole(tmp_path: Path) -> None:
    other = struct.pack("<HH2sHL", 2, 0x0102, b"OB", 0, 10_000) + bytes(10_000)
    body = META.encode()[len(PREAMBLE) + 12 :] + other
    head = PREAMBLE + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body
    found = read(tmp_path / "x", head + data_set())
    assert values(found) == values(META)
    assert found.dataset_offset == len(head)  # type: ignore[attr-defined]


def test_elements_that_are_absent_are_empty(tmp_path: Path) -> None:
    body = struct.pack("<HH2sH", 2, 3, b"UI", 6) + b"1.2.3\0"
    head = PREAMBLE + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body
    found = values(read(tmp_path / "x", head))
    assert found.pop("sop_instance_uid") == "1.2.3"
    assert set(found.values()) == {""}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(128),
        PREAMBLE,
        PREAMBLE + b"\x02\x00\x00\x00UL\x04\x00",
        PREAMBLE + b"\x02\x00\x01\x00OB\x00\x00" + bytes(40),
        bytes(128) + b"DICX" + META.encode()[132:],
        data_set(),
    ],
)
def test_what_is_no_file_is_an_input_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"^a\.dcm is no DICOM file"):
        read(tmp_path / "a.dcm", content)


def test_length_that_no_head_has_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="claims 4294967295 bytes"):
        read(tmp_path / "x", PREAMBLE + b"\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\xff" + bytes(10_000))


@pytest.mark.parametrize("cut", range(144, len(META.encode()), 7))
def test_head_that_was_cut_is_broken(tmp_path: Path, cut: int) -> None:
    head = META.encode()
    body = head[144:cut]
    short = PREAMBLE + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(head) - 144) + body
    if len(short) < len(head):
        try:
            found = read(tmp_path / "x", short)
        except InputError:
            return
        # it ends with an element: what follows is missing, and nothing is made up
        assert all(v in ("", values(META)[k]) for k, v in values(found).items())


def test_element_of_another_group_is_broken(tmp_path: Path) -> None:
    body = struct.pack("<HH2sH", 8, 3, b"UI", 6) + b"1.2.3\0"
    with pytest.raises(InputError, match="is broken"):
        read(tmp_path / "x", PREAMBLE + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body)


def test_file_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            read_meta(path)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_are_an_input_error(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    path = tmp_path_factory.mktemp("meta") / "x"
    for content in (tail, META.encode()[:160] + tail, PREAMBLE + b"\x02\x00\x00\x00UL\x04\x00\x40\x00\x00\x00" + tail):
        try:
            read(path, content)
        except InputError as error:
            assert "is no DICOM file" in str(error)  # noqa: PT017 - either is right
