"""What is put aside stays, with a note of why, and is told once."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
from pathlib import Path

import pytest

from service.store.file_meta import FileMeta
from service.store.quarantine import Quarantine, Quarantined
from service.store.spool import FileMeta as SpoolMeta
from service.store.spool import Spool, key_of
from tests.dicom_bytes import CT, EXPLICIT, INSTANCE, data_set

KEY, DIGEST = "a" * 64, "0123456789abcdef" * 4
META = FileMeta(sop_class_uid=CT, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT, calling_ae_title="PACS")
AT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    for name in ("aside", "drafts"):
        (tmp_path / name).mkdir()
    return Quarantine(tmp_path / "aside", tmp_path / "drafts", sync=True)


def put(quarantine: Quarantine, source: Path, *, digest: str = DIGEST, reason: str = "why") -> tuple[Path, bool]:
    source.write_bytes(b"content")
    os.utime(source, (AT.timestamp(), AT.timestamp()))
    fd = os.open(source, os.O_RDONLY)
    try:
        return quarantine.put(fd, source, KEY, digest, META, reason)
    finally:
        os.close(fd)


def test_object_and_note_lie_side_by_side(quarantine: Quarantine, tmp_path: Path) -> None:
    path, first = put(quarantine, tmp_path / "source")
    assert first
    assert path == tmp_path / "aside" / f"{KEY}-0123456789abcdef.dcm"
    assert path.read_bytes() == b"content"
    note = json.loads(path.with_suffix(".json").read_text())
    assert (note["reason"], note["key"], note["sha256_of_data_set"]) == ("why", KEY, DIGEST)
    assert (note["sop_instance_uid"], note["calling_ae_title"]) == (INSTANCE, "PACS")
    assert quarantine.list() == [Quarantined(key=KEY, reason="why", at=AT, path=path)]
    assert list((tmp_path / "drafts").iterdir()) == []


def test_same_content_again_is_not_told_again_and_the_first_reason_stays(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    put(quarantine, tmp_path / "source")
    assert not put(quarantine, tmp_path / "again", reason="another")[1]
    assert [q.reason for q in quarantine.list()] == ["why"]
    assert put(quarantine, tmp_path / "other", digest="f" * 64)[1]
    assert len(quarantine.list()) == 2


@pytest.mark.parametrize("content", [None, b"", b"{half a no", b"\xff\xfe"])
def test_note_that_is_lost_or_broken_does_not_hide_the_object(
    quarantine: Quarantine, tmp_path: Path, content: bytes | None
) -> None:
    path, _ = put(quarantine, tmp_path / "source")
    note = path.with_suffix(".json")
    if content is None:
        note.unlink()
    else:
        note.write_bytes(content)
    (held,) = quarantine.list()
    assert held.reason == "the note that said why is missing"


@pytest.mark.parametrize("content", ["[]", '"text"', "3", "null"])
def test_note_that_is_something_else_does_not_hide_the_object(
    quarantine: Quarantine, tmp_path: Path, content: str
) -> None:
    path, _ = put(quarantine, tmp_path / "source")
    path.with_suffix(".json").write_text(content)
    assert [q.reason for q in quarantine.list()] == ["the note that said why is missing"]


def test_oldest_comes_first(quarantine: Quarantine, tmp_path: Path) -> None:
    newer, _ = put(quarantine, tmp_path / "a", digest="1" * 64)
    older, _ = put(quarantine, tmp_path / "b", digest="2" * 64)
    os.utime(older, (1, 1))
    assert [q.path for q in quarantine.list()] == [older, newer]


def test_full_disk_is_an_error_and_leaves_no_draft(
    quarantine: Quarantine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            put(quarantine, tmp_path / "source")
    assert list((tmp_path / "drafts").iterdir()) == []
    # it was not told, so it is told when it comes again
    assert put(quarantine, tmp_path / "again")[1]


def test_without_durability_nothing_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(fd: int) -> None:
        raise AssertionError

    for name in ("aside", "drafts"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(os, "fsync", forbidden)
    assert put(Quarantine(tmp_path / "aside", tmp_path / "drafts", sync=False), tmp_path / "source")[1]


# --- what the indexer puts aside ---------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.prepare()
    return made


def test_object_that_cannot_be_used_stays_in_its_place_and_is_shown(spool: Spool) -> None:
    meta = SpoolMeta(sop_class_uid=CT, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT, address="10.0.0.1")
    key = spool.receive(data_set(), meta).key
    for _ in range(2):
        spool.put_aside(key, "cannot be parsed")
    (held,) = spool.quarantined()
    assert (held.key, held.reason) == (key, "cannot be parsed")
    assert held.path.read_bytes() == spool.read(key)
    assert json.loads(held.path.with_suffix(".json").read_text())["address"] == "10.0.0.1"
    assert list(spool.all_keys()) == [key]


def test_object_whose_head_is_broken_is_put_aside_too(spool: Spool) -> None:
    meta = SpoolMeta(sop_class_uid=CT, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT)
    key = spool.receive(data_set(), meta).key
    spool.path(key).write_bytes(b"garbage")
    spool.put_aside(key, "is no DICOM file")
    (held,) = spool.quarantined()
    assert held.path.read_bytes() == b"garbage"
    assert json.loads(held.path.with_suffix(".json").read_text())["sop_instance_uid"] == ""


def test_object_that_has_gone_cannot_be_put_aside(spool: Spool) -> None:
    with pytest.raises(OSError, match="No such file"):
        spool.put_aside(key_of(INSTANCE), "why")
    assert spool.quarantined() == []
