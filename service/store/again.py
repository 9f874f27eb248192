"""What becomes of an object whose SOP Instance UID is known: nothing, a correction, or a case for a person."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.read.corrections import beyond_identity, names_another
from service.store.disk import digest_from, flush_folder, same_bytes
from service.store.draft import Draft
from service.store.file_meta import read_meta
from service.store.quarantine import Quarantine

#: tags that a reason names
_MOST_NAMED = 8


class Outcome(StrEnum):
    """What became of a received object; all of them are answered with success."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    OTHER_SYNTAX = "other_syntax"
    CORRECTED = "corrected"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The outcome, and the key of the object that is kept; for a conflict also where the second one went.

    ``first_time`` is false for a conflict that came before with the same bytes: it is kept, and told, once.
    """

    outcome: Outcome
    key: str
    quarantined: Path | None = None
    first_time: bool = True


class Again:
    """Decides about objects that are known.

    Parameters
    ----------
    quarantine:
        Where what nobody can settle goes.
    earlier:
        The folder of what was corrected: ``<key>/<content>.dcm``; on the spool's file system.
    sync:
        Put everything on the disk before ``decide`` returns.
    """

    def __init__(self, quarantine: Quarantine, earlier: Path, *, sync: bool) -> None:
        self._quarantine = quarantine
        self._earlier = earlier
        self._sync = sync

    def decide(self, draft: Draft, final: Path, *, may_correct: bool) -> Receipt:
        """Compare what came (in a file) with what lies at ``final``; put aside the one that has no place there.

        A sender that may correct is decided about `alone`. After ``CORRECTED`` the new one lies at ``final``, under its temporary name
        too.

        Raises
        ------
        InputError, StoreUnavailable, OSError
            What is held cannot be read, or the disk does not take it.
        """
        key, meta = draft.key, draft.meta
        held = read_meta(final)
        reason = "another object with this SOP Instance UID and other content was received first"
        if held.transfer_syntax_uid != meta.transfer_syntax_uid:
            if not (may_correct and names_another(final, Path(draft.path))):
                return Receipt(outcome=Outcome.OTHER_SYNTAX, key=key)
            # what a PACS that corrects has to say must not go unheard
            reason += (
                ": it names another patient or order, and is no correction, since its pixel data are in another transfer "
                "syntax and cannot be compared"
            )
        elif held.sop_class_uid == meta.sop_class_uid:
            if same_bytes(draft.fd, draft.offset, final, held.dataset_offset):
                return Receipt(outcome=Outcome.DUPLICATE, key=key)
            if may_correct:
                differing = beyond_identity(final, Path(draft.path))
                if not differing:
                    self._correct(draft, final, held.dataset_offset)
                    return Receipt(outcome=Outcome.CORRECTED, key=key)
                reason += f": no correction, since they differ in {', '.join(differing[:_MOST_NAMED])}"
            elif self._is_earlier(draft):
                return Receipt(outcome=Outcome.DUPLICATE, key=key)
            else:
                reason += (
                    ': if its sender is a PACS that corrects headers, let it, by "correct" among its `may` in [[nodes]]'
                )
        digest = digest_from(draft.fd, draft.offset)
        aside, new = self._quarantine.put(draft.fd, Path(draft.path), key, digest, meta, reason)
        return Receipt(outcome=Outcome.CONFLICT, key=key, quarantined=aside, first_time=new)

    def was_corrected(self, key: str) -> bool:
        """Say whether an object took the place of an earlier one."""
        return (self._earlier / key).is_dir()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads and processes from correcting, and from taking arrivals off the list.

        Of two corrections at once, each has to find the other at its place; and the arrival of one must not go with that of what it
        replaced.
        """
        fd = os.open(self._earlier, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _correct(self, draft: Draft, final: Path, offset: int) -> None:
        """Put the new one at ``final``, when the one before is safe in ``earlier/``."""
        if self._sync:
            os.fsync(draft.fd)
        with final.open("rb", buffering=0) as before:
            digest = digest_from(before.fileno(), offset)
        folder = self._earlier / draft.key
        folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.link(final, folder / f"{digest[:16]}.dcm")
        if self._sync:
            flush_folder(folder)
            flush_folder(self._earlier)
        # a second name that takes the place: by the first one, a start after a crash knows that the arrival was not told
        second = Path(f"{draft.path}.c")
        os.link(draft.path, second)
        second.replace(final)
        # it may have come before, from whom nobody had allowed it to yet
        self._quarantine.settled(draft.key, digest_from(draft.fd, draft.offset))

    def _is_earlier(self, draft: Draft) -> bool:
        """Say whether these bytes were corrected already: a device sends again what it has."""
        for path in (self._earlier / draft.key).glob("*.dcm"):
            if same_bytes(draft.fd, draft.offset, path, read_meta(path).dataset_offset):
                return True
        return False
