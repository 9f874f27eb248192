"""Files that are made before they are needed: while a sender reads our answer and makes its next request, and not while it waits.

To make a file is the dearest step of keeping an object: 0.5 to 0.8 ms on the ext4 disk that docs/performance.md was measured on, where
writing 512 KB took 0.3 ms and giving the file a name 0.03 ms. The files have no name (``O_TMPFILE``) until they are used, so that none is
left behind, whatever ends the process.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections import deque
from contextlib import suppress
from typing import Final

#: more are not kept at hand; each is an open descriptor
_MOST: Final = 16
#: the system, or the file system, knows no files without a name
_UNKNOWN: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})


class Spares:
    """Unnamed files in a folder; safe for use from several threads.

    Parameters
    ----------
    folder:
        Where they get a name, or on the same file system.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: deque[int] = deque()
        self._possible = hasattr(os, "O_TMPFILE")

    def make(self, most: int) -> None:
        """Make one more, where that is possible and there are fewer than ``most``.

        What goes wrong is told to whoever makes the file at need.
        """
        if not self._possible or len(self._files) >= min(most, _MOST):
            return
        try:
            fd = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._possible = error.errno not in _UNKNOWN
            return
        try:
            # as `Draft` needs it, once it has a name
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return
        self._files.append(fd)

    def take(self, path: str) -> int:
        """Give one the name ``path``, which nothing has.

        Returns its descriptor, locked; -1 where there is none, or it cannot be named so.
        """
        try:
            fd = self._files.pop()
        except IndexError:
            return -1
        try:
            # with a folder, so that Python calls linkat, which alone follows the link in /proc (open(2), O_TMPFILE)
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        except OSError:
            # another file system was mounted there since, say
            os.close(fd)
            return -1
        return fd

    def keep(self, most: int) -> None:
        """Give back what there is above ``most``."""
        with suppress(IndexError):
            while len(self._files) > most:
                os.close(self._files.pop())
