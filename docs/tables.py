"""Write the tables that come from the code into the pages: settings, commands, events, errors.

``make docs-tables`` runs it; ``tests/unit/test_documentation.py`` fails when a page is stale. A page has a place for a table between
``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from service import errors as module
from service.cli import app
from service.dimse import statuses as statuses_module
from service.model.events import SENTENCES, StudyEvent
from service.settings import Node, Settings

FOLDER = Path(__file__).resolve().parent
_PLACE = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings() -> str:
    """Return one table per section of the configuration."""

    def parts() -> Iterator[str]:
        for name, field in Settings.model_fields.items():
            section: type[Any] = Node if name == "nodes" else field.annotation  # type: ignore[assignment]
            heading = f"`[[{name}]]`" if name == "nodes" else f"`[{name}]`"
            yield f"### {heading}\n\n{_first_line(section)}\n"
            rows = []
            for key, inner in section.model_fields.items():
                shown = inner.alias or key
                default = "required" if inner.is_required() else f"`{_toml(inner.default)}`"
                cells = [f"`{shown}`", default, _kind(inner.annotation, inner.metadata), inner.description or ""]
                if name != "nodes":
                    cells.append(f"`LMS_SR_{name}__{key}`".upper())
                rows.append(cells)
            columns = ["key", "default", "value", "meaning"] + ([] if name == "nodes" else ["variable"])
            yield _table(columns, rows)

    return "\n".join(parts())


def commands() -> str:
    """Return every command with its arguments, its purpose and its options."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
            return
        for name, child in inner.items():
            if not child.hidden:
                yield from walk(child, f"{path} {name}")

    rows = []
    for path, command in walk(get_command(app), "lms-sr"):
        arguments = [_argument(p) for p in command.params if p.param_type_name == "argument"]
        options = [f"`{p.opts[0]}`" for p in command.params if p.param_type_name == "option" and not p.hidden]
        purpose = inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
        rows.append([f"`{' '.join([path, *arguments])}`", purpose, ", ".join(sorted(options))])
    return _table(["command", "what it does", "options"], rows)


def events() -> str:
    """Return every event of a study's story with its sentence."""
    return _table(["event", "what is told"], [[f"`{event.value}`", _sentence(event)] for event in StudyEvent])


def errors() -> str:
    """Return every error class with what it stands for."""
    found = [e for _, e in inspect.getmembers(module, inspect.isclass) if issubclass(e, module.LmsSrError)]
    ordered = sorted(found, key=lambda e: [c.__name__ for c in reversed(e.__mro__)])
    rows = [[f"`{e.__name__}`", f"`{e.__bases__[0].__name__}`", _first_line(e)] for e in ordered]
    return _table(["error", "a kind of", "what it means, and what to do"], rows)


def statuses() -> str:
    """Return what follows from each status that a peer may answer to our C-STORE."""
    follows = {
        statuses_module.Action.DELIVERED: "delivered",
        statuses_module.Action.DELIVERED_WITH_WARNING: "delivered; status and comment are kept and shown",
        statuses_module.Action.RETRY: "tried again",
        statuses_module.Action.PARK: "parked for a person",
    }
    rows = [
        [f"{r.first:04X}H" if r.first == r.last else f"{r.first:04X}H to {r.last:04X}H", r.meaning, follows[r.action]]
        for r in statuses_module.TABLE
    ]
    return _table(["status", "meaning", "behaviour"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "events": events,
    "errors": errors,
    "statuses": statuses,
}


def filled(page: str) -> str:
    """Return the text of a page with its tables made anew."""

    def fill(place: re.Match[str]) -> str:
        return f"{place[1]}\n{TABLES[place[2]]()}\n{place[3]}"

    return _PLACE.sub(fill, page)


def pages() -> list[Path]:
    """Return the pages that hold such tables."""
    return [page for page in sorted(FOLDER.glob("*.md")) if _PLACE.search(page.read_text(encoding="utf-8"))]


def main() -> int:
    """Write every table."""
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _argument(parameter: Any) -> str:
    name = str(parameter.name).rstrip("_").upper()
    shown = f"{name}..." if parameter.nargs == -1 else name
    return shown if parameter.required else f"[{shown}]"


def _sentence(event: StudyEvent) -> str:
    # what stands in braces is a value that the event carries
    apart = SENTENCES[event].replace("}{", "} {")
    return re.sub(r"\{(\w+)\}", lambda value: f"*{value[1].replace('_', ' ')}*", apart)


def _first_line(thing: type[Any]) -> str:
    return inspect.cleandoc(thing.__doc__ or "").split("\n")[0].replace("``", "`")


def _toml(value: object) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, (int, float)):
        return str(value)
    return f'"{value}"'


def _kind(annotation: Any, metadata: Iterable[Any]) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{v}`" for v in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of " + _kind(get_args(annotation)[0], ())
    if hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0], annotation.__metadata__)
    names = {
        "str": "text",
        "int": "number",
        "float": "number",
        "bool": "`true` or `false`",
        "Path": "path",
        "SecretStr": "text",
    }
    kind = names[annotation.__name__]
    limits = {type(m).__name__: m for m in _flat(metadata)}
    low = f"from {limits['Ge'].ge}" if "Ge" in limits else f"above {limits['Gt'].gt}" if "Gt" in limits else ""
    high = f"to {limits['Le'].le}" if "Le" in limits else ""
    long = f"at most {limits['MaxLen'].max_length} characters" if "MaxLen" in limits else ""
    bounds = " ".join(part for part in (low, high, long) if part)
    return f"{kind}, {bounds}" if bounds else kind


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for entry in metadata:
        if hasattr(entry, "metadata"):  # a FieldInfo inside Annotated
            yield from _flat(entry.metadata)
        else:
            yield entry


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
