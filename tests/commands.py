"""The command ``lms-sr`` as a person meets it: words in; exit code, output and errors out. Without a process for each call."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from service.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Return its output as JSON."""
        return json.loads(self.out)


def lms_sr(*words: str | Path) -> Done:
    """Run ``lms-sr`` with these words."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["lms-sr", *map(str, words)]),
        _logging_as_before(),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    return Done(code=code, out=out.getvalue(), err=err.getvalue())


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """A command sets up logging for its process, which here is the tests'."""
    loggers = [logging.getLogger(), logging.getLogger("dbos"), logging.getLogger("lms_sr")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    hook = threading.excepthook
    try:
        yield
    finally:
        threading.excepthook = hook
        for logger, handlers, level, propagate in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
