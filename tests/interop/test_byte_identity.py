"""What is in the spool is what was sent, byte for byte, in every transfer syntax; and what is refused is refused for a reason.

dcmtk writes a data set anew before it sends it (it leaves out group lengths and padding, for example), so a relay between it and the
service keeps what went over the wire. A peer of our own sends the files' data sets as they are.
"""

from __future__ import annotations

import struct
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from pydicom._uid_dict import UID_dictionary

from service.demo.process import ServiceProcess, write_settings
from service.dimse.syntaxes import is_storage_class, is_taken_syntax
from service.settings import Local, Node, Settings, Storage
from service.store.spool import key_of, read_meta
from tests import dicom_bytes as db
from tests.helpers import ROOT, dcmtk_environment, real_dcmtk
from tests.raw_peer import ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX, RawPeer
from tests.tap import Sent, Tap

#: what is refused of pydicom's files, the status, and the reason
REFUSED = {
    # fragments: what they are is told by their file meta information alone
    "chrSQEncoding.dcm": (0xC000, "SOP Class UID (0008,0016) is missing"),
    "chrSQEncoding1.dcm": (0xC000, "SOP Class UID (0008,0016) is missing"),
    "priv_SQ.dcm": (0xC000, "SOP Class UID (0008,0016) is missing"),
    "UN_sequence.dcm": (0xC000, "SOP Class UID (0008,0016) is missing"),
    # nobody could file them
    "JPEGLSNearLossless_08.dcm": (0xC000, "Study Instance UID (0020,000D) is missing"),
    "JPEGLSNearLossless_16.dcm": (0xC000, "Study Instance UID (0020,000D) is missing"),
    "SC_rgb_jls_lossy_line.dcm": (0xC000, "Study Instance UID (0020,000D) is missing"),
    "SC_rgb_jls_lossy_sample.dcm": (0xC000, "Study Instance UID (0020,000D) is missing"),
    # cut short, and a file whose encoding is not what its meta information says
    "MR_truncated.dcm": (0xC000, "(7FE0,0010) is longer than what holds it"),
    "rtplan_truncated.dcm": (0xC000, "(300A,00B0) is longer than what holds it"),
    "SC_rgb_jpeg.dcm": (0xC000, "(0008,0008) has no value representation: not explicit VR"),
}


