"""The commands: each has help with an example, text and JSON, and says what is wrong in a line with the way out, never in a trace."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydicom import dcmread
from typer.main import get_command

from service import app as composition
from service import offline
from service.cli import app
from service.clock import ManualClock, SystemClock
from service.demo.pacs import StandInPacs
from service.demo.phantom import Phantom
from service.demo.phantom import write as write_phantom
from service.demo.process import write_settings
from service.dimse.scp import Receiver
from service.settings import Database, Local, Node, Settings, Storage
from service.store.engine import make_engine
from service.store.spool import Spool, key_of
from service.work.receiving import make_spool
from tests.commands import Done, lms_sr
from tests.helpers import ROOT, free_port
from tests.integration.world import World, image, images
from tests.interop import validators

STS_002 = ROOT / "tests" / "data" / "sts_002"
NO, WRONG = 1, 2
STUDY, OTHER, UNFINISHED = "1.2.826.0.1.3680043.10.1.1", "1.2.826.0.1.3680043.10.1.2", "1.2.826.0.1.3680043.10.1.3"


def commands(command: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return every command by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {words: command}
    return {k: v for name, child in inner.items() for k, v in commands(child, (*words, name)).items()}


COMMANDS = commands(get_command(app))


def refused(done: Done, code: int, *named: str) -> None:
    """See that a command says in one line of standard error what is wrong, naming it, and nothing else."""
    assert done.code == code, (done.out, done.err)
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("lms-sr: ")
    assert "Traceback" not in done.err
    assert "fault of the program" not in done.err
    for name in named:
        assert name in lines[0]
    assert done.out == ""


# --- help ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example(words: tuple[str, ...]) -> None:
    done = lms_sr(*words, "--help")
    assert done.code == 0
    assert done.err == ""
    assert f"Example: lms-sr {' '.join(words)}" in done.out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_speaks_json_for_scripts(words: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[words].params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("words", [(), *{w[:1] for w in COMMANDS if len(w) > 1}], ids=" ".join)
def test_a_group_without_a_command_lists_them(words: tuple[str, ...]) -> None:
    done = lms_sr(*words)
    assert done.code == WRONG
    assert "Commands" in done.out + done.err


def test_version() -> None:
    assert re.fullmatch(r"lms-sr \d+\.\d+\.\d+\n", lms_sr("--version").out)


@pytest.mark.parametrize(
    "words", [("nonsense",), ("status", "--nonsense"), ("compose",), ("render", "x", "--format", "pdf")]
)
def test_wrong_usage_ends_with_2_and_no_trace(words: tuple[str, ...]) -> None:
    done = lms_sr(*words)
    assert done.code == WRONG
    assert "Traceback" not in done.err
    assert done.err.strip()


def test_the_script_and_the_module_are_the_command() -> None:
    script = Path(sys.executable).with_name("lms-sr")
    for command in ([str(script), "template", "lint"], [sys.executable, "-m", "service.cli", "template", "lint"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "baseline, response, surveillance: no faults\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "service.cli", "template", "docs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == NO


def test_a_fault_of_the_program_shows_its_place_and_no_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Sommer^Jo")

    monkeypatch.delenv("LMS_SR_DEBUG", raising=False)
    monkeypatch.setattr(offline, "measure", fail)
    done = lms_sr("measure", tmp_path)
    assert done.code == NO
    assert "Sommer" not in done.err
    assert re.search(r"RuntimeError at measuring\.py:\d+", done.err)


# --- settings ------------------------------------------------------------------------------------------------------------


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "lms-sr.toml"
    path.write_text(text, encoding="utf-8")
    return path


NEEDS_SETTINGS = [w for w, c in COMMANDS.items() if any("--config" in p.opts for p in c.params)]
ARGUMENTS = {
    ("compose",): (str(STS_002), "--out", "report"), ("measure",): (str(STS_002),), ("echo",): ("PACS",),
    ("explain",): ("1.2.3",), ("start",): ("1.2.3",), ("outbox", "park"): ("1",), ("registry", "show"): ("1.2.3",),
    ("template", "export"): ("baseline", "--format", "fhir", "--out", "form.json"),
    ("convert",): ("report.json", "--to", "fhir", "--out", "out.json"),
    **{("report", step): ("1.2.3",) for step in ("show", "answer", "sign", "amend", "addendum", "withdraw", "history")},
}  # fmt: skip


def test_composing_again_removes_what_it_wrote_and_nothing_that_is_called_alike(tmp_path: Path) -> None:
    from service import offline  # noqa: PLC0415 - as the command does it

    kept = ("report-signed.dcm", "reports.json", "pages.dcm", "measurements_old.dcm", "key-image-of-mine.dcm")
    gone = ("measurements.dcm", "key-image-2.dcm", "page.dcm")
    for name in (*kept, *gone):
        (tmp_path / name).write_bytes(b"x")
    offline._write(tmp_path, {"report.dcm": b"new"})
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "report.dcm"}


@pytest.mark.parametrize("words", NEEDS_SETTINGS, ids=" ".join)
def test_a_settings_file_that_is_not_there(words: tuple[str, ...], tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    refused(lms_sr(*words, *ARGUMENTS.get(words, ()), "--config", missing), WRONG, str(missing), "--config")


@pytest.mark.parametrize("words", NEEDS_SETTINGS, ids=" ".join)
def test_a_setting_that_does_not_exist(words: tuple[str, ...], tmp_path: Path) -> None:
    config = settings_file(tmp_path, "[local]\nprot = 104\n")
    done = lms_sr(*words, *ARGUMENTS.get(words, ()), "--config", config)
    refused(done, WRONG, f"{config}:2", "[local] 'prot' is not known", "did you mean 'port'?")


def test_every_wrong_setting_has_its_line(tmp_path: Path) -> None:
    config = settings_file(tmp_path, '[local]\nprot = 1\nbond = "x"\n[nodes]\n')
    done = lms_sr("check-config", "--config", config)
    assert done.code == WRONG
    assert all(line.startswith("lms-sr: ") for line in done.err.splitlines())
    assert len(done.err.splitlines()) >= 2


def test_check_config_prints_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    config = settings_file(tmp_path, '[database]\nurl = "postgresql://lms:s3cret@db/lms"\n')
    done = lms_sr("check-config", "--config", config)
    assert (done.code, done.err) == (0, "")
    assert "s3cret" not in done.out
    assert "[local]" in done.out
    assert "triage rules" in done.out
    as_json = lms_sr("check-config", "--json", "--config", config)
    assert as_json.data["local"]["ae_title"] == "LMS_SR"
    assert "s3cret" not in as_json.out
    # what it prints is a settings file
    printed = tmp_path / "printed.toml"
    printed.write_text(done.out)
    assert lms_sr("check-config", "--config", printed).code == 0


def test_check_config_looks_into_the_rules(tmp_path: Path) -> None:
    config = settings_file(tmp_path, f'[triage]\nrules = "{tmp_path / "none.toml"}"\n')
    refused(lms_sr("check-config", "--config", config), WRONG, "none.toml")


# --- the network ---------------------------------------------------------------------------------------------------------


def with_node(folder: Path, **changes: object) -> Path:
    node = Node.model_validate({"name": "PACS", "ae_title": "PACS", "port": 104, **changes})
    return write_settings(folder / "lms-sr.toml", Settings(nodes=(node,)))


def test_echo_to_a_node_that_is_not_known(tmp_path: Path) -> None:
    refused(lms_sr("echo", "PACKS", "--config", with_node(tmp_path)), WRONG, "'PACKS'", "it knows PACS")


def test_echo_to_a_node_that_only_calls(tmp_path: Path) -> None:
    refused(lms_sr("echo", "PACS", "--config", with_node(tmp_path, port=0)), WRONG, "'PACS' has no port")


def test_echo_to_a_node_that_is_down(tmp_path: Path) -> None:
    port = free_port()
    refused(lms_sr("echo", "PACS", "--config", with_node(tmp_path, port=port)), NO, "PACS", str(port))


def test_echo_says_which_classes_a_node_takes(tmp_path: Path) -> None:
    with StandInPacs(sr_classes=["1.2.840.10008.5.1.4.1.1.88.22"]) as pacs:
        config = write_settings(tmp_path / "lms-sr.toml", Settings(nodes=(pacs.node(),)))
        done = lms_sr("echo", "PACS", "--config", config)
        assert (done.code, done.err) == (0, "")
        assert "Classes of ours that it takes: Enhanced SR, Basic Text SR" in done.out
        as_json = lms_sr("echo", "PACS", "--json", "--config", config).data
        assert as_json["sr_classes"] == ["Enhanced SR"]
        assert as_json["classes"][:3] == ["Enhanced SR", "Basic Text SR", "Encapsulated PDF"]
        pacs.behaviour.associations = "reject"
        refused(lms_sr("echo", "PACS", "--config", config), NO, "PACS")


def test_health_asks_our_own_listener(tmp_path: Path) -> None:
    settings = Settings(local=Local(port=free_port()), storage=Storage(spool=tmp_path / "spool", reserve_mb=0))
    config = write_settings(tmp_path / "lms-sr.toml", settings)
    refused(lms_sr("health", "--config", config), NO, str(settings.local.port))
    spool = make_spool(settings)
    spool.prepare()
    receiver = Receiver(settings, spool, SystemClock())
    receiver.start()
    try:
        assert lms_sr("health", "--config", config) == Done(code=0, out="healthy\n", err="")
        assert lms_sr("health", "--json", "--config", config).data == {"healthy": True}
    finally:
        receiver.stop(5)


def test_health_without_a_listener_asks_the_database(tmp_path: Path) -> None:
    database = Database(url=SecretStr(f"sqlite:///{tmp_path / 'lms-sr.db'}"))
    config = write_settings(tmp_path / "lms-sr.toml", Settings(local=Local(port=0), database=database))
    refused(lms_sr("health", "--config", config), WRONG, "lms-sr.db", "lms-sr db upgrade")
    assert lms_sr("db", "upgrade", "--config", config).code == 0
    assert lms_sr("health", "--config", config).code == 0


def served(config: Path) -> Done:
    """Run ``serve`` as a process of its own; it is expected to end by itself."""
    command = [sys.executable, "-m", "service.cli", "serve", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def serving(folder: Path, **changes: object) -> Path:
    settings = Settings(
        local=Local(port=free_port()),
        storage=Storage(spool=folder / "spool", reserve_mb=0),
        database=Database(url=SecretStr(f"sqlite:///{folder / 'lms-sr.db'}")),
    )
    return write_settings(folder / "lms-sr.toml", settings.model_copy(update=changes))


def test_serve_on_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = served(serving(tmp_path, local=Local(port=port)))
    assert done.code == WRONG, done.err
    (line,) = (x for x in done.err.splitlines() if "misconfigured" in x)
    assert str(port) in line
    assert "Traceback" not in done.err


def test_serve_with_a_spool_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = served(serving(tmp_path, storage=Storage(spool=tmp_path / "file" / "spool", reserve_mb=0)))
    assert done.code == WRONG, done.err
    assert any(str(tmp_path / "file") in x for x in done.err.splitlines() if "misconfigured" in x)
    assert "Traceback" not in done.err


def test_serve_in_an_unknown_role(tmp_path: Path) -> None:
    refused(lms_sr("serve", "--role", "read", "--config", serving(tmp_path)), WRONG, "'read' is no role", "receive")


# --- what is kept --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A service's database and spool, and the settings file that names them."""

    config: Path
    world: World

    def __call__(self, *words: str | Path) -> Done:
        return lms_sr(*words, "--config", self.config)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Return a database with a study that is sent, one that is parked, and one that is not complete."""
    folder = tmp_path_factory.mktemp("kept")
    url = f"sqlite:///{folder / 'lms-sr.db'}"
    settings = Settings(
        storage=Storage(spool=folder / "spool", reserve_mb=0),
        database=Database(url=SecretStr(url)),
        nodes=(Node(name="PACS", ae_title="PACS", port=104, query=True, reports=True),),
    )
    config = write_settings(folder / "lms-sr.toml", settings)
    assert lms_sr("db", "upgrade", "--config", config).code == 0
    engine = make_engine(url)
    world = World.make(engine, folder)
    world.arrive(*images(study=STUDY))
    world.run(7200)
    world.arrive(*images(study=OTHER, patient="P-2"))
    world.pacs.every_store = 0xA900
    world.run(7200)
    world.arrive(image(study=UNFINISHED, patient="P-3"))
    # the same UID with other content is put aside
    world.receive(image(study=STUDY, name="Winter^Jo"))
    yield Kept(config=config, world=world)
    engine.dispose()


def test_status_of_the_service(kept: Kept) -> None:
    done = kept("status")
    assert (done.code, done.err) == (0, "")
    assert "studies: 1 parked, 1 received, 1 sent" in done.out
    assert "quarantine: 1" in done.out
    found = kept("status", "--json").data
    assert found["states"] == {"sent": 1, "parked": 1, "received": 1}
    assert {s["study_instance_uid"] for s in found["studies"]} == {STUDY, OTHER, UNFINISHED}
    only = kept("status", "--state", "parked", "--json").data
    assert [s["study_instance_uid"] for s in only["studies"]] == [OTHER]
    assert len(kept("status", "--limit", "1", "--json").data["studies"]) == 1


def test_status_of_a_study_has_what_scripts_rely_on(kept: Kept) -> None:
    found = kept("status", STUDY, "--json").data
    assert {k: found[k] for k in ("study", "state", "instances", "template")} == {
        "study": STUDY, "state": "sent", "instances": 3, "template": "baseline",
    }  # fmt: skip
    (report,) = found["reports"]
    assert report["sop_instance_uid"] in kept.world.pacs.objects
    assert {k: report[k] for k in ("version", "completion", "verification", "destination", "delivery")} == {
        "version": 1, "completion": "PARTIAL", "verification": "UNVERIFIED", "destination": "PACS", "delivery": "sent",
    }  # fmt: skip
    text = kept("status", STUDY).out
    assert f"{STUDY}: sent, 3 instances" in text
    assert "PARTIAL" in text


def test_explain_tells_the_story(kept: Kept) -> None:
    story = kept("explain", STUDY).out
    assert [story.index(w) for w in ("arrived from", "complete with 3", "triage: report", "stored at PACS")] == sorted(
        story.index(w) for w in ("arrived from", "complete with 3", "triage: report", "stored at PACS")
    )
    as_json = kept("explain", STUDY, "--json").data
    assert as_json["study"] == STUDY
    assert as_json["story"] == story.splitlines()
    assert "A900" in kept("explain", OTHER).out


@pytest.mark.parametrize("words", [("status",), ("explain",), ("start",)], ids=" ".join)
class TestNamingAStudy:
    def test_that_never_came(self, kept: Kept, words: tuple[str, ...]) -> None:
        refused(kept(*words, "1.2.3"), NO, "study 1.2.3 was not received", "lms-sr status")

    def test_by_an_accession_number_that_never_came(self, kept: Kept, words: tuple[str, ...]) -> None:
        refused(kept(*words, "--accession", "NONE"), NO, "accession number NONE", "lms-sr status")

    def test_twice(self, kept: Kept, words: tuple[str, ...]) -> None:
        refused(kept(*words, STUDY, "--accession", "A"), WRONG, "--accession")


@pytest.mark.parametrize("command", ["explain", "start"])
def test_a_study_has_to_be_named(kept: Kept, command: str) -> None:
    refused(kept(command), WRONG, "--accession")


def test_an_accession_number_names_one_study_or_says_which_there_are(tmp_path: Path) -> None:
    phantom = Phantom(seed="one", slices=2, matrix=8, phases=("portal venous",), accession_number="ACC1")
    twin = Phantom(seed="two", slices=2, matrix=8, phases=("portal venous",), accession_number="ACC2", patient_id="P2")
    third = Phantom(
        seed="three", slices=2, matrix=8, phases=("portal venous",), accession_number="ACC2", patient_id="P3"
    )
    database = Database(url=SecretStr(f"sqlite:///{tmp_path / 'lms-sr.db'}"))
    settings = Settings(storage=Storage(spool=tmp_path / "spool", reserve_mb=0), database=database)
    config = write_settings(tmp_path / "lms-sr.toml", settings)
    assert lms_sr("db", "upgrade", "--config", config).code == 0
    engine = make_engine(database.url.get_secret_value())
    world = World.make(engine, tmp_path)
    for one in (phantom, twin, third):
        world.arrive(*write_phantom(one, tmp_path / one.seed, with_segmentation=False))
    engine.dispose()
    found = lms_sr("status", "--accession", "ACC1", "--json", "--config", config).data
    assert found["study"] == phantom.study_instance_uid
    done = lms_sr("status", "--accession", "ACC2", "--config", config)
    refused(done, NO, "2 studies", twin.study_instance_uid, third.study_instance_uid)


def test_start_takes_a_study_as_it_is(kept: Kept) -> None:
    done = kept("start", UNFINISHED)
    assert (done.code, done.err) == (0, "")
    assert "lms-sr explain" in done.out
    assert "started by hand" in kept("explain", UNFINISHED).out
    assert kept("status", UNFINISHED, "--json").data["state"] == "complete"
    assert kept("start", UNFINISHED, "--json").data == {"study": UNFINISHED, "started": True}


def test_outbox_lists_parks_and_sends_again(kept: Kept) -> None:
    rows = kept("outbox", "list", "--json").data
    assert {r["study_instance_uid"] for r in rows} == {STUDY, OTHER}
    (parked,) = kept("outbox", "list", "--state", "parked", "--json").data
    assert parked["study_instance_uid"] == OTHER
    assert [r["study_instance_uid"] for r in kept("outbox", "list", "--study", STUDY, "--json").data] == [STUDY]
    text = kept("outbox", "list", "--state", "parked").out
    assert "A900" in text
    assert OTHER in text

    number = str(parked["id"])
    retried = kept("outbox", "retry", number)
    assert (retried.code, retried.err) == (0, "")
    assert kept("outbox", "list", "--state", "parked", "--json").data == []
    assert kept("outbox", "retry").out == "nothing is parked\n"
    assert kept("outbox", "park", number, "--reason", "moving house").code == 0
    assert "moving house" in kept("explain", OTHER).out
    assert kept("outbox", "retry", "--json").data[0]["id"] == parked["id"]
    assert kept("outbox", "park", number, "--json").data["state"] == "parked"


def test_outbox_numbers_that_are_not_there(kept: Kept) -> None:
    refused(kept("outbox", "retry", "999"), NO, "outbox 999", "lms-sr outbox list")
    refused(kept("outbox", "park", "999"), NO, "outbox 999", "lms-sr outbox list")
    sent = next(r["id"] for r in kept("outbox", "list", "--json").data if r["state"] == "sent")
    refused(kept("outbox", "retry", str(sent)), NO, f"outbox {sent}")


def test_registry_lists_and_shows(kept: Kept) -> None:
    cases = kept("registry", "list", "--json").data
    assert {c["patient_id"] for c in cases} == {"P-1", "P-2"}
    assert "P-1" in kept("registry", "list").out
    shown = kept("registry", "show", STUDY, "--json").data
    assert shown["record"]["study_instance_uid"] == STUDY
    assert shown["report"]["study_instance_uid"] == STUDY
    text = kept("registry", "show", STUDY).out
    assert f"study {STUDY}, report version 1, PARTIAL, UNVERIFIED" in text
    refused(kept("registry", "show", "1.2.3"), NO, "1.2.3", "lms-sr registry list")


@pytest.mark.parametrize("wide", [False, True])
def test_registry_export_is_csv(kept: Kept, wide: bool, tmp_path: Path) -> None:
    words = ("registry", "export", *(["--wide"] if wide else []))
    printed = kept(*words)
    assert (printed.code, printed.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert {r["study_instance_uid"] for r in rows} == {STUDY, OTHER}
    assert (len(rows) == 2) == wide
    out = tmp_path / "registry.csv"
    assert kept(*words, "--out", out).out == f"{out}: {len(rows)} rows\n"
    assert list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))) == rows
    assert kept(*words, "--out", out, "--json").data == {"file": str(out), "rows": len(rows)}
    refused(kept(*words, "--json"), WRONG, "--out FILE")
    refused(kept(*words, "--out", tmp_path / "none" / "x.csv"), NO, "x.csv", "--out")


def test_a_wrong_database_does_not_cost_yesterdays_export(tmp_path: Path) -> None:
    out = tmp_path / "registry.csv"
    out.write_text("yesterday")
    config = serving(tmp_path)
    refused(lms_sr("registry", "export", "--out", out, "--config", config), WRONG, "lms-sr.db")
    assert out.read_text() == "yesterday"


def test_quarantine_lists_what_was_put_aside(kept: Kept) -> None:
    (found,) = kept("quarantine", "list", "--json").data
    assert found["key"] == key_of(f"{STUDY}.1.1")
    assert Path(found["path"]).is_file()
    text = kept("quarantine", "list").out
    assert found["path"] in text
    assert "Winter" not in text


def test_quarantine_without_a_spool_is_empty(tmp_path: Path) -> None:
    done = lms_sr("quarantine", "list", "--json", "--config", serving(tmp_path))
    assert done.data == []
    assert not (tmp_path / "spool").exists()


READS_DATABASE = [
    ("status",), ("explain", "1.2.3"), ("start", "1.2.3"), ("outbox", "list"), ("outbox", "retry"), ("outbox", "park", "1"),
    ("registry", "list"), ("registry", "show", "1.2.3"), ("registry", "export"), ("report", "show", "1.2.3"),
    ("report", "answer", "1.2.3", "gp=gp.mixed", "--as", "Roe^Jane"), ("report", "history", "1.2.3"),
]  # fmt: skip


@pytest.mark.parametrize("words", READS_DATABASE, ids=" ".join)
def test_a_database_that_is_not_there_or_not_migrated(words: tuple[str, ...], tmp_path: Path) -> None:
    config = serving(tmp_path)
    refused(lms_sr(*words, "--config", config), WRONG, str(tmp_path / "lms-sr.db"), "lms-sr db upgrade")
    assert not (tmp_path / "lms-sr.db").exists(), "a command that reads makes no database"
    (tmp_path / "lms-sr.db").touch()
    refused(lms_sr(*words, "--config", config), WRONG, "schema none", "lms-sr db upgrade")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "lms-sr.db").write_text("no database " * 100)
    refused(lms_sr("status", "--config", serving(tmp_path)), WRONG, "database")


def test_a_database_server_that_is_down_is_named_without_its_password(tmp_path: Path) -> None:
    database = Database(url=SecretStr(f"postgresql://lms:s3cret@127.0.0.1:{free_port()}/lms"))
    for words in (("status",), ("db", "upgrade")):
        done = lms_sr(*words, "--config", serving(tmp_path, database=database))
        refused(done, WRONG, "127.0.0.1", "does not answer")
        assert "s3cret" not in done.err


def test_upgrade_says_the_schema(tmp_path: Path) -> None:
    config = serving(tmp_path)
    assert re.fullmatch(r"the database has schema \w+\n", lms_sr("db", "upgrade", "--config", config).out)
    again = lms_sr("db", "upgrade", "--json", "--config", config)
    assert set(again.data) == {"schema"}
    assert lms_sr("status", "--json", "--config", config).data["states"] == {}


# --- templates -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a copy of the templates in which an item asks for a code that is not there."""
    folder = tmp_path / "templates"
    shutil.copytree(ROOT / "sr_templates", folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    tumour = folder / "sections" / "tumour.yaml"
    text = tumour.read_text(encoding="utf-8")
    first = re.search(r"\bv\.\w+", text)
    assert first is not None
    tumour.write_text(text.replace(first[0], "v.of_the_moon", 1), encoding="utf-8")
    return folder


def test_templates_are_listed_shown_and_documented() -> None:
    assert "baseline" in lms_sr("template", "list").out
    listed = {t["name"]: t for t in lms_sr("template", "list", "--json").data}
    assert set(listed) == {"baseline", "response", "surveillance"}
    assert listed["baseline"]["items"] > 50
    shown = lms_sr("template", "show", "baseline")
    assert shown.code == 0
    assert "Impression" in shown.out
    assert lms_sr("template", "show", "baseline", "--json").data["key"] == "baseline"
    assert lms_sr("template", "docs").out == lms_sr("template", "docs", "--json").data["markdown"]
    assert lms_sr("template", "lint", "--json").data == {name: [] for name in listed}


@pytest.mark.parametrize("command", ["show", "docs", "lint"])
def test_a_template_that_is_not_there(command: str) -> None:
    refused(lms_sr("template", command, "basline"), WRONG, "basline", "baseline")


def test_compose_with_a_template_that_is_not_there(tmp_path: Path) -> None:
    done = lms_sr("compose", STS_002, "--out", tmp_path / "out", "--template", "basline")
    refused(done, WRONG, "basline", "baseline")


def test_a_template_with_an_unknown_code(broken: Path) -> None:
    for words in (("lint",), ("lint", "baseline"), ("show", "baseline"), ("docs", "baseline"), ("list",)):
        refused(lms_sr("template", *words, "--folder", broken), WRONG, "tumour.yaml:", "v.of_the_moon")
    faults = lms_sr("template", "lint", "--json", "--folder", broken)
    assert faults.code == WRONG
    assert "v.of_the_moon" in faults.data["baseline"][0]


def test_a_folder_without_templates(tmp_path: Path) -> None:
    refused(lms_sr("template", "list", "--folder", tmp_path), WRONG, str(tmp_path))


# --- files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    write_phantom(Phantom(slices=24, slice_spacing=8.0, matrix=64, pixel=5.6, phases=("portal venous",)), folder)
    return folder


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("composed")
    done = lms_sr("compose", STS_002, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert all(str(out / name) in done.out for name in NAMES)
    return out


NAMES = ("report.dcm", "measurements.dcm", "report.json")


@pytest.mark.parametrize("which", ["sts_002", "phantom"])
def test_compose_writes_three_files_that_are_valid(which: str, phantom: Path, tmp_path: Path) -> None:
    folder = STS_002 if which == "sts_002" else phantom
    done = lms_sr("compose", folder, "--out", tmp_path, "--json")
    assert (done.code, done.err) == (0, "")
    (study,) = done.data["studies"]
    assert study["files"] == [str(tmp_path / name) for name in NAMES]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(NAMES)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["study_instance_uid"] == study["study_instance_uid"]
    for name in NAMES[:2]:
        assert lms_sr("validate", tmp_path / name) == Done(code=0, out=f"{tmp_path / name}: valid\n", err="")
        assert lms_sr("validate", tmp_path / name, "--json").data["valid"] is True
        assert [line for line in validators.dciodvfy(tmp_path / name) if line.startswith("Error")] == []


def test_the_same_folder_at_the_same_time_gives_the_same_bytes(tmp_path: Path) -> None:
    now = ManualClock().now()
    for out in ("first", "second"):
        offline.compose(Settings(), STS_002, tmp_path / out, now=now)
    for name in NAMES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_compose_takes_class_profile_and_the_sites_settings(phantom: Path, tmp_path: Path) -> None:
    config = settings_file(tmp_path, '[site]\ntimezone = "Europe/Berlin"\n[reports]\nseries_number = 77\n')
    out = tmp_path / "out"
    options = ("--sop-class", "comprehensive-3d", "--profile", "ohif", "--config", config)
    assert lms_sr("compose", phantom, "--out", out, *options).code == 0
    report, companion = dcmread(out / "report.dcm"), dcmread(out / "measurements.dcm")
    assert report.SOPClassUID == companion.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert report.SeriesNumber == 77
    assert report.TimezoneOffsetFromUTC in {"+0100", "+0200"}
    assert b"Cornerstone3DTools" in (out / "measurements.dcm").read_bytes()
    assert b"Cornerstone3DTools" not in (out / "report.dcm").read_bytes()


def test_compose_leaves_nothing_of_an_earlier_run(phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert lms_sr("compose", phantom, "--out", out).code == 0
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in sorted(phantom.iterdir())[:-1]:
        shutil.copy(path, bare)
    assert lms_sr("compose", bare, "--out", out).code == 0
    assert sorted(p.name for p in out.iterdir()) == ["report.dcm", "report.json"]


def test_several_studies_go_into_folders_of_their_own(phantom: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(phantom, both / "one")
    shutil.copytree(STS_002, both / "two")
    (both / "notes.txt").write_text("no DICOM")
    done = lms_sr("compose", both, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert len(done.data["studies"]) == 2
    assert len(done.data["refused"]) == 1
    for study in done.data["studies"]:
        assert (tmp_path / "out" / study["study_instance_uid"] / "report.dcm").is_file()
    text = lms_sr("compose", both, "--out", tmp_path / "out")
    assert text.code == 0
    assert re.fullmatch(r"lms-sr: left out: .*notes\.txt.*\n", text.err)


@pytest.mark.parametrize("command", ["compose", "measure"])
class TestAFolder:
    def words(self, command: str, folder: Path) -> tuple[str | Path, ...]:
        return (command, folder, *(("--out", folder.parent / "out") if command == "compose" else ()))

    def test_that_is_not_there(self, command: str, tmp_path: Path) -> None:
        refused(lms_sr(*self.words(command, tmp_path / "none")), NO, str(tmp_path / "none"))

    def test_without_dicom(self, command: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "notes.txt").write_text("no DICOM")
        refused(lms_sr(*self.words(command, tmp_path / "in")), NO, str(tmp_path / "in"), "no DICOM file")

    def test_that_is_empty(self, command: str, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        refused(lms_sr(*self.words(command, tmp_path / "in")), NO, str(tmp_path / "in"), "no DICOM file")


def test_compose_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(lms_sr("compose", STS_002, "--out", tmp_path / "file"), NO, str(tmp_path / "file"), "--out")
    refused(lms_sr("demo", "--out", tmp_path / "file" / "x"), NO, str(tmp_path / "file"), "--out")


def test_measure_prints_what_scripts_rely_on() -> None:
    done = lms_sr("measure", STS_002, "--json")
    (segment,) = done.data["segments"]
    assert set(segment) >= {"study_instance_uid", "label", "source_sop_instance_uid", "segment", "measurements"}
    assert segment["label"] == "GTV_Mass"
    assert segment["source_sop_instance_uid"] == dcmread(STS_002 / "CT_SEG.dcm").SOPInstanceUID
    found = {m["name"]: m for m in segment["measurements"] if "derivation" not in m}
    assert all(set(m) >= {"name", "value", "unit", "method"} for m in segment["measurements"])
    # 53.295 mL and a mean of 59.021 HU by the published CT_SR_TID1500.dcm
    assert found["sz.volume"]["value"] == pytest.approx(53295, abs=1)
    assert found["sz.volume"]["unit"] == "mm3"
    assert {m["unit"] for n, m in found.items() if n.startswith("sz.") and "vol" not in n} == {"mm"}
    (mean,) = (m for m in segment["measurements"] if m.get("derivation") == "deriv.mean")
    assert (round(mean["value"], 3), mean["unit"]) == (59.021, "[hnsf'U]")
    text = lms_sr("measure", STS_002).out
    assert f"segment 1 'GTV_Mass' (tumour) of {segment['source_sop_instance_uid']}" in text
    assert "53295" in text


def test_measure_without_a_segmentation_says_so(tmp_path: Path) -> None:
    shutil.copytree(STS_002 / "PET", tmp_path / "in")
    assert lms_sr("measure", tmp_path / "in").out.startswith("no segmentation and no structure set in this folder\n")
    found = lms_sr("measure", tmp_path / "in", "--json").data
    assert (found["segments"], found["left_out"]) == ([], [])


def test_render_shows_text_and_html(composed: Path) -> None:
    report = composed / "report.dcm"
    text = lms_sr("render", report)
    assert (text.code, text.err) == (0, "")
    assert "DRAFT, NOT VERIFIED" in text.out
    page = lms_sr("render", report, "--format", "html").out
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "DRAFT, NOT VERIFIED" in page
    as_json = lms_sr("render", report, "--json").data
    assert (as_json["file"], as_json["format"], as_json["content"]) == (str(report), "text", text.out)


@pytest.mark.parametrize("command", ["render", "validate"])
class TestAFile:
    def test_that_is_not_there(self, command: str, tmp_path: Path) -> None:
        refused(lms_sr(command, tmp_path / "none.dcm"), NO, str(tmp_path / "none.dcm"))

    def test_that_is_a_folder(self, command: str, tmp_path: Path) -> None:
        refused(lms_sr(command, tmp_path), NO, str(tmp_path))

    def test_that_is_no_dicom(self, command: str, tmp_path: Path) -> None:
        for number, content in enumerate((b"", b"no DICOM", b"\0" * 128 + b"DICM", os.urandom(1000))):
            path = tmp_path / f"{number}.dcm"
            path.write_bytes(content)
            refused(lms_sr(command, path), NO, str(path))

    def test_that_is_no_sr(self, command: str) -> None:
        path = next((STS_002 / "CT").iterdir())
        refused(lms_sr(command, path), NO, str(path), "no SR document")


def test_validate_finds_what_was_damaged(composed: Path, tmp_path: Path) -> None:
    for name, change in (("report", "CompletionFlag"), ("measurements", "VerificationFlag")):
        ds = dcmread(composed / f"{name}.dcm")
        setattr(ds, change, "MAYBE")
        path = tmp_path / f"{name}.dcm"
        ds.save_as(path)
        done = lms_sr("validate", path)
        assert (done.code, done.out) == (NO, "")
        assert f"{path}: flags " in done.err
        as_json = lms_sr("validate", path, "--json")
        assert (as_json.code, as_json.data["valid"]) == (NO, False)
        assert "MAYBE" in as_json.data["problems"][0]


def test_validate_finds_an_answer_that_does_not_read_back(composed: Path, tmp_path: Path) -> None:
    ds = dcmread(composed / "report.dcm")
    for item in ds.ContentSequence:
        if item.ValueType == "CONTAINER":
            del item.ConceptNameCodeSequence
            break
    ds.save_as(tmp_path / "report.dcm")
    done = lms_sr("validate", tmp_path / "report.dcm")
    assert done.code == NO
    assert "report.dcm: " in done.err


def test_what_a_library_finds_odd_is_not_printed(composed: Path, tmp_path: Path) -> None:
    content = (composed / "report.dcm").read_bytes()
    path = tmp_path / "odd.dcm"
    path.write_bytes(content.replace(b"1.2.840.10008.5.1.4.1.1.128", b"1.2.840.10+08.5.1.4.1.1.128"))
    command = [sys.executable, "-m", "service.cli", "validate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == NO
    assert "Warning" not in done.stderr
    assert all(line.startswith(f"lms-sr: {path}") for line in done.stderr.splitlines())


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_is_a_fault_of_the_program(composed: Path, tmp_path: Path, seed: int) -> None:
    rng, content = random.Random(seed), bytearray((composed / "report.dcm").read_bytes())
    for _ in range(rng.randint(1, 20)):
        content[rng.randrange(132, len(content))] = rng.randrange(256)
    at = rng.randrange(132, len(content))
    content[at : at + rng.choice([0, 0, 1, 30])] = rng.randbytes(rng.choice([0, 0, 1, 30]))
    path = tmp_path / "damaged.dcm"
    path.write_bytes(bytes(content))
    for words in (("validate",), ("render",), ("render", "--format", "html")):
        done = lms_sr(words[0], path, *words[1:])
        assert "fault of the program" not in done.err, seed
        assert done.code in {0, NO}
        assert (done.code == NO) == bool(done.err)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_file_that_ends_too_early_is_never_valid(composed: Path, tmp_path: Path, share: float) -> None:
    content = (composed / "report.dcm").read_bytes()
    path = tmp_path / "short.dcm"
    path.write_bytes(content[: int(len(content) * share)])
    done = lms_sr("validate", path)
    assert done.code == NO
    assert done.err.startswith(f"lms-sr: {path}")
    assert "fault of the program" not in done.err


def test_the_composition_root_needs_no_network(tmp_path: Path) -> None:
    assert isinstance(composition.check(Settings()), tuple)
    assert Spool(tmp_path / "spool").root == tmp_path / "spool"
