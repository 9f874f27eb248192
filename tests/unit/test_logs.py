"""What stands in the log: fixed names and ids, and nothing that a library quotes of a patient."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from service import logs
from service.errors import InputError
from service.settings import Log

SECRET = "SOMMERFELD^JÖRG"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", logs.ROOT, "dbos")]
    before = [(each, each.level, each.handlers[:], each.propagate) for each in loggers]
    hook = threading.excepthook
    with warnings.catch_warnings():
        yield
    threading.excepthook = hook
    for each, level, handlers, propagate in before:
        each.setLevel(level)
        each.handlers[:] = handlers
        each.propagate = propagate


@pytest.fixture(params=["text", "json"])
def out(request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(Log(format=request.param, level="debug"), role="work", stream=stream)
    return stream


def as_json(role: str = "", level: Any = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(Log(format="json", level=level), role=role, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fails() -> None:
    raise ValueError(SECRET)


def test_record_as_text_is_one_line_for_people() -> None:
    stream = io.StringIO()
    logs.set_up(Log(), role="work", stream=stream)
    ids = {"instances": 12, "node": "PACS", "why": 'no "way"\nout', "forced": True, "study": None, "empty": ""}
    logging.getLogger("lms_sr.indexer").info("batch_indexed", extra={"ids": ids})
    at, _, rest = stream.getvalue().partition(" ")
    assert len(at) == len("2026-01-01T12:00:00.000+00:00")
    assert at.endswith("+00:00")
    assert rest == (
        'info work indexer batch_indexed instances=12 node=PACS why="no \\"way\\"\\nout" forced=true empty=""\n'
    )


def test_record_as_json_has_the_same_fields() -> None:
    stream = as_json("work")
    ids = {"instances": 12, "forced": True, "share": 0.5, "study": None, "name": "ü", "path": Path("/spool")}
    logging.getLogger("lms_sr.indexer").warning("batch_indexed", extra={"ids": ids})
    (found,) = lines(stream)
    assert list(found)[:5] == ["at", "level", "role", "logger", "event"]
    del found["at"]
    assert found == {
        "level": "warning",
        "role": "work",
        "logger": "indexer",
        "event": "batch_indexed",
        "instances": 12,
        "forced": True,
        "share": 0.5,
        "name": "ü",
        "path": "/spool",
    }
    assert stream.getvalue().isascii()


def test_command_has_no_role_and_a_record_may_have_no_ids() -> None:
    stream = as_json()
    logging.getLogger("lms_sr").error("stopped")
    (found,) = lines(stream)
    assert set(found) == {"at", "level", "logger", "event"}
    assert found["logger"] == "lms_sr"


def test_level_counts_for_ours_and_warnings_for_libraries() -> None:
    stream = as_json(level="debug")
    logging.getLogger("lms_sr.x").debug("seen")
    logging.getLogger("somebody").info("not seen")
    logging.getLogger("somebody").warning("reduced")
    assert [f["event"] for f in lines(stream)] == ["seen", "library_message"]
    stream = as_json(level="error")
    logging.getLogger("lms_sr.x").warning("unseen")
    assert stream.getvalue() == ""


def test_message_that_is_no_event_name_is_not_written(out: io.StringIO) -> None:
    for message in (f"found {SECRET}", "", "Upper", "two words", "new\nline"):
        logging.getLogger("lms_sr.x").warning(message)
    assert out.getvalue().count("unnamed_event") == 5
    assert SECRET not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 5


def test_value_cannot_make_a_line_of_its_own_or_fill_the_disk(out: io.StringIO) -> None:
    hostile = "x\n2026-01-01T12:00:00.000+00:00 info work receive receiver_started\r\x1b[2J\u2028"
    logging.getLogger("lms_sr.x").warning("refused", extra={"ids": {"calling": hostile, "long": "y" * 10_000}})
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue()) < 1000


@pytest.mark.parametrize("library", ["pydicom", "pynetdicom.acse", "highdicom", "sqlalchemy.engine", "lms_srx", "root"])
def test_message_of_a_library_is_reduced_to_its_place(
    out: io.StringIO, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # other tests start receivers, which silence pynetdicom in the whole process
    for name in (library, library.partition(".")[0]):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    logging.getLogger(library).manager._clear_cache()  # type: ignore[attr-defined]
    logging.getLogger(library).warning("odd value %s", SECRET, extra={"ids": {"name": SECRET}})
    assert "library_message" in out.getvalue()
    assert "test_logs:" in out.getvalue()
    assert "SOMMERFELD" not in out.getvalue()


@pytest.mark.parametrize("library", ["dbos", "alembic.runtime.migration"])
def test_outspoken_libraries_are_passed_on_once_but_not_their_exceptions(out: io.StringIO, library: str) -> None:
    logging.getLogger(library).warning("queue %s has %d", "send", 3)
    assert out.getvalue().count("queue send has 3") == 1
    logging.getLogger(library).warning("z" * 10_000)
    assert len(out.getvalue()) < 2000
    try:
        fails()
    except ValueError:
        logging.getLogger(library).exception("workflow failed: %s", SECRET)
    assert "SOMMERFELD" not in out.getvalue()
    assert "ValueError" in out.getvalue()


def test_exception_of_a_library_is_its_type_and_places(out: io.StringIO) -> None:
    try:
        fails()
    except ValueError:
        logging.getLogger("lms_sr.x").exception("instance_failed", extra={"ids": {"key": "k1"}})
    text = out.getvalue()
    assert "SOMMERFELD" not in text
    assert len(text.splitlines()) == 1
    for word in ("instance_failed", "k1", "ValueError", "test_logs.py:"):
        assert word in text


def test_our_own_errors_say_why_and_their_causes_stay_silent(out: io.StringIO) -> None:
    try:
        try:
            fails()
        except ValueError as error:
            raise InputError("a.dcm cannot be parsed: ValueError") from error
    except InputError:
        logging.getLogger("lms_sr.x").exception("file_failed")
    assert "a.dcm cannot be parsed: ValueError" in out.getvalue()
    assert "InputError" in out.getvalue()
    assert "SOMMERFELD" not in out.getvalue()


def test_trace_is_short_and_shows_modules_not_the_machine() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        pydicom.dcmread(io.BytesIO(b"garbage"))

    stream = as_json()
    try:
        deep(20)
    except pydicom.errors.InvalidDicomError:
        logging.getLogger("lms_sr.x").exception("file_failed")
    logging.getLogger("lms_sr.x").error("file_failed", exc_info=InputError("why"))
    first, second = lines(stream)
    places = first["trace"].split()
    assert len(places) == 6
    assert places[-1].startswith("pydicom/filereader.py:")
    assert places[0].startswith("test_logs.py:")
    assert (second["trace"], second["reason"]) == ("", "why")
    assert logs._module("/usr/lib/lms/service/dimse/scp.py") == "service/dimse/scp.py"


def test_no_exception_is_no_error(out: io.StringIO) -> None:
    logging.getLogger("lms_sr.x").error("stopped", exc_info=True)  # noqa: LOG014 - that is the point
    assert "error=" not in out.getvalue()
    assert "trace" not in out.getvalue()


def test_exception_that_nobody_caught_in_a_thread_is_logged_without_its_text(
    out: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    thread = threading.Thread(target=fails, name="indexer")
    thread.start()
    thread.join()
    leaver = threading.Thread(target=sys.exit)
    leaver.start()
    leaver.join()
    assert out.getvalue().count("thread_failed") == 1
    assert "indexer" in out.getvalue()
    assert "ValueError" in out.getvalue()
    assert "SOMMERFELD" not in out.getvalue() + capsys.readouterr().err


def test_warnings_of_pydicom_are_not_printed(out: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    warnings.warn(f"odd value {SECRET}", stacklevel=1)
    assert "SOMMERFELD" not in out.getvalue() + capsys.readouterr().err


def test_log_goes_to_standard_error_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    other = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(other))
    logging.getLogger("dbos").addHandler(logging.StreamHandler(other))
    logs.set_up(Log())
    logging.getLogger("lms_sr.x").info("started")
    logging.getLogger("dbos").warning("recovered")
    printed = capsys.readouterr()
    assert printed.out == other.getvalue() == ""
    assert [line.split()[1:3] for line in printed.err.splitlines()] == [["info", "x"], ["warning", "dbos"]]
