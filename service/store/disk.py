"""File work that the spool is made of."""

from __future__ import annotations

import hashlib
import os
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
