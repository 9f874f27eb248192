"""File work that the spool is made of."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

#: a piece of a data set
Piece = bytes | bytearray | memoryview

_CHUNK = 1 << 20


def write_all(fd: int, piece: Piece) -> None:
    """Write the whole of ``piece``; raises ``OSError``."""
    view = memoryview(piece).cast("B")
    while view:
        view = view[os.write(fd, view) :]


def flush_folder(folder: Path) -> None:
    """Put the names in ``folder`` on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def flush_file_system(folder: Path) -> bool:
    """Put everything on the file system of ``folder`` on the disk, with one call; False where the system has none for that.

    Raises
    ------
    OSError
        The disk does not take it.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)
    return True


class GroupFlush:
    """Flushes a folder, once for all who ask while a flush is under way: they share the next one.

    Safe for use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._begun = self._done = 0

    def __call__(self) -> None:
        """Return when every name that was in the folder before the call is on the disk.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        # one that has begun may have passed our name by; the one after it has not
        needed = self._begun + 1
        with self._turn:
            if self._done >= needed:
                return
            self._begun += 1
            flush_folder(self._folder)
            self._done = self._begun


def digest_from(fd: int, offset: int) -> str:
    """Return the SHA-256, in hexadecimal, of what follows ``offset``."""
    digest = hashlib.sha256()
    for chunk in _chunks(fd, offset):
        digest.update(chunk)
    return digest.hexdigest()


def same_bytes(fd: int, offset: int, other: Path, other_offset: int) -> bool:
    """Say whether two files are the same from ``offset`` and ``other_offset`` on."""
    with other.open("rb", buffering=0) as stream:
        if os.fstat(fd).st_size - offset != os.fstat(stream.fileno()).st_size - other_offset:
            return False
        pairs = zip(_chunks(fd, offset), _chunks(stream.fileno(), other_offset), strict=True)
        return all(mine == theirs for mine, theirs in pairs)


def _chunks(fd: int, offset: int) -> Iterator[bytes]:
    while chunk := os.pread(fd, _CHUNK, offset):
        offset += len(chunk)
        yield chunk
