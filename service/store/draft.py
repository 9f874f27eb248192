"""An object on its way into the spool: a temporary file that is written piece by piece, looked over, and kept or thrown away."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from service.store.disk import Piece, write_all
from service.store.file_meta import FileMeta
from service.store.spares import Spares

#: so often, in bytes written, somebody asks whether the disk still has room
ROOM_CHECK_BYTES: Final = 64 << 20
#: objects up to this size come into memory first: those that are refused never touch the disk
HELD_BYTES: Final = 64 << 10

#: names that no other process uses, without asking the system for random bytes each time
_run = secrets.token_hex(6)
_numbers = itertools.count()


def renew_names() -> None:
    """Let names of this process differ from those of the one that it was forked from."""
    global _run  # noqa: PLW0603 - one process, one prefix
    _run = secrets.token_hex(6)


os.register_at_fork(after_in_child=renew_names)


class Draft:
    """What has come of an object: a small one in memory, a larger one in a temporary file in ``incoming/``.

    The file is locked for as long as it is open: the sweep leaves what is held alone.

    Parameters
    ----------
    folder, key:
        Where the file lies, and the beginning of its name.
    meta:
        Whose object it is; becomes the head of the file.
    has_room:
        Asked now and then; raises ``Refused`` when nothing more is to be written.
    spares:
        Files that were made beforehand.
    """

    def __init__(self, folder: str, key: str, meta: FileMeta, has_room: Callable[[], None], spares: Spares) -> None:
        self.key = key
        self.meta = meta
        self.path = f"{folder}/{key}.{_run}{next(_numbers):x}"
        self.fd = -1
        self.size = 0
        self._has_room = has_room
        self._spares = spares
        self._next_check = ROOM_CHECK_BYTES
        self._held = bytearray(meta.encode())
        self.offset = len(self._held)

    def write(self, piece: Piece) -> None:
        """Add a piece of the data set; it is not kept hold of.

        Raises
        ------
        OSError
            The disk does not take it.
        Refused
            The disk reserve is reached.
        """
        self.size += len(piece)
        if self.fd < 0:
            if len(self._held) + len(piece) <= HELD_BYTES:
                self._held += piece
                return
            self.to_file()
        write_all(self.fd, piece)
        if self.size >= self._next_check:
            self._next_check = self.size + ROOM_CHECK_BYTES
            self._has_room()

    def to_file(self) -> None:
        """Put what was held in memory into the file; nothing where it is there.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        if self.fd < 0:
            self.fd = self._spares.take(self.path)
            if self.fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                self.fd = os.open(self.path, flags, 0o600)
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(self.fd, self._held)
            self._held = bytearray()

    @contextmanager
    def view(self) -> Iterator[tuple[memoryview, Callable[[], None]]]:
        """Give the data set, from memory or as a mapped file, and a function that gives back the memory of what was looked at.

        The mapping counts as this process's memory page by page, as it is read; whoever reads much of a large object calls the
        function now and then.

        Raises
        ------
        OSError
            The file cannot be mapped.
        """
        if self.fd < 0:
            with memoryview(self._held) as held, held[self.offset :] as data:
                yield data, _nothing
            return
        with mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                with view[self.offset :] as data:
                    yield data, lambda: _give_back(mapped)
            finally:
                view.release()

    def close(self) -> None:
        """Close the file, whatever its name is by now."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def discard(self) -> None:
        """Throw it away; nothing where it was kept or discarded before."""
        if self.fd >= 0:
            with suppress(OSError):
                os.unlink(self.path)  # noqa: PTH108 - a string, not a path
            self.close()


def _nothing() -> None:
    """Give back what is no mapping."""


def _give_back(mapped: mmap.mmap) -> None:
    # only where the system knows how; elsewhere the pages stay until the mapping ends
    if hasattr(mapped, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
