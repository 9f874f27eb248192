"""Which objects were asked for as earlier examinations, as the spool knows it: an empty file for each, called by its key.

Written before a node is asked, since what it sends to the receiver (C-MOVE) looks like any other arrival. So an index that is made anew
from the spool alone does not take for news what was fetched.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from service.errors import StoreUnavailable
from service.store.disk import flush_folder


class Asked:
    """The folder of these files.

    Parameters
    ----------
    folder:
        Where they lie.
    sync:
        Put their names on the disk before ``remember`` returns.
    """

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self._folder = folder
        self._sync = sync

    def remember(self, keys: Iterable[str]) -> None:
        """Remember that the objects with these keys are asked for.

        Raises
        ------
        StoreUnavailable
            The disk does not take it.
        """
        try:
            known = {p.name for p in self._folder.iterdir()}
            if not (new := set(keys) - known):
                return
            for key in new:
                with suppress(FileExistsError):
                    (self._folder / key).touch(mode=0o600, exist_ok=False)
            if self._sync:
                flush_folder(self._folder)
        except OSError as error:
            msg = f"spool: what is asked for cannot be written down: {error.strerror or type(error).__name__}"
            raise StoreUnavailable(msg) from error

    def knows(self, key: str) -> bool:
        """Say whether the object with this key was asked for."""
        return (self._folder / key).exists()


def is_host_name(address: str) -> bool:
    """Say whether a Source Presentation Address is a name.

    Whoever sends us something is known by an IP address. What came by C-GET has the host of the node as the settings have it: a name there
    tells it from an arrival, in spools from before `Asked`, too; an IP address tells nothing.
    """
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return bool(address)
    return False
