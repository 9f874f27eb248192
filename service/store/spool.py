"""The spool: where received objects lie. It is the truth about receipt, and needs no database.

An object is acknowledged after this, in this order, each step of which a crash may follow:

1. its bytes are written to a temporary file in ``incoming/`` as they come, and flushed;
2. the file is linked to ``instances/ab/<key>.dcm``, never over an existing one. The key is the SHA-256 of the SOP Instance
   UID alone: no text of a peer's ever becomes a name, and the same UID under another study meets the first;
3. the temporary name is moved to ``new/<key>``, where the indexer finds it;
4. ``new/`` is flushed: one folder for all objects, so that associations which end an object at the same moment share one flush.

After a power failure an acknowledged object has at least its name in ``new/``, and ``prepare`` gives it the one under ``instances/``
again where that was lost. The folders under ``instances/`` are flushed when the indexer takes an object off ``new/``: many at once,
and with nobody waiting for an answer. What a crash leaves in ``incoming/`` was either linked, and is moved on, or was never
acknowledged, and goes; and the indexer reads every file without a row when it starts. So no state is reached in which an acknowledged
object is forgotten, and none in which half an object has a name.

``asked/`` says which objects were asked for as earlier examinations (`service.store.asked`).

The same SOP Instance UID again:

* same transfer syntax, same bytes: nothing changes (``DUPLICATE``);
* another transfer syntax: the first stays (``OTHER_SYNTAX``); lossy or not, one rendition is what we need;
* same transfer syntax, other patient, order or study description, all else the same (`service.read.corrections`), from a sender that
  may correct: both are kept, the newest takes the place under ``instances/``, and the one before lies in
  ``earlier/`` (``CORRECTED``). What has been put there is known for good: when another sender brings it again, nothing changes;
* same transfer syntax, other bytes: the first stays, the second goes to ``quarantine/`` with a note of why (``CONFLICT``). The
  sender is answered 0000H all the same. That is true: both are kept durably, which is all that success promises (PS3.4 B.2.3).
  A failure would be harm: a PACS repeats a failed C-STORE for hours, and holds up whatever stands behind it in its queue, for
  a matter that only a person can settle. The receiver logs it as an error, and ``quarantined`` lists it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields
from heapq import nsmallest
from pathlib import Path
from typing import Final, Literal

from service.errors import ConfigurationError, InputError, Refused, StoreUnavailable
from service.store.again import Again, Outcome, Receipt
from service.store.asked import Asked
from service.store.disk import GroupFlush, Piece, digest_from, flush_file_system, flush_folder
from service.store.draft import Draft
from service.store.file_meta import FileMeta, StoredMeta, read_meta
from service.store.quarantine import Quarantine, Quarantined
from service.store.spares import Spares

__all__ = ["Draft", "FileMeta", "Outcome", "Quarantined", "Receipt", "Spool", "StoredMeta", "key_of", "read_meta"]

_log = logging.getLogger("lms_sr.spool")

#: Refused: Out of Resources (PS3.4 Table B.2-1): the sender tries again later
OUT_OF_RESOURCES: Final = 0xA700
_KEY_LENGTH = 64
#: more folders than this are flushed together with their whole file system, where the operating system can do that
_FLUSHED_ONE_BY_ONE = 16
#: seconds for which the answer that there is room is believed; an object asks again by itself while it grows
_ROOM_SECONDS = 0.2
_FOLDERS = ("incoming", "new", "instances", "quarantine", "earlier", "asked")


#: copied for each key: to look the algorithm up by its name takes as long as the hash itself
_NO_BYTES_YET = hashlib.sha256()


def key_of(sop_instance_uid: str) -> str:
    """Return the key under which the instance lies: 64 hexadecimal digits."""
    digest = _NO_BYTES_YET.copy()
    digest.update(sop_instance_uid.encode())
    return digest.hexdigest()


class Spool:
    """Received objects on disk.

    Safe for use from several threads, and several processes on one file system.

    Parameters
    ----------
    root:
        The folder; made by ``prepare`` where it does not exist.
    durability:
        ``commit``: what was acknowledged survives a power failure. ``write``: it survives the end of the process, and what the
        operating system had not yet written is lost with the power.
    reserve_mb:
        Megabytes (1e6 bytes) of free space below which nothing more is taken.
    """

    def __init__(self, root: Path, *, durability: Literal["commit", "write"] = "commit", reserve_mb: int = 0) -> None:
        self.root = root
        self._sync = durability == "commit"
        self._reserve = reserve_mb * 1_000_000
        self._incoming, self._new, self._instances, aside, earlier, asked = (root / name for name in _FOLDERS)
        self._incoming_name, self._new_name, self._instances_name = map(
            str, (self._incoming, self._new, self._instances)
        )
        self._quarantine = Quarantine(aside, self._incoming, sync=self._sync)
        self._again = Again(self._quarantine, earlier, sync=self._sync)
        #: what was asked for as earlier examinations
        self.asked = Asked(asked, sync=self._sync)
        self._flush_new = GroupFlush(self._new)
        self._spares = Spares(self._incoming_name)
        #: on time.monotonic: until when nobody asks again whether there is room
        self._room_until = 0.0
        #: folders of folders, as earlier versions made them
        self._has_deep = False
        #: leaf folders that are known to be on the disk themselves
        self._durable: set[Path] = set()

    def prepare(self) -> None:
        """Make the folders, see that they can be used, and clear away what a crash left behind.

        Raises
        ------
        ConfigurationError
            The folder cannot be made or written, its file system knows no links, or its parts lie on different ones.
        """
        try:
            for folder in (self.root, *(self.root / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=folder is self.root, exist_ok=True)
            devices = {(self.root / name).stat().st_dev for name in _FOLDERS}
            probe = self.root / f"probe.{secrets.token_hex(8)}"
            linked = self._incoming / probe.name
            try:
                probe.write_bytes(b"")
                os.link(probe, linked)
            finally:
                probe.unlink(missing_ok=True)
                linked.unlink(missing_ok=True)
            if self._sync:
                flush_folder(self.root)
            self._has_deep = self._look_for_deep()
            self._sweep()
            self._name_again()
        except OSError as error:
            msg = (
                f"spool {self.root} cannot be used ({error.strerror or type(error).__name__}): let the service's user write there, "
                "or name another folder in [storage] spool"
            )
            raise ConfigurationError(msg) from error
        if len(devices) > 1:
            msg = f"spool {self.root}: its folders lie on different file systems; [storage] spool must be one"
            raise ConfigurationError(msg)

    def receive(
        self,
        parts: Piece | Iterable[Piece],
        meta: FileMeta,
        *,
        at: dt.datetime | None = None,
        may_correct: bool = False,
    ) -> Receipt:
        """Keep an object that is here already: `begin`, `Draft.write` and `keep` in one.

        Parameters
        ----------
        parts:
            The data set as received, whole or in pieces; not copied.
        meta:
            Whose it is, how it is encoded, and who sent it.
        at, may_correct:
            As in `keep`.

        Raises
        ------
        Refused
            A700: the reserve of free space is reached, or the disk does not take it. Nothing is left behind.
        """
        draft = self.begin(meta)
        try:
            with self.refusing(draft.key):
                for part in [parts] if isinstance(parts, Piece) else parts:
                    draft.write(part)
            return self.keep(draft, at=at, may_correct=may_correct)
        finally:
            draft.discard()

    def begin(self, meta: FileMeta) -> Draft:
        """Begin an object whose data set is still to come.

        Whoever writes to it minds `refusal`, and ends with `keep` or `Draft.discard`.

        Raises
        ------
        Refused
            A700: the reserve of free space is reached, or the disk does not take it.
        """
        key = key_of(meta.sop_instance_uid)
        now = time.monotonic()
        if now >= self._room_until:
            with self.refusing(key):
                self._check_reserve()
            self._room_until = now + _ROOM_SECONDS
        return Draft(self._incoming_name, key, meta, self._check_reserve, self._spares)

    def make_ready(self, senders: int) -> None:
        """Do beforehand what the next object of one of so many senders needs; for moments in which nobody waits. Raises nothing."""
        self._spares.make(senders)

    def rest(self, senders: int) -> None:
        """Give back what `make_ready` holds beyond what so many senders need."""
        self._spares.keep(senders)

    def keep(self, draft: Draft, *, at: dt.datetime | None = None, may_correct: bool = False) -> Receipt:
        """Keep what was written; when this returns, it is what ``durability`` promises. The draft is closed.

        Parameters
        ----------
        at:
            When it came (aware); becomes the file's time. None: now, by the file system.
        may_correct:
            Whether its sender may give what we hold another patient, order or study description.

        Raises
        ------
        Refused
            A700: the disk does not take it. Nothing is left behind.
        """
        try:
            return self._keep(draft, at, may_correct=may_correct)
        except (OSError, InputError, StoreUnavailable) as error:
            raise self.refusal(draft.key, error) from error

    @contextmanager
    def refusing(self, key: str) -> Iterator[None]:
        """Turn what goes wrong with the disk into A700 (a context manager)."""
        try:
            yield
        except (OSError, InputError, StoreUnavailable) as error:
            raise self.refusal(key, error) from error

    @staticmethod
    def refusal(key: str, error: Exception) -> Refused:
        """Log what went wrong with the disk; return how the sender hears of it."""
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        _log.error("spool_write_failed", extra={"ids": {"key": key, "reason": reason}})
        return Refused(f"spool: {reason}", OUT_OF_RESOURCES)

    def arrivals(self, limit: int = 1000) -> list[str]:
        """Return the keys that the indexer has not seen, oldest first, at most ``limit`` of them."""
        found: list[tuple[int, str]] = []
        with os.scandir(self._new) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if _is_key(entry.name):
                        found.append((entry.stat().st_mtime_ns, entry.name))
        return [name for _, name in nsmallest(limit, found)]

    def number(self, key: str) -> int:
        """Return the number of the file that is the object now: another one after a correction; 0: there is none."""
        try:
            return self.path(key).stat().st_ino
        except FileNotFoundError:
            return 0

    def indexed(self, read: Mapping[str, int]) -> None:
        """Take what was read (key → `number` before it was read) out of the arrivals; the objects stay, and so do newer arrivals.

        Until now ``new/`` was the name that a power failure cannot take away; from now on the one under ``instances/`` is.

        Raises
        ------
        OSError
            The disk does not take it; the keys stay among the arrivals.
        """
        names = [name for key in read if (name := self._new / _checked(key)).exists()]
        self._settle({self.path(name.name).parent for name in names})
        with self._again.alone():
            for name in names:
                number = read[name.name]
                with suppress(FileNotFoundError):
                    if not number or name.stat().st_ino == number:
                        name.unlink()

    def all_keys(self) -> Iterator[str]:
        """Iterate over the keys of all objects, in order."""
        for folder in sorted(p for p in self._instances.iterdir() if p.is_dir()):
            found = [p.stem for p in folder.iterdir() if p.suffix == ".dcm" and _is_key(p.stem)]
            if self._has_deep:
                deep = (p for p in folder.iterdir() if p.is_dir())
                found += [p.stem for d in deep for p in d.iterdir() if p.suffix == ".dcm" and _is_key(p.stem)]
            yield from sorted(found)

    def path(self, key: str) -> Path:
        """Return where the object lies, or would lie."""
        _checked(key)
        folder = self._instances / key[:2]
        if self._has_deep and (deep := folder / key[2:4] / f"{key}.dcm").exists():
            return deep
        return folder / f"{key}.dcm"

    def read(self, key: str) -> bytes:
        """Return the object's file (PS3.10).

        Raises
        ------
        StoreUnavailable
            It is not there, or cannot be read.
        """
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            msg = f"spool: {key} cannot be read: {error.strerror or type(error).__name__}"
            raise StoreUnavailable(msg) from error

    def put_aside(self, key: str, reason: str) -> None:
        """Show a person an object that cannot be used: it stays where it is, and stands in ``quarantine/`` too, with the reason.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        path = self.path(key)
        try:
            held = read_meta(path)
            meta = FileMeta(**{f.name: getattr(held, f.name) for f in fields(FileMeta)})
        except (InputError, StoreUnavailable):
            meta = FileMeta(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._quarantine.put(fd, path, key, digest_from(fd, 0), meta, reason)
        finally:
            os.close(fd)

    def quarantined(self) -> list[Quarantined]:
        """Return what was put aside, oldest first."""
        return self._quarantine.list()

    # --- receiving -----------------------------------------------------------------------------------------------------

    def _check_reserve(self) -> None:
        if not self._reserve:
            return
        disk = os.statvfs(self.root)
        if disk.f_bavail * disk.f_frsize < self._reserve:
            _log.error("spool_reserve_reached", extra={"ids": {"reserve_mb": self._reserve // 1_000_000}})
            msg = "spool: the disk reserve is reached"
            raise Refused(msg, OUT_OF_RESOURCES)

    def _keep(self, draft: Draft, at: dt.datetime | None, *, may_correct: bool) -> Receipt:
        # strings and not paths: this runs once for each object, and paths are slow
        key = draft.key
        final = f"{self._instances_name}/{key[:2]}/{key}.dcm" if not self._has_deep else str(self.path(key))
        try:
            draft.to_file()
            if at is not None:
                ns = int(at.timestamp() * 1_000_000) * 1000
                os.utime(draft.fd, ns=(ns, ns))
            # whether it is there is asked beforehand only to save a flush: the link says so, too
            if not self._sync or not os.path.exists(final):  # noqa: PTH110 - as above
                if self._sync:
                    os.fsync(draft.fd)
                if self._link(draft.path, final):
                    os.rename(draft.path, f"{self._new_name}/{key}")  # noqa: PTH104 - as above
                    if self._sync:
                        self._flush_new()
                    draft.close()
                    return Receipt(outcome=Outcome.STORED, key=key)
            with self._again.alone() if may_correct else nullcontext():
                receipt = self._again.decide(draft, Path(final), may_correct=may_correct)
                if receipt.outcome is Outcome.CORRECTED:
                    # the name that was replaced goes on the disk before the arrival that tells of it
                    self._settle({Path(final).parent})
                    self._announce(Path(draft.path), key)
            # success promises what the first sender was promised, even where its thread has come no further than the link
            self._announce_unfinished(Path(draft.path), key)
            if receipt.outcome is Outcome.DUPLICATE and self._again.was_corrected(key):
                # the arrival of a correction whose sender heard no answer may have been lost with the power
                with suppress(FileExistsError):
                    os.link(final, f"{self._new_name}/{key}")
            self._settle({Path(final).parent})
            if self._sync and self._again.was_corrected(key):
                self._flush_new()
            return receipt
        finally:
            # a file that is linked and could not be announced keeps its temporary name: by it, the next attempt or start goes on
            if draft.fd >= 0:
                if self._was_linked(draft.fd, Path(draft.path)):
                    draft.close()
                else:
                    draft.discard()

    @staticmethod
    def _link(temporary: str, final: str) -> bool:
        """Give the file its name; False where another one has it."""
        try:
            try:
                os.link(temporary, final)
            except FileNotFoundError:
                # its folder alone, so that a spool whose disk has gone is not made anew on another one
                with suppress(FileExistsError):
                    Path(final).parent.mkdir(mode=0o700)
                os.link(temporary, final)
        except FileExistsError:
            return False
        return True

    def _announce(self, temporary: Path, key: str) -> None:
        # another thread that received the same object may have done it
        with suppress(FileNotFoundError):
            temporary.rename(self._new / key)

    def _announce_unfinished(self, own: Path, key: str) -> None:
        for path in self._incoming.glob(f"{key}.*"):
            with suppress(FileNotFoundError):
                if path != own and path.stat().st_ino == self.path(key).stat().st_ino:
                    self._announce(path, key)

    def _settle(self, leaves: set[Path]) -> None:
        """Put the names in these folders under ``instances/`` on the disk, and the names of the folders, where that is promised."""
        if not self._sync:
            return
        if len(leaves) > _FLUSHED_ONE_BY_ONE and flush_file_system(self._instances):
            self._durable |= leaves
            return
        for leaf in leaves:
            with suppress(FileNotFoundError):
                flush_folder(leaf)
        if made := leaves - self._durable:
            flush_folder(self._instances)
            self._durable |= made

    # --- after a crash -------------------------------------------------------------------------------------------------

    def _look_for_deep(self) -> bool:
        """Say whether earlier versions put objects into folders of folders (``instances/ab/cd/``); they stay there."""
        return any(p.is_dir() for folder in self._instances.iterdir() if folder.is_dir() for p in folder.iterdir())

    def _name_again(self) -> None:
        """Give objects in ``new/`` their name under ``instances/`` where a power failure took it.

        Each was complete and flushed before it came into ``new/``.
        """
        named = 0
        with os.scandir(self._new) as entries:
            for entry in entries:
                if _is_key(entry.name) and not self.path(entry.name).exists():
                    named += self._link(entry.path, str(self.path(entry.name)))
        if named:
            _log.warning("spool_mended", extra={"ids": {"named": named}})

    def _sweep(self) -> None:
        """Clear ``incoming/``: finish what was linked already, remove what was never acknowledged.

        Files that a living process holds are left alone.
        """
        finished = removed = 0
        for path in list(self._incoming.iterdir()):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._was_linked(fd, path):
                    self._announce(path, path.name[:_KEY_LENGTH])
                    finished += 1
                else:
                    path.unlink(missing_ok=True)
                    removed += 1
            except BlockingIOError:
                continue
            finally:
                os.close(fd)
        if finished or removed:
            _log.warning("spool_swept", extra={"ids": {"finished": finished, "removed": removed}})

    def _was_linked(self, fd: int, path: Path) -> bool:
        key = path.name[:_KEY_LENGTH]
        here = os.fstat(fd)
        if not _is_key(key) or not stat.S_ISREG(here.st_mode) or here.st_nlink < 2:  # noqa: PLR2004 - itself and another
            return False
        try:
            return here.st_ino == self.path(key).stat().st_ino
        except FileNotFoundError:
            return False


def _is_key(name: str) -> bool:
    return len(name) == _KEY_LENGTH and all(c in "0123456789abcdef" for c in name)


def _checked(key: str) -> str:
    if not _is_key(key):
        raise ValueError("a key is 64 lower-case hexadecimal digits")
    return key
