"""What is installed is what was written: data files in the wheel, locked requirements, one command, working start-up scripts."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from sr_templates import load_codes
from tests.helpers import ROOT, require

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")


def _sources(*suffixes: str) -> set[str]:
    """Return the files of both packages with one of ``suffixes`` (all, without)."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in ("service", "sr_templates")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and (not suffixes or path.suffix in suffixes)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [path] = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_file_of_both_packages(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == _sources()


def test_the_wheel_holds_the_data_that_the_code_reads(wheel: zipfile.ZipFile) -> None:
    data = _sources(".yaml", ".csv", ".toml", ".html", ".css", ".mako")
    assert {"sr_templates/codes.csv", "sr_templates/leiomyosarcoma/baseline.yaml"} <= data
    assert data <= set(wheel.namelist())


def test_the_wheel_carries_licence_and_notice(wheel: zipfile.ZipFile) -> None:
    carried = {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name}
    assert carried == {"LICENSE", "NOTICE"}


def test_the_notice_names_every_terminology_in_use() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    headings = set(re.findall(r"^(?:[A-Z][\w -]+ \()?([A-Za-z0-9]+)\)?(?:,.*)?$", notice, re.MULTILINE))
    schemes = {row.code.scheme for row in load_codes()}
    assert {"DCM", "SCT", "LN"} <= schemes
    assert schemes <= headings


def test_the_command_is_installed() -> None:
    [entry] = importlib.metadata.entry_points(group="console_scripts", name="lms-sr")
    assert entry.value == "service.cli:main"
    assert callable(entry.load())


@pytest.mark.parametrize("lock", LOCKS)
def test_locked_requirements_have_hashes_and_name_no_machine(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+)==\S+(?: ; [^\\\n]+)? \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^\S", text, re.MULTILINE))
    assert not re.search(r"://|/opt|/root|/home|^--|^#|@ ", text, re.MULTILINE)


def test_every_dependency_is_locked() -> None:
    def names(requirements: list[object]) -> set[str]:
        return {re.split(r"[\[<>=!~; ]", r)[0].lower().replace("_", "-") for r in requirements if isinstance(r, str)}

    groups = PROJECT["dependency-groups"]
    locked = {
        lock: set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in LOCKS
    }
    assert names(PROJECT["project"]["dependencies"]) <= locked["requirements.lock"] <= locked["requirements-dev.lock"]
    assert names(groups["dev"]) <= locked["requirements-dev.lock"]
    assert names(groups["build"]) <= locked["requirements-build.lock"] <= locked["requirements-dev.lock"]


def test_npm_packages_are_locked_by_hash_and_name_no_registry() -> None:
    lock = (ROOT / "tests/interop/npm/package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 50
    assert re.search(r'"integrity": "sha512-', (ROOT / "tests/interop/npm/package.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", [".ci/run", "tests/interop/npm/install", "config/compose/make-secrets"])
def test_scripts_can_be_run_and_are_clean(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o100
    checked = subprocess.run(
        [require("shellcheck", "apt install shellcheck"), path], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_make_says_what_to_do_about_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$*" in *version_info*) exit 1;; esac\necho "Python 3.9.2"\n')
    old.chmod(0o755)
    made = subprocess.run(
        ["make", "-s", "venv", f"PYTHON={old}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert made.returncode != 0
    assert "Python 3.9.2" in made.stderr
    assert "LMS-SR needs Python 3.11, 3.12 or 3.13" in made.stderr
    assert not (tmp_path / "venv").exists()
