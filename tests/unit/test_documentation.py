"""What can be said, set or met is documented, and the documentation is about this version."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest
from typer.main import get_command

from service import __version__, errors
from service.cli import app
from service.flow import objects
from service.model import uids
from service.model.events import StudyEvent, StudyState
from service.settings import Node, Settings
from tests.helpers import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _tables() -> ModuleType:
    specification = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


TABLES = _tables()


def _commands() -> dict[str, click.Command]:
    """Return every command by its words, ``outbox retry`` for example."""

    def walk(command: click.Command, words: tuple[str, ...]) -> dict[str, click.Command]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return {" ".join(words): command}
        return {k: v for name, child in inner.items() for k, v in walk(child, (*words, name)).items()}

    return walk(get_command(app), ())


COMMANDS = _commands()


@pytest.mark.parametrize("page", TABLES.pages(), ids=lambda page: page.name)
def test_tables_made_from_the_code_are_fresh(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert TABLES.filled(text) == text, "run: make docs-tables"


def test_every_setting_has_its_row_with_a_meaning() -> None:
    page = _page("configuration.md")
    for name, field in Settings.model_fields.items():
        section = Node if name == "nodes" else field.annotation
        for key, inner in section.model_fields.items():
            assert inner.description, f"[{name}] {key} has no description in service/settings.py"
            assert f"| `{inner.alias or key}` |" in page
            assert inner.description in page


def test_every_event_has_its_row_with_a_sentence() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", _page("reference.md"), re.MULTILINE))
    for event in StudyEvent:
        assert rows.get(event.value), f"event {event.value} is not told in docs/reference.md"


def test_every_state_is_explained() -> None:
    explained = re.findall(r"^\| `([a-z]+)` \| \S.* \| \S.* \|$", _page("operations.md"), re.MULTILINE)
    assert sorted(explained) == sorted(state.value for state in StudyState)


def test_every_error_has_its_row() -> None:
    page = _page("reference.md")
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, errors.LmsSrError):
            assert f"| `{name}` |" in page
            assert name in (errors.__doc__ or ""), f"{name} is missing in the tree of service/errors.py"


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_its_row_its_help_and_an_example(words: str) -> None:
    assert re.search(rf"^\| `lms-sr {re.escape(words)}[ `]", _page("reference.md"), re.MULTILINE)
    help_text = COMMANDS[words].help or ""
    assert f"lms-sr {words}" in help_text, f"the help of 'lms-sr {words}' has no example"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_the_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # in code, inline or fenced: `lms-sr word word --option`
    for quoted in re.findall(r"(?:^|`|\s)lms-sr ((?!\s)[^`|;#\n,]*)", text, re.MULTILINE):
        words = [word for word in shlex.split(quoted, posix=False) if word]
        named = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
        command = next((" ".join(named[:n]) for n in (2, 1) if " ".join(named[:n]) in COMMANDS), None)
        group = bool(named) and any(known.startswith(f"{named[0]} ") for known in COMMANDS)
        assert command or group, f"{page.name} names 'lms-sr {quoted}', which is no command"
        if command:
            options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
            unknown = [
                word for word in words if word.startswith("--") and word.split("=")[0] not in options | {"--help"}
            ]
            assert not unknown, f"{page.name} names 'lms-sr {quoted}' with {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_the_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for section, key in re.findall(r"`\[([a-z]+)\] ([a-z_]+)", text):
        field = Settings.model_fields.get(section)
        assert field is not None, f"{page.name} names the section [{section}]"
        assert key in field.annotation.model_fields, f"{page.name} names [{section}] {key}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_the_pages_name_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^|`|: )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_every_page_is_reached_from_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    assert {page.name for page in DOCS.glob("*.md")} == set(re.findall(r"([\w-]+\.md)", navigation))


def test_the_conformance_statement_is_about_this_implementation() -> None:
    page = _page("conformance.md")
    for value in (uids.IMPLEMENTATION_CLASS_UID, uids.IMPLEMENTATION_VERSION_NAME, uids.CODING_SCHEME_UID):
        assert value in page
    local = Settings().local
    assert f"`{local.ae_title}`" in page
    assert f"| {local.port} " in page
    assert f"| {local.max_associations} " in page
    reports = Settings().reports
    numbers = {int(n) for n in re.findall(r"\| (99\d\d) \|$", page, re.MULTILINE)}
    beside = {reports.series_number + behind for _, behind in objects.SERIES.values()}
    assert numbers == {
        reports.series_number,
        reports.companion_series_number,
        reports.rejection_series_number,
        *beside,
    }


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert f"image: lms-sr:{__version__}\n" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changes
