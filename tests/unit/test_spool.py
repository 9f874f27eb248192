"""The spool keeps what it acknowledges, never overwrites, and leaves nothing behind when it cannot keep."""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from service.errors import ConfigurationError, InputError, Refused, StoreUnavailable
from service.model.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from service.store import disk
from service.store.spool import FileMeta, Outcome, Receipt, Spool, key_of, read_meta
from tests.dicom_bytes import CT, EXPLICIT, IMPLICIT, INSTANCE, JPEG2000, data_set
from tests.helpers import ROOT

AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)


def meta(instance: str = INSTANCE, syntax: str = EXPLICIT) -> FileMeta:
    return FileMeta(
        sop_class_uid=CT,
        sop_instance_uid=instance,
        transfer_syntax_uid=syntax,
        calling_ae_title="PACS",
        called_ae_title="LMS_SR",
        address="10.1.2.3",
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.prepare()
    return made


def files(spool: Spool) -> list[str]:
    return sorted(str(p.relative_to(spool.root)) for p in spool.root.rglob("*") if p.is_file())


def test_file_is_part10_with_the_data_set_as_received(spool: Spool) -> None:
    data = data_set()
    receipt = spool.receive(data, meta(), at=AT)
    assert receipt == Receipt(outcome=Outcome.STORED, key=hashlib.sha256(INSTANCE.encode()).hexdigest())
    path = spool.path(receipt.key)
    assert path.relative_to(spool.root).parts == ("instances", receipt.key[:2], f"{receipt.key}.dcm")
    raw = spool.read(receipt.key)
    assert raw == path.read_bytes()
    assert raw[:132] == bytes(128) + b"DICM"
    assert raw.endswith(data)
    assert len(raw) == read_meta(path).dataset_offset + len(data)
    parsed = pydicom.dcmread(path)
    assert parsed.file_meta.FileMetaInformationGroupLength == read_meta(path).dataset_offset - 144
    assert parsed.file_meta.FileMetaInformationVersion == b"\0\1"
    assert parsed.file_meta.MediaStorageSOPClassUID == CT
    assert parsed.file_meta.MediaStorageSOPInstanceUID == INSTANCE
    assert parsed.file_meta.TransferSyntaxUID == EXPLICIT
    assert parsed.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert parsed.file_meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert parsed.file_meta.SendingApplicationEntityTitle == "PACS"
    assert parsed.file_meta.ReceivingApplicationEntityTitle == "LMS_SR"
    assert parsed.file_meta.SourcePresentationAddress == "10.1.2.3"
    assert parsed.PatientID == "P-1"
    assert path.stat().st_mode & 0o077 == 0


def test_meta_and_time_of_receipt_are_read_back(spool: Spool) -> None:
    found = read_meta(spool.path(spool.receive(data_set(), meta(), at=AT).key))
    assert FileMeta(**{name: getattr(found, name) for name in FileMeta.__dataclass_fields__}) == meta()
    assert found.received_at == AT


@pytest.mark.parametrize("content", [b"", b"no dicom", bytes(128) + b"DICM" + bytes(40)])
def test_meta_of_other_files_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.dcm is no DICOM file"):
        read_meta(path)


def test_broken_meta_is_an_input_error(spool: Spool) -> None:
    path = spool.path(spool.receive(data_set(), meta()).key)
    raw = bytearray(path.read_bytes())
    raw[140:144] = (len(raw) * 2).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is broken"):
        read_meta(path)


def test_meta_of_an_absent_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        read_meta(tmp_path / "absent.dcm")


def test_pieces_are_written_one_after_the_other(spool: Spool) -> None:
    data = data_set(pixels=os.urandom(3_000_000))
    receipt = spool.receive((memoryview(data)[i : i + 100_000] for i in range(0, len(data), 100_000)), meta())
    assert spool.read(receipt.key).endswith(data)


def test_arrivals_are_oldest_first_and_go_when_indexed(spool: Spool) -> None:
    keys = [
        spool.receive(data_set(instance=f"1.2.{n}"), meta(f"1.2.{n}"), at=AT + dt.timedelta(seconds=-n)).key
        for n in range(5)
    ]
    assert spool.arrivals() == keys[::-1]
    assert spool.arrivals(2) == keys[:2:-1]
    spool.indexed(dict.fromkeys(keys[:3], 0))
    spool.indexed(dict.fromkeys(keys[:3], 0))
    assert spool.arrivals() == [keys[4], keys[3]]
    assert list(spool.all_keys()) == sorted(keys)
    assert all(spool.read(key) for key in keys)


def test_same_object_again_changes_nothing(spool: Spool) -> None:
    first = spool.receive(data_set(), meta(), at=AT)
    spool.indexed(dict.fromkeys([first.key], 0))
    before = {name: (spool.root / name).stat().st_mtime_ns for name in files(spool)}
    again = spool.receive(data_set(), meta(), at=AT + dt.timedelta(days=1))
    assert again == Receipt(outcome=Outcome.DUPLICATE, key=first.key)
    assert {name: (spool.root / name).stat().st_mtime_ns for name in files(spool)} == before
    assert spool.arrivals() == []


def test_duplicate_over_another_association_is_a_duplicate(spool: Spool) -> None:
    spool.receive(data_set(), meta())
    other = FileMeta(
        sop_class_uid=CT, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT, calling_ae_title="OTHER_PACS_16CHR"
    )
    assert spool.receive(data_set(), other).outcome is Outcome.DUPLICATE


def test_other_transfer_syntax_leaves_the_first(spool: Spool) -> None:
    first = spool.receive(data_set(), meta())
    again = spool.receive(data_set(syntax=IMPLICIT), meta(syntax=IMPLICIT))
    assert again == Receipt(outcome=Outcome.OTHER_SYNTAX, key=first.key)
    assert read_meta(spool.path(first.key)).transfer_syntax_uid == EXPLICIT
    assert spool.quarantined() == []


def test_same_uid_other_content_is_quarantined_once(spool: Spool) -> None:
    first = spool.receive(data_set(), meta())
    other = data_set(study="1.2.3.4", pixels=bytes(range(128)))
    conflict = spool.receive(other, meta(), at=AT)
    assert conflict.outcome is Outcome.CONFLICT
    assert conflict.first_time
    assert spool.read(first.key).endswith(data_set())
    (held,) = spool.quarantined()
    assert (held.key, held.at, held.path) == (first.key, AT, conflict.quarantined)
    assert "received first" in held.reason
    assert held.path.read_bytes().endswith(other)
    note = json.loads(held.path.with_suffix(".json").read_text())
    assert note["sop_instance_uid"] == INSTANCE
    assert note["sha256_of_data_set"] == hashlib.sha256(other).hexdigest()
    assert note["calling_ae_title"] == "PACS"

    again = spool.receive(other, meta())
    assert (again.outcome, again.first_time) == (Outcome.CONFLICT, False)
    assert spool.receive(data_set(pixels=b"\7" * 128), meta()).first_time
    assert len(spool.quarantined()) == 2
    assert not list((spool.root / "incoming").iterdir())


def test_conflict_whose_note_was_lost_is_told_again(spool: Spool) -> None:
    spool.receive(data_set(), meta())
    other = data_set(pixels=b"\7" * 128)
    spool.receive(other, meta())
    (held,) = spool.quarantined()
    held.path.with_suffix(".json").unlink()
    assert "missing" in spool.quarantined()[0].reason
    assert spool.receive(other, meta()).first_time
    assert "received first" in spool.quarantined()[0].reason


def test_conflict_is_noticed_after_the_first_megabyte(spool: Spool) -> None:
    pixels = bytearray(2_500_000)
    spool.receive(data_set(pixels=bytes(pixels)), meta())
    pixels[-1] = 1
    assert spool.receive(data_set(pixels=bytes(pixels)), meta()).outcome is Outcome.CONFLICT


def corrected(name: str = "OTHER^NAME") -> bytes:
    return data_set(name=name)


def earlier(spool: Spool) -> list[bytes]:
    return [p.read_bytes() for p in sorted((spool.root / "earlier").rglob("*.dcm"), key=lambda p: p.stat().st_mtime_ns)]


def test_a_correction_takes_the_place_and_both_are_kept(spool: Spool) -> None:
    first = spool.receive(data_set(), meta())
    spool.indexed({first.key: spool.number(first.key)})
    again = spool.receive(corrected(), meta(), at=AT, may_correct=True)
    assert again == Receipt(outcome=Outcome.CORRECTED, key=first.key)
    assert spool.read(first.key).endswith(corrected())
    assert read_meta(spool.path(first.key)).received_at == AT
    assert [raw.endswith(data_set()) for raw in earlier(spool)] == [True]
    assert spool.arrivals() == [first.key]
    assert (spool.quarantined(), list((spool.root / "incoming").iterdir())) == ([], [])
    # a third one; and back to the first
    assert spool.receive(corrected("THIRD^NAME"), meta(), may_correct=True).outcome is Outcome.CORRECTED
    assert spool.receive(data_set(), meta(), may_correct=True).outcome is Outcome.CORRECTED
    assert spool.read(first.key).endswith(data_set())
    assert len(earlier(spool)) == 3


def test_who_may_not_correct_changes_nothing(spool: Spool) -> None:
    first = spool.receive(data_set(), meta())
    assert spool.receive(corrected(), meta()).outcome is Outcome.CONFLICT
    (held,) = spool.quarantined()
    assert '"correct"' in held.reason
    assert spool.read(first.key).endswith(data_set())
    assert spool.receive(corrected(), meta(), may_correct=True).outcome is Outcome.CORRECTED
    # a device that sends again what it has brings nothing new
    assert spool.receive(data_set(), meta()).outcome is Outcome.DUPLICATE
    assert spool.read(first.key).endswith(corrected())
    # what had been put aside has its place now
    assert spool.quarantined() == []
    assert list((spool.root / "quarantine").iterdir()) == []


def test_who_may_correct_may_not_change_the_image(spool: Spool) -> None:
    first = spool.receive(data_set(), meta())
    assert spool.receive(data_set(name="X", pixels=b"\1" * 128), meta(), may_correct=True).outcome is Outcome.CONFLICT
    (held,) = spool.quarantined()
    assert "they differ in (7FE0,0010)" in held.reason
    assert spool.read(first.key).endswith(data_set())
    assert earlier(spool) == []


def test_a_correction_in_another_transfer_syntax_is_for_a_person(spool: Spool) -> None:
    first = spool.receive(data_set(), meta())
    same = data_set(syntax=IMPLICIT)
    assert spool.receive(same, meta(syntax=IMPLICIT), may_correct=True).outcome is Outcome.OTHER_SYNTAX
    other = data_set(syntax=IMPLICIT, name="OTHER^NAME")
    assert spool.receive(other, meta(syntax=IMPLICIT)).outcome is Outcome.OTHER_SYNTAX
    assert spool.receive(other, meta(syntax=IMPLICIT), may_correct=True).outcome is Outcome.CONFLICT
    (held,) = spool.quarantined()
    assert "another transfer syntax" in held.reason
    assert spool.read(first.key).endswith(data_set())


def test_an_arrival_that_was_read_takes_no_newer_one_along(spool: Spool) -> None:
    key = spool.receive(data_set(), meta()).key
    number = spool.number(key)
    spool.receive(corrected(), meta(), may_correct=True)
    assert spool.number(key) != number
    spool.indexed({key: number})
    assert spool.arrivals() == [key]
    spool.indexed({key: spool.number(key)})
    assert spool.arrivals() == []


def _die_before(call: int) -> None:
    """End this process before its n-th step on the disk."""
    steps = iter(range(1, 1000))

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            if next(steps) >= call:
                os._exit(9)
            return function(*args, **kwargs)

        return step

    for name in ("link", "fsync", "rename", "replace", "mkdir", "unlink"):
        setattr(os, name, dying(getattr(os, name)))


@pytest.mark.parametrize("call", range(1, 15))
def test_a_correction_that_is_cut_off_leaves_one_of_the_two_and_is_made_up_for(spool: Spool, call: int) -> None:
    """The sender, which heard nothing, sends again."""
    key = spool.receive(data_set(), meta()).key
    spool.indexed({key: spool.number(key)})
    child = os.fork()
    if not child:
        _die_before(call)
        spool.receive(corrected(), meta(), may_correct=True)
        os._exit(0)
    done = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    raw = spool.read(key)
    assert raw.endswith(corrected() if done else (data_set(), corrected()))
    if raw.endswith(corrected()):
        assert [r.endswith(data_set()) for r in earlier(spool)] == [True]
    after = Spool(spool.root)
    after.prepare()
    if raw.endswith(corrected()):
        assert after.arrivals() == [key]
    assert list((spool.root / "incoming").iterdir()) == []
    outcome = after.receive(corrected(), meta(), may_correct=True).outcome
    assert outcome in {Outcome.CORRECTED, Outcome.DUPLICATE}
    assert after.read(key).endswith(corrected())
    assert after.arrivals() == [key]
    assert [r.endswith(data_set()) for r in earlier(after)] == [True]
    assert list((spool.root / "incoming").iterdir()) == []


def test_corrections_at_once_lose_none(spool: Spool) -> None:
    key = spool.receive(data_set(), meta()).key
    names = [f"NAME^{n}" for n in range(8)]
    threads = [
        threading.Thread(target=lambda n=n: spool.receive(corrected(n), meta(), may_correct=True)) for n in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [spool.read(key), *earlier(spool)]
    assert sorted(n for n in names for raw in kept if raw.endswith(corrected(n))) == names
    assert len(kept) == 9


def test_names_never_come_from_the_peer(spool: Spool) -> None:
    hostile = "../../x"
    key = spool.receive(data_set(instance=hostile), meta(hostile)).key
    assert key == key_of(hostile)
    assert files(spool) == [f"instances/{key[:2]}/{key}.dcm", f"new/{key}"]


@pytest.mark.parametrize("key", ["", "../" * 10, "g" * 64, "A" * 64, "a" * 63, "a" * 65])
def test_what_is_no_key_is_no_path(spool: Spool, key: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hexadecimal digits"):
        spool.path(key)
    with pytest.raises(ValueError, match="64 lower-case hexadecimal digits"):
        spool.indexed(dict.fromkeys([key], 0))


def test_reading_what_is_not_there_is_unavailable(spool: Spool) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        spool.read("a" * 64)


# --- the disk ----------------------------------------------------------------------------------------------------------


def test_reserve_refuses_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, reserve_mb=100)
    spool.prepare()
    real = os.statvfs(tmp_path)

    def full(path: object) -> os.statvfs_result:
        values = list(real)
        values[1], values[4] = 4096, 99_999_999 // 4096
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(Refused, match="reserve") as refused:
        spool.receive(data_set(), meta())
    assert refused.value.status == 0xA700
    assert files(spool) == []
    monkeypatch.undo()
    assert spool.receive(data_set(), meta()).outcome is Outcome.STORED


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
def test_disk_error_is_a700_and_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*args: object, **kwargs: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(Refused, match="No space left on device") as refused:
        spool.receive(data_set(), meta())
    assert refused.value.status == 0xA700
    assert str(spool.root) not in str(refused.value)
    monkeypatch.undo()
    assert files(spool) == []
    assert spool.receive(data_set(), meta()).outcome is Outcome.STORED


def test_disk_error_half_way_through_leaves_nothing(spool: Spool) -> None:
    def parts() -> object:
        yield data_set()[:50]
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(Refused, match="Input/output error"):
        spool.receive(parts(), meta())  # type: ignore[arg-type]
    assert files(spool) == []


def test_object_that_could_not_be_announced_is_announced_when_it_comes_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(source: object, target: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(Refused):
        spool.receive(data_set(), meta())
    monkeypatch.undo()
    assert spool.arrivals() == []
    assert spool.receive(data_set(), meta()).outcome is Outcome.DUPLICATE
    assert spool.arrivals() == [key_of(INSTANCE)]
    assert not list((spool.root / "incoming").iterdir())


def test_full_quarantine_is_a700(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.receive(data_set(), meta())

    def fails(self: Path, target: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(Refused, match="No space"):
        spool.receive(data_set(pixels=b"\7" * 128), meta())
    monkeypatch.undo()
    assert not list((spool.root / "incoming").iterdir())
    # it was not acknowledged, so it is told when it comes again
    assert spool.receive(data_set(pixels=b"\7" * 128), meta()).first_time


def test_broken_file_in_its_place_is_not_acknowledged(spool: Spool) -> None:
    path = spool.path(spool.receive(data_set(), meta()).key)
    path.write_bytes(b"")
    with pytest.raises(Refused):
        spool.receive(data_set(), meta())


def test_spool_whose_disk_has_gone_is_not_made_anew(spool: Spool, tmp_path: Path) -> None:
    spool.root.rename(tmp_path / "away")
    spool.root.mkdir()
    with pytest.raises(Refused):
        spool.receive(data_set(), meta())
    assert list(spool.root.iterdir()) == []


def test_write_durability_flushes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", durability="write")
    spool.prepare()

    def forbidden(fd: int) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "fsync", forbidden)
    assert spool.receive(data_set(), meta()).outcome is Outcome.STORED
    assert spool.receive(data_set(), meta()).outcome is Outcome.DUPLICATE
    assert spool.receive(data_set(pixels=b"\7" * 128), meta()).outcome is Outcome.CONFLICT


def test_commit_flushes_the_file_before_it_has_a_name_and_the_name_before_it_returns(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def watch_fsync(fd: int) -> None:
        steps.append("flush " + str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix(str(spool.root) + "/"))
        fsync(fd)

    def watch_link(source: str, target: str) -> None:
        link(source, target)
        steps.append(f"link {Path(target).relative_to(spool.root)}")

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "link", watch_link)
    key = spool.receive(data_set(), meta()).key
    assert steps[0].startswith(f"flush incoming/{key}.")
    leaf = f"instances/{key[:2]}"
    assert steps[1:] == [f"link {leaf}/{key}.dcm", "flush new"]
    steps.clear()
    # a duplicate may overtake the thread that links the first, or come after the indexer
    spool.receive(data_set(), meta())
    assert steps == [f"flush {leaf}", "flush instances"]


def test_object_leaves_the_arrivals_when_its_lasting_name_is_on_the_disk(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = spool.receive(data_set(), meta()).key
    flushed: list[str] = []
    fsync = os.fsync

    def watch(fd: int) -> None:
        assert spool.arrivals() == [key]
        flushed.append(str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(spool.root)))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    # what is not there needs no flush, and harms nothing
    spool.indexed(dict.fromkeys([key, key_of("1.2.3")], 0))
    assert flushed == [f"instances/{key[:2]}", "instances"]
    assert spool.arrivals() == []


def test_object_stays_among_the_arrivals_when_its_lasting_name_cannot_be_flushed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = spool.receive(data_set(), meta()).key

    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        spool.indexed(dict.fromkeys([key], 0))
    assert spool.arrivals() == [key]


def test_many_folders_are_flushed_with_one_call(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [spool.receive(data_set(instance=f"1.2.{n}"), meta(f"1.2.{n}")).key for n in range(40)]
    monkeypatch.setattr(os, "fsync", lambda fd: pytest.fail("flushed one by one"))
    spool.indexed(dict.fromkeys(keys, 0))
    assert spool.arrivals() == []
    assert len(list(spool.all_keys())) == 40


def test_file_system_that_cannot_be_flushed_as_a_whole_is_flushed_folder_by_folder(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [spool.receive(data_set(instance=f"1.2.{n}"), meta(f"1.2.{n}")).key for n in range(20)]
    flushed: list[int] = []
    monkeypatch.setattr("service.store.spool.flush_file_system", lambda folder: False)
    monkeypatch.setattr(os, "fsync", flushed.append)
    spool.indexed(dict.fromkeys(keys, 0))
    assert len(flushed) >= 20
    assert spool.arrivals() == []


def test_threads_that_wait_for_a_flush_share_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[set[int]] = []
    named: set[int] = set()
    first, go_on = threading.Event(), threading.Event()

    def slow(folder: Path) -> None:
        flushes.append(set(named))
        first.set()
        assert go_on.wait(10)

    monkeypatch.setattr(disk, "flush_folder", slow)
    flush = disk.GroupFlush(tmp_path)

    def work(number: int) -> None:
        named.add(number)
        flush()
        assert any(number in covered for covered in flushes)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(9)]
    threads[0].start()
    assert first.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(named) < 9:
        pass
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(flushes) <= 3
    assert flushes[-1] == set(range(9))


def test_flush_that_failed_is_nobody_s_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = disk.GroupFlush(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "flush_folder", lambda folder: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        with pytest.raises(OSError, match="no"):
            flush()
    flushed: list[Path] = []
    monkeypatch.setattr(disk, "flush_folder", flushed.append)
    flush()
    assert flushed == [tmp_path]


def test_name_that_a_power_failure_took_is_given_again(spool: Spool) -> None:
    key = spool.receive(data_set(), meta()).key
    # the folders under instances/ were not flushed yet: the link and the folders are gone
    spool.path(key).unlink()
    spool.path(key).parent.rmdir()
    Spool(spool.root).prepare()
    assert list(spool.all_keys()) == spool.arrivals() == [key]
    assert spool.read(key).endswith(data_set())
    assert spool.receive(data_set(), meta()).outcome is Outcome.DUPLICATE


def test_objects_of_earlier_versions_stay_where_they_are_and_are_found(spool: Spool) -> None:
    key = spool.receive(data_set(), meta()).key
    deep = spool.root / "instances" / key[:2] / key[2:4] / f"{key}.dcm"
    deep.parent.mkdir()
    spool.path(key).rename(deep)
    again = Spool(spool.root)
    again.prepare()
    assert (again.path(key), list(again.all_keys())) == (deep, [key])
    assert again.receive(data_set(), meta()).outcome is Outcome.DUPLICATE
    other = again.receive(data_set(instance="1.2.3"), meta("1.2.3")).key
    assert again.path(other).parent == again.root / "instances" / other[:2]
    assert list(again.all_keys()) == sorted([key, other])


# --- piece by piece ----------------------------------------------------------------------------------------------------


def test_draft_is_looked_over_before_it_is_kept(spool: Spool) -> None:
    data = data_set(pixels=os.urandom(200_000))
    draft = spool.begin(meta())
    draft.write(data[:10])
    draft.write(memoryview(data)[10:100_000])
    draft.write(bytearray(data[100_000:]))
    with draft.view() as (view, give_back):
        assert view == data
        give_back()
        assert bytes(view) == data
    assert spool.keep(draft, at=AT).outcome is Outcome.STORED
    assert read_meta(spool.path(key_of(INSTANCE))).received_at == AT
    draft.discard()
    assert spool.read(key_of(INSTANCE)).endswith(data)


def test_draft_without_a_byte_is_a_file_without_a_data_set(spool: Spool) -> None:
    draft = spool.begin(meta())
    with draft.view() as (view, _):
        assert bytes(view) == b""
    spool.keep(draft)
    path = spool.path(key_of(INSTANCE))
    assert path.stat().st_size == read_meta(path).dataset_offset


def test_draft_that_is_thrown_away_leaves_nothing(spool: Spool) -> None:
    draft = spool.begin(meta())
    draft.write(b"some")
    # a small one is in memory until it is kept
    assert files(spool) == []
    draft.write(bytes(70_000))
    assert len(files(spool)) == 1
    draft.discard()
    draft.discard()
    assert files(spool) == []


def test_reserve_that_is_reached_half_way_refuses(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.draft.ROOM_CHECK_BYTES", 100_000)
    draft = spool.begin(meta())
    draft.write(bytes(90_000))
    monkeypatch.setattr(spool, "_reserve", 1 << 62)
    draft.write(bytes(9999))
    with pytest.raises(Refused, match="reserve"):
        draft.write(bytes(1))
    draft.discard()
    assert files(spool) == []


# --- after a crash -----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs but what the operating system does."""


def crash(spool: Spool, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool) -> None:
    """Receive an object, and end inside the first call of ``owner.name``, without any clean-up."""
    real = getattr(owner, name)

    def killed(*args: object, **kwargs: object) -> None:
        if after:
            real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        patch.setattr(os, "unlink", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            spool.receive(data_set(), meta())


@pytest.mark.parametrize(
    ("owner", "name", "after", "kept"),
    [
        (os, "write", True, False),
        (os, "fsync", True, False),
        (os, "link", False, False),
        (os, "link", True, True),
        (os, "rename", False, True),
        (os, "rename", True, True),
    ],
)
def test_kill_at_each_step_leaves_all_or_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, after: bool, kept: bool
) -> None:
    crash(spool, monkeypatch, owner, name, after=after)
    Spool(spool.root).prepare()
    key = key_of(INSTANCE)
    assert list(spool.all_keys()) == ([key] if kept else [])
    assert spool.arrivals() == ([key] if kept else [])
    assert not list((spool.root / "incoming").iterdir())
    # the sender got no answer and sends it again
    assert spool.receive(data_set(), meta()).outcome is (Outcome.DUPLICATE if kept else Outcome.STORED)
    assert spool.read(key).endswith(data_set())
    assert spool.arrivals() == [key]


def test_object_that_was_linked_and_not_announced_is_found_without_a_restart(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(spool, monkeypatch, os, "link", after=True)
    assert list(spool.all_keys()) == [key_of(INSTANCE)]
    assert spool.arrivals() == []
    assert spool.receive(data_set(), meta()).outcome is Outcome.DUPLICATE
    assert spool.arrivals() == [key_of(INSTANCE)]


def test_files_of_a_living_receiver_are_left_alone(spool: Spool) -> None:
    data = data_set(pixels=bytes(100_000))
    started, go_on = threading.Event(), threading.Event()

    def slow() -> object:
        yield data[:70_000]
        started.set()
        assert go_on.wait(10)
        yield data[70_000:]

    receipts: list[Receipt] = []
    thread = threading.Thread(target=lambda: receipts.append(spool.receive(slow(), meta())))  # type: ignore[arg-type]
    thread.start()
    assert started.wait(10)
    (spool.root / "incoming" / "left-behind").write_bytes(b"")
    Spool(spool.root).prepare()
    assert [p.name[:64] for p in (spool.root / "incoming").iterdir()] == [key_of(INSTANCE)]
    go_on.set()
    thread.join(10)
    assert [r.outcome for r in receipts] == [Outcome.STORED]


def test_many_threads_with_the_same_object_store_it_once(spool: Spool) -> None:
    receipts: list[Receipt] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        receipts.append(spool.receive(data_set(), meta()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(r.outcome for r in receipts) == [Outcome.DUPLICATE] * 7 + [Outcome.STORED]
    assert files(spool) == [f"instances/{(k := key_of(INSTANCE))[:2]}/{k}.dcm", f"new/{k}"]


def test_rest_of_a_crash_that_something_else_links_to_is_cleared_away(spool: Spool, tmp_path: Path) -> None:
    rest = spool.root / "incoming" / f"{key_of(INSTANCE)}.0123456789abcdef"
    rest.write_bytes(b"half an object")
    # a copy by hard links, as backup programs make it
    os.link(rest, tmp_path / "backup")
    spool.prepare()
    assert files(spool) == []
    assert list(spool.all_keys()) == []


# --- a spool that cannot be used ---------------------------------------------------------------------------------------


def test_spool_that_is_a_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(ConfigurationError, match=r"spool .* cannot be used .*\[storage\] spool"):
        Spool(tmp_path / "spool").prepare()


def test_spool_that_cannot_be_written_is_a_configuration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    # root may write anywhere, so the refusal is played
    monkeypatch.setattr(os, "link", denied)
    with pytest.raises(ConfigurationError, match=r"Permission denied"):
        Spool(tmp_path / "spool").prepare()
    assert files(Spool(tmp_path / "spool")) == []


def test_spool_on_two_file_systems_is_a_configuration_error(tmp_path: Path) -> None:
    shm = Path("/dev/shm")  # noqa: S108 - a second file system, not a place for files
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    elsewhere = shm / f"lms-sr-test-{os.getpid()}"
    elsewhere.mkdir()
    try:
        (tmp_path / "instances").symlink_to(elsewhere)
        with pytest.raises(ConfigurationError, match="different file systems"):
            Spool(tmp_path).prepare()
    finally:
        elsewhere.rmdir()


def test_preparing_twice_keeps_everything(spool: Spool) -> None:
    key = spool.receive(data_set(syntax=JPEG2000), meta(syntax=JPEG2000)).key
    spool.prepare()
    assert spool.arrivals() == [key]
    assert list(spool.all_keys()) == [key]


_KILLED = """
import os, signal, sys
from pathlib import Path
from service.store import disk
from service.store.spool import FileMeta, Spool
link = os.link
def killed(source, target):
    link(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
spool = Spool(Path(sys.argv[1]))
spool.prepare()
os.link = killed
spool.receive(bytes.fromhex(sys.argv[2]), FileMeta(sop_class_uid=sys.argv[3], sop_instance_uid=sys.argv[4], transfer_syntax_uid=sys.argv[5]))
"""


def test_kill_9_between_link_and_rename_recovers(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "spool"), data_set().hex(), CT, INSTANCE, EXPLICIT]
    done = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False, timeout=60, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    spool = Spool(tmp_path / "spool")
    assert len(files(spool)) == 2
    assert spool.arrivals() == []
    spool.prepare()
    assert spool.arrivals() == list(spool.all_keys()) == [key_of(INSTANCE)]
    assert spool.receive(data_set(), meta()).outcome is Outcome.DUPLICATE
