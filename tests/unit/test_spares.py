"""Files made beforehand: used where they can be, and never in the way where they cannot."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store import spares as module
from service.store.spares import Spares
from service.store.spool import Outcome, Spool, key_of, read_meta
from tests.dicom_bytes import INSTANCE, data_set
from tests.unit.test_spool import meta


@pytest.fixture
def spares(tmp_path: Path) -> Iterator[Spares]:
    made = Spares(str(tmp_path))
    yield made
    made.keep(0)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_spare_gets_a_name_when_it_is_used(spares: Spares, tmp_path: Path) -> None:
    spares.make(8)
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "named"
    fd = spares.take(str(path))
    os.write(fd, b"content")
    os.close(fd)
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_nlink == 1
    assert spares.take(str(tmp_path / "another")) == -1


def test_no_more_are_kept_than_are_of_use_and_all_are_given_back(spares: Spares) -> None:
    before = open_files()
    for _ in range(40):
        spares.make(3)
    assert open_files() - before == 3
    for _ in range(40):
        spares.make(100)
    assert open_files() - before == module._MOST
    spares.keep(2)
    assert open_files() - before == 2
    spares.keep(0)
    assert open_files() == before


def test_a_name_that_is_taken_is_never_written_over(spares: Spares, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"mine")
    before = open_files()
    spares.make(8)
    assert spares.take(str(tmp_path / "taken")) == -1
    assert (tmp_path / "taken").read_bytes() == b"mine"
    assert open_files() == before


@pytest.mark.parametrize(
    ("number", "asked"), [(errno.EOPNOTSUPP, 1), (errno.EISDIR, 1), (errno.ENOSPC, 3), (errno.ENOENT, 3)]
)
def test_a_file_system_without_them_is_asked_once(
    spares: Spares, monkeypatch: pytest.MonkeyPatch, number: int, asked: int
) -> None:
    calls = []

    def failing(*args: object) -> int:
        calls.append(args)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        for _ in range(3):
            spares.make(8)
    assert len(calls) == asked
    assert spares.take("unused") == -1


def test_a_system_without_them_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    spool.make_ready(1)
    assert spool.receive(data_set(), meta()).outcome is Outcome.STORED


@pytest.mark.parametrize("size", [128, 300_000])
def test_the_spool_keeps_the_same_with_and_without(tmp_path: Path, size: int) -> None:
    data = data_set(pixels=bytes(size))
    files = []
    for ready in (False, True):
        spool = Spool(tmp_path / str(ready))
        spool.prepare()
        if ready:
            spool.make_ready(1)
        assert spool.receive(data, meta()).outcome is Outcome.STORED
        path = spool.path(key_of(INSTANCE))
        assert read_meta(path).sop_instance_uid == INSTANCE
        files.append((path.read_bytes(), path.stat().st_mode, path.stat().st_nlink))
        assert list((spool.root / "incoming").iterdir()) == []
        spool.rest(0)
    assert files[0] == files[1]


def test_a_spool_on_another_disk_than_before_takes_nothing_of_the_old_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    spool.make_ready(1)
    spool.root.rename(tmp_path / "aside")
    other = Spool(tmp_path / "spool")
    other.prepare()
    # the spare is of the old folder, on the same disk: what is kept has its name in the new one, and only there
    assert spool.receive(data_set(), meta()).outcome is Outcome.STORED
    assert other.read(key_of(INSTANCE)).endswith(data_set())
    assert not [p for p in (tmp_path / "aside").rglob("*") if p.is_file()]


def test_many_threads_share_them(spares: Spares, tmp_path: Path) -> None:
    taken: list[int] = []

    def work(n: int) -> None:
        for i in range(50):
            spares.make(8)
            taken.append(spares.take(str(tmp_path / f"{n}-{i}")))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = [fd for fd in taken if fd >= 0]
    assert len(used) == len(set(used)) == len(list(tmp_path.iterdir()))
    for fd in used:
        os.close(fd)
