"""Logging to standard error: a fixed event name and ids, as text for people or JSON for a collector.

A record is ``log.info("event_name", extra={"ids": {...}})``. What libraries log is reduced to who logged it, from where and how
severely: their messages quote values of elements, and those are patients' names. So are exceptions of theirs: the type and the
places in the code are written, the text is not.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
import threading
import traceback
import warnings
from typing import TextIO

from service.errors import LmsSrError
from service.settings import Log

#: parent of every logger of this project
ROOT = "lms_sr"
#: libraries whose messages speak of queues, tables and ids only: they are passed on as they are
_OUTSPOKEN = ("dbos", "alembic")
_EVENT = re.compile(r"[a-z][a-z0-9_]*\Z")
_PLAIN = re.compile(r"[\w.:/@+,-]+\Z", re.ASCII)

_MAX_TEXT = 500
_FRAMES = 6


def set_up(settings: Log, *, role: str = "", stream: TextIO | None = None) -> None:
    """Let every logger of this process write to ``stream`` (standard error where None), and nothing else.

    Parameters
    ----------
    settings:
        Level and format.
    role:
        Which of the service's processes this is; stands in every record. Empty for a command.
    stream:
        Where to; for tests.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(role) if settings.format == "json" else TextFormatter(role))
    level = settings.level.upper()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level)
    # a handler of its own keeps DBOS from adding one, and from writing a second time through the root
    engine = logging.getLogger("dbos")
    engine.handlers[:] = [handler]
    engine.propagate = False
    # pydicom warns with the value that it finds odd
    warnings.simplefilter("ignore")
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Log an exception that nobody caught; Python would print its text, which may quote a value."""
    if failure.exc_value is None or issubclass(failure.exc_type, SystemExit):
        return
    name = failure.thread.name if failure.thread else ""
    exc_info = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    logging.getLogger(ROOT).error("thread_failed", exc_info=exc_info, extra={"ids": {"thread": name}})


class _Formatter(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Return what is written of a record, in order."""
        ours = record.name == ROOT or record.name.startswith(f"{ROOT}.")
        event = record.getMessage() if ours else "library_message"
        if not _EVENT.match(event):
            event = "unnamed_event"
        found: dict[str, object] = {
            "at": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if self._role:
            found["role"] = self._role
        found["logger"] = record.name.removeprefix(f"{ROOT}.")
        found["event"] = event
        if ours:
            ids = getattr(record, "ids", {})
            found |= {str(k): _scalar(v) for k, v in ids.items() if v is not None}
        else:
            found["place"] = f"{record.module}:{record.lineno}"
            if record.name.split(".")[0] in _OUTSPOKEN and not record.exc_info:
                found["message"] = record.getMessage()[:_MAX_TEXT]
        if record.exc_info and record.exc_info[1] is not None:
            found |= _error(record.exc_info[1])
        return found


class TextFormatter(_Formatter):
    """``2026-01-01T12:00:00.000+00:00 info work indexer batch_indexed instances=12``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        found = self.fields(record)
        head = " ".join(str(found.pop(k)) for k in ("at", "level", "role", "logger", "event") if k in found)
        return " ".join((head, *(f"{k}={_quoted(v)}" for k, v in found.items())))


class JsonFormatter(_Formatter):
    """One JSON object per line, with the same fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        return json.dumps(self.fields(record), ensure_ascii=True)


def _scalar(value: object) -> object:
    return value if isinstance(value, bool | int | float) else str(value)[:_MAX_TEXT]


def _quoted(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=True)


def _error(error: BaseException) -> dict[str, object]:
    places = [f"{_module(f.filename)}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
    found: dict[str, object] = {"error": type(error).__name__, "trace": " ".join(places[-_FRAMES:])}
    if isinstance(error, LmsSrError):
        # ours name no patient
        found["reason"] = str(error)[:_MAX_TEXT]
    return found


def _module(path: str) -> str:
    for mark in ("/site-packages/", "/service/"):
        _, found, tail = path.rpartition(mark)
        if found:
            return tail if mark == "/site-packages/" else f"service/{tail}"
    return path.rpartition("/")[2]
