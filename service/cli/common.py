"""What all commands share: settings, output as text or JSON, and errors as one line."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from service import configuration, logs
from service.settings import Log, Settings

#: exit codes: done; the answer is no; wrong usage, setting or template
DONE, NO, WRONG = 0, 1, 2

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file (TOML); the environment wins over it.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def load(config: Path | None) -> Settings:
    """Return the effective settings.

    Raises
    ------
    ConfigurationError
        A line for every problem.
    """
    return configuration.load(config, os.environ)


def quiet() -> None:
    """Keep libraries from writing into a command's output, and least of all a patient's name."""
    logs.set_up(Log(level="error"))
    # some libraries set a level of their own
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.ERROR)


def say(text: str = "") -> None:
    """Print to standard output."""
    typer.echo(text)


def say_json(value: object) -> None:
    """Print as JSON: dates as ISO 8601, enumerations by value, frozen values as objects."""
    typer.echo(json.dumps(plain(value), ensure_ascii=False, indent=2))


def plain(value: object) -> Any:
    """Return a value as JSON knows it."""
    match value:
        case Mapping():
            return {str(plain(k)): plain(v) for k, v in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case list() | tuple() | set() | frozenset():
            return [plain(v) for v in value]
        case _:
            return _scalar(value)


def _scalar(value: object) -> Any:
    match value:
        case enum.Enum():
            return value.value
        case dt.datetime():
            return value.isoformat()
        case Path():
            return str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes():
            return None
        case _:
            return value


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their columns, each as wide as it needs to be."""
    cells = [tuple(columns), *(tuple("" if c is None else str(c) for c in row) for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def complain(message: str) -> None:
    """Print an error, a line for each problem, to standard error."""
    for line in message.splitlines() or [""]:
        print(f"lms-sr: {line}", file=sys.stderr)
