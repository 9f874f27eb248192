"""Objects that were put aside for a person to look at, each with a note of why."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from service.store.disk import flush_folder
from service.store.file_meta import FileMeta

_KEY_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An object that was put aside: the key it contests, why, when it came (UTC), and its file."""

    key: str
    reason: str
    at: dt.datetime
    path: Path


class Quarantine:
    """The folder of such objects: ``<key>-<content>.dcm`` with ``<key>-<content>.json`` beside it.

    Parameters
    ----------
    folder, drafts:
        Where they lie, and where notes are written before they get their name; on one file system.
    sync:
        Put everything on the disk before ``put`` returns.
    """

    def __init__(self, folder: Path, drafts: Path, *, sync: bool) -> None:
        self._folder = folder
        self._drafts = drafts
        self._sync = sync

    def put(self, fd: int, source: Path, key: str, digest: str, meta: FileMeta, reason: str) -> tuple[Path, bool]:
        """Put ``source`` (open as ``fd``) aside; return its place, and whether it had not been there before.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        aside = self._folder / f"{key}-{digest[:16]}.dcm"
        note = aside.with_suffix(".json")
        if self._sync:
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(source, aside)
        first_time = not note.exists()
        if first_time:
            self._write_note(note, {"reason": reason, "key": key, "sha256_of_data_set": digest, **asdict(meta)})
        if self._sync:
            flush_folder(self._folder)
        return aside, first_time

    def settled(self, key: str, digest: str) -> None:
        """Take away what was put aside with this content: it has its place by now.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        aside = self._folder / f"{key}-{digest[:16]}.dcm"
        aside.unlink(missing_ok=True)
        aside.with_suffix(".json").unlink(missing_ok=True)

    def list(self) -> list[Quarantined]:
        """Return what was put aside, oldest first."""
        found = []
        for path in self._folder.glob("*.dcm"):
            at = dt.datetime.fromtimestamp(path.stat().st_mtime_ns / 1e9, dt.UTC)
            reason = _reason(path.with_suffix(".json")) or "the note that said why is missing"
            found.append(Quarantined(key=path.name[:_KEY_LENGTH], reason=reason, at=at, path=path))
        return sorted(found, key=lambda q: (q.at, q.path.name))

    def _write_note(self, path: Path, note: dict[str, str]) -> None:
        draft = self._drafts / f"note.{secrets.token_hex(8)}"
        try:
            with draft.open("x", encoding="utf-8") as stream:
                # the spool clears drafts that no living process holds
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stream.write(json.dumps(note, indent=2) + "\n")
                stream.flush()
                if self._sync:
                    os.fsync(stream.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)


def _reason(note: Path) -> str:
    """Return what a note says; empty where it says nothing."""
    with suppress(OSError, ValueError):
        content = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return str(content.get("reason", ""))
    return ""