#: explicit_VR-UN.dcm has the VR UN throughout, of which dcmtk makes this SOP class and instance; the context is for a true one
MISNAMED = {"31": (0x0122, "not the SOP class of its presentation context")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A Part 10 file and what its header says."""

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str

    @property
    def data(self) -> bytes:
        raw = self.path.read_bytes()
        return raw[144 + struct.unpack_from("<L", raw, 140)[0] :]


def samples() -> list[Sample]:
    """Return all files of pydicom's and ours that have a preamble and file meta information."""
    found = []
    for base in (Path(pydicom.data.__file__).parent, ROOT / "tests" / "data"):
        for path in sorted(base.rglob("*")):
            if not path.is_file() or not path.read_bytes()[128:140].startswith(b"DICM\x02\0\0\0UL"):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(path, stop_before_pixels=True)
            syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
            # by the file meta information where the data set has none: that is what a sender would put into the command
            sop_class = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))
            instance = str(header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID", ""))
            # no C-STORE can be made of those that have no name
            if sop_class and instance and syntax:
                found.append(Sample(path=path, sop_class=sop_class, sop_instance=instance, transfer_syntax=syntax))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The service, receiving, as a process of its own, and its spool."""

    port: int
    spool: Path

    def kept(self, instance: str) -> tuple[str, bytes] | None:
        """Return the transfer syntax and the data set's bytes of an instance."""
        key = key_of(instance)
        path = self.spool / "instances" / key[:2] / f"{key}.dcm"
        if not path.exists():
            return None
        meta = read_meta(path)
        return meta.transfer_syntax_uid, path.read_bytes()[meta.dataset_offset :]

    def clear(self) -> None:
        """Forget all objects, so that the same instance may come in another transfer syntax."""
        for folder in ("instances", "new", "quarantine"):
            for path in (self.spool / folder).rglob("*"):
                if path.is_file():
                    path.unlink()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("byte-identity")
    settings = Settings(
        local=Local(ae_title="LMS_SR"),
        storage=Storage(spool=folder / "spool", reserve_mb=10, durability="write"),
        nodes=(Node(name="PACS", ae_title="PACS"),),
    )
    config = write_settings(folder / "lms-sr.toml", settings)
    with ServiceProcess(config, folder / "log", roles=("receive",)) as service:
        yield Rig(port=service.port, spool=folder / "spool")


@pytest.fixture(autouse=True)
def empty_spool(rig: Rig) -> Iterator[None]:
    yield
    rig.clear()


def waves(found: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Return the samples in lists in which each instance stands once."""
    seen: Counter[str] = Counter()
    by_turn: dict[int, list[Sample]] = {}
    for sample in found:
        by_turn.setdefault(seen[sample.sop_instance], []).append(sample)
        seen[sample.sop_instance] += 1
    yield from by_turn.values()


#: dcmsend writes uncompressed data sets anew as explicit VR little endian, storescu as it is told
_STORESCU = {db.IMPLICIT: "-xi", db.BIG: "-xb"}


def send(port: int, paths: Sequence[Path], syntax: str) -> None:
    """Send files with dcmtk, as they are: nothing decompressed, UIDs not looked at, on after what is refused."""
    if syntax in _STORESCU:
        program = [str(real_dcmtk("storescu")), "-q", "-R", _STORESCU[syntax], "-nh"]
    else:
        program = [str(real_dcmtk("dcmsend")), "-q", "-dn", "-nh", "-nuc"]
    done = subprocess.run(
        [*program, "-aet", "PACS", "-aec", "LMS_SR", "127.0.0.1", str(port), *map(str, paths)],
        capture_output=True,
        timeout=250,
        check=False,
        env=dcmtk_environment(),
    )
    assert done.returncode >= 0, "the sender died"


def check(rig: Rig, one: Sent) -> None:
    """See that what was answered with success is kept as it was sent, and that nothing else is kept."""
    if one.status == 0:
        assert rig.kept(one.sop_instance) == (one.transfer_syntax, one.data), one.sop_instance
    else:
        assert one.status in (0x0117, 0x0122, 0xA900, 0xC000), hex(one.status)
        assert one.comment
        assert rig.kept(one.sop_instance) is None


@pytest.mark.timeout(300)
def test_what_dcmtk_sends_of_all_sample_files_is_kept_byte_for_byte(rig: Rig) -> None:
    found = samples()
    by_syntax: Counter[str] = Counter()
    told: list[Sent] = []
    for wave in waves(found):
        with Tap(rig.port) as tap:
            for syntax in (db.IMPLICIT, db.BIG, ""):
                paths = [
                    s.path for s in wave if (s.transfer_syntax if s.transfer_syntax in _STORESCU else "") == syntax
                ]
                if paths:
                    send(tap.port, paths, syntax)
        for one in tap.sent():
            check(rig, one)
            by_syntax[one.transfer_syntax] += one.status == 0
        told += tap.sent()
        assert set(tap.rejected().values()) <= {NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX}
        for proposed, result in tap.rejected().items():
            sop_class, syntax = proposed.split()
            assert is_storage_class(sop_class) is (result != NO_ABSTRACT_SYNTAX), proposed
            assert not is_taken_syntax(syntax) or result == NO_ABSTRACT_SYNTAX, proposed
        rig.clear()
    # dcmtk refuses to send what it cannot read; everything else came
    takable = {s.transfer_syntax for s in found if is_taken_syntax(s.transfer_syntax) and is_storage_class(s.sop_class)}
    assert set(by_syntax) == takable
    refused = {one.sop_instance: (one.status, one.comment) for one in told if one.status}
    expected = {s.sop_instance: REFUSED[s.path.name] for s in found if s.path.name in REFUSED} | MISNAMED
    assert all(expected[instance] == why for instance, why in refused.items())
    assert len([one for one in told if one.status == 0]) >= 200


@pytest.mark.timeout(300)
def test_data_sets_of_all_sample_files_are_kept_as_they_are(rig: Rig) -> None:
    refused = {}
    for wave in waves(samples()):
        for sample in wave:
            with RawPeer(rig.port) as peer:
                ((result, _),) = peer.negotiate(
                    [(sample.sop_class or "1.2", [sample.transfer_syntax or "1.2"])]
                ).values()
                if not is_storage_class(sample.sop_class):
                    assert result == NO_ABSTRACT_SYNTAX, sample.path
                    continue
                if not is_taken_syntax(sample.transfer_syntax):
                    assert result == NO_TRANSFER_SYNTAX, sample.path
                    continue
                assert result == ACCEPTED, sample.path
                answer = peer.store(sample.data, sop_class=sample.sop_class, sop_instance=sample.sop_instance)
            if answer.status:
                refused[sample.path.name] = (answer.status, answer.comment)
                assert rig.kept(sample.sop_instance) is None
            else:
                assert rig.kept(sample.sop_instance) == (sample.transfer_syntax, sample.data), sample.path
        rig.clear()
    assert refused == REFUSED


#: dcmtk's programs that write an image in another transfer syntax, and what it is then
ENCODERS = {
    ("dcmconv", "+ti"): "1.2.840.10008.1.2",
    ("dcmconv", "+te"): "1.2.840.10008.1.2.1",
    ("dcmconv", "+tb"): "1.2.840.10008.1.2.2",
    ("dcmconv", "+te", "-e"): "1.2.840.10008.1.2.1",  # sequences without a length
    ("dcmconv", "+te", "+g"): "1.2.840.10008.1.2.1",  # with group lengths
    ("dcmconv", "+te", "+p", "512", "128"): "1.2.840.10008.1.2.1",  # with padding
    ("dcmcrle",): "1.2.840.10008.1.2.5",
    ("dcmcjpeg", "+eb", "+ua"): "1.2.840.10008.1.2.4.50",
    ("dcmcjpeg", "+ee", "+ua"): "1.2.840.10008.1.2.4.51",
    ("dcmcjpeg", "+es", "+ua"): "1.2.840.10008.1.2.4.53",
    ("dcmcjpeg", "+ep", "+ua"): "1.2.840.10008.1.2.4.55",
    ("dcmcjpeg", "+el"): "1.2.840.10008.1.2.4.57",
    ("dcmcjpeg", "+e1"): "1.2.840.10008.1.2.4.70",
    ("dcmcjpls", "+el"): "1.2.840.10008.1.2.4.80",
    ("dcmcjpls", "+en"): "1.2.840.10008.1.2.4.81",
}


@pytest.mark.parametrize(
    ("encoder", "syntax"), ENCODERS.items(), ids=lambda v: v if isinstance(v, str) else " ".join(v)
)
def test_what_dcmtk_encodes_and_sends_is_kept_byte_for_byte(
    rig: Rig, tmp_path: Path, encoder: tuple[str, ...], syntax: str
) -> None:
    # near-lossless JPEG-LS is for unsigned pixels
    name = "SC_rgb_small_odd.dcm" if "+en" in encoder else "CT_small.dcm"
    source = Path(pydicom.data.__file__).parent / "test_files" / name
    made = tmp_path / "made.dcm"
    program, *options = encoder
    subprocess.run(
        [str(real_dcmtk(program)), "-q", *options, str(source), str(made)], check=True, capture_output=True, timeout=60
    )
    with Tap(rig.port) as tap:
        send(tap.port, [made], syntax)
    (one,) = tap.sent()
    assert (one.status, one.transfer_syntax) == (0, syntax)
    check(rig, one)


TAKEN = sorted(
    uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax" and is_taken_syntax(uid)
)


@pytest.mark.parametrize("syntax", TAKEN)
def test_every_transfer_syntax_that_we_take_is_kept_byte_for_byte(rig: Rig, syntax: str) -> None:
    native = syntax in (db.IMPLICIT, db.EXPLICIT, db.BIG)
    pixels = bytes(range(256)) if native else b""
    # fragments that look like items and delimiters, an empty one and an odd one
    pieces = (b"\xff\x4f\xff\x51" * 5000, b"", db.delimiter(0xE0DD) * 4, b"\xff\xd8\xff")
    data = db.data_set(syntax=syntax, pixels=pixels, extra=b"" if native else db.fragments(*pieces))
    with RawPeer(rig.port) as peer:
        assert peer.negotiate([(db.CT, [syntax])]) == {1: (ACCEPTED, syntax)}
        assert peer.store(data).status == 0
        assert peer.release()
    assert rig.kept(db.INSTANCE) == (syntax, data)


def test_deflated_data_sets_are_not_taken_and_dcmtk_says_so(rig: Rig, tmp_path: Path) -> None:
    source = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"
    made = tmp_path / "deflated.dcm"
    subprocess.run([str(real_dcmtk("dcmconv")), "-q", "+td", str(source), str(made)], check=True, timeout=60)
    with Tap(rig.port) as tap:
        send(tap.port, [made], db.DEFLATED)
    # the sender may write it anew in another transfer syntax, as dcmtk does
    assert {result for proposed, result in tap.rejected().items() if db.DEFLATED in proposed} == {NO_TRANSFER_SYNTAX}
    for one in tap.sent():
        assert one.transfer_syntax != db.DEFLATED
        check(rig, one)
