"""The demo: the main job from a scanner's images to the report in the PACS, and a look at whether its numbers are true."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from service import app
from service.demo import phantom as synthetic
from service.demo.pacs import StandInPacs
from service.demo.phantom import Phantom
from service.demo.process import ServiceProcess, write_settings
from service.demo.truth import Expected
from service.errors import InputError
from service.model.report import Quantity, Report
from service.model.report_json import to_json
from service.settings import Completion, Database, Local, Settings, Storage
from service.sr import gate, render
from service.sr.parse import parse
from sr_templates import CodeTable, load_codes, load_template

#: how long the report may take from the last image; the service waits two seconds of quiet
_PATIENCE = 45.0
_REPORT_TITLE = "126001"
_TENTHS = 10
_SOP_INSTANCE_UID = Tag(0x0008, 0x0018)
_MM3_PER_ML = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A measured value beside the truth; ``measured`` is None where the report lacks it."""

    expected: Expected
    measured: float | None

    @property
    def agrees(self) -> bool:
        """Say whether the report gives the value, near enough."""
        return self.measured is not None and self.expected.admits(self.measured)


class _Told:
    """Progress, on standard error, so that standard output stays for the results."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, what: str, *, again: bool = False) -> None:
        line = f"[{time.monotonic() - self._started:5.1f} s] {what}"
        live = sys.stderr.isatty()
        if again and not live:
            return
        print(f"\r{line:<78}" if live else line, end="" if again else "\n", file=sys.stderr, flush=True)


def run(out: Path | None = None, *, as_json: bool = False, phantom: Phantom | None = None) -> int:
    """Run the demo; return 0 if the report came back, is valid and says what is true, else 1.

    Parameters
    ----------
    out:
        Where everything is left; None: a new temporary folder.
    as_json:
        Print the result as JSON instead of text.
    phantom:
        The synthetic patient; for tests.
    """
    told = _Told()
    folder = out if out is not None else Path(tempfile.mkdtemp(prefix="lms-sr-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder} cannot be made ({error.strerror}): name another folder with --out"
        raise InputError(msg) from error
    patient = phantom or Phantom(seed=f"demo {time.time_ns()}")
    told("making a synthetic patient: CT in two phases, and a SEG of tumour, vena cava, aorta, kidneys and liver")
    study = synthetic.study(patient)
    with StandInPacs("PACS", folder=folder / "pacs") as pacs:
        pacs.put(study)
        settings = _settings(folder, pacs)
        config = write_settings(folder / "lms-sr.toml", settings)
        told(f"the stand-in PACS listens on port {pacs.port} and holds {len(study)} objects; starting the service")
        with ServiceProcess(config, folder / "lms-sr.log") as service:
            told(f"the service listens on port {service.port}; the PACS forwards the study")
            node = service.node(settings.local.ae_title)
            pacs.forward(
                node, told=lambda sent, of: told(f"forwarded {sent} of {of}", again=sent < of and sent % _TENTHS > 0)
            )
            told("waiting for the report in the PACS")
            returned = pacs.wait(lambda: len(pacs.reports(patient.study_instance_uid)) > 1, _PATIENCE)
            if returned:
                _wait_until_recorded(settings, patient.study_instance_uid)
        story = _story(settings, patient.study_instance_uid)
        report = _report_in(pacs, patient.study_instance_uid)
        if not returned or report is None:
            told(f"no report came back; this is what happened, and {folder / 'lms-sr.log'} says more:")
            print("\n".join(story), file=sys.stderr)
            return 1
        told("the report is back in the PACS")
    return _show(
        _Result(folder=folder, settings=settings, patient=patient, report=report, story=story), as_json=as_json
    )


def _settings(folder: Path, pacs: StandInPacs) -> Settings:
    return Settings(
        local=Local(ae_title="LMS_SR", bind="127.0.0.1"),
        storage=Storage(spool=folder / "spool", reserve_mb=100),
        database=Database(url=SecretStr(f"sqlite:///{folder / 'lms-sr.db'}")),
        completion=Completion(confirmed_quiet_seconds=2, quiet_seconds=20),
        nodes=(pacs.node(),),
    )


def _story(settings: Settings, study: str) -> tuple[str, ...]:
    try:
        return app.explain(settings, study)
    except InputError as error:
        return (str(error),)


def _wait_until_recorded(settings: Settings, study: str, seconds: float = 10.0) -> None:
    """Wait until the service has taken down what the PACS answered: the object is there a moment before."""
    until = time.monotonic() + seconds
    while app.status(settings, study).study.state != "sent" and time.monotonic() < until:
        time.sleep(0.1)


def _report_in(pacs: StandInPacs, study: str) -> Dataset | None:
    reports = [r for r in pacs.reports(study) if r.ConceptNameCodeSequence[0].CodeValue == _REPORT_TITLE]
    return reports[-1] if reports else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    folder: Path
    settings: Settings
    patient: Phantom
    report: Dataset
    story: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What the demo found out. ``places``: what is found where."""

    study: str
    problems: tuple[str, ...]
    compared: tuple[Compared, ...]
    registered: bool
    places: tuple[tuple[str, str], ...]

    @property
    def good(self) -> bool:
        return not self.problems and self.registered and all(c.agrees for c in self.compared)


def _show(result: _Result, *, as_json: bool) -> int:
    judged = _judge(result)
    if as_json:
        values = [
            {"name": c.expected.name, "measured": c.measured, "true": c.expected.value, "unit": c.expected.unit}
            | {"tolerance": c.expected.tolerance, "agrees": c.agrees}
            for c in judged.compared
        ]
        facts = {
            "good": judged.good,
            "study": judged.study,
            "problems": judged.problems,
            "registered": judged.registered,
        }
        print(json.dumps(facts | {"values": values} | dict(judged.places), indent=2))
    else:
        _print(result, judged)
    return 0 if judged.good else 1


def _judge(result: _Result) -> _Judged:
    ds, study = result.report, result.patient.study_instance_uid
    parsed = parse(ds, load_template("baseline"))
    page = result.folder / "report.html"
    page.write_text(render.as_html(ds), encoding="utf-8")
    registered = app.registered(result.settings, study)
    object_file = result.folder / "pacs" / f"{ds[_SOP_INSTANCE_UID].value}.dcm"
    return _Judged(
        study=study,
        problems=tuple(gate.document_problems(ds)),
        compared=compare(parsed, result.patient),
        registered=to_json(parsed) == registered.content,
        places=(
            ("page", str(page)),
            ("sr", str(object_file)),
            ("registry", f"report {registered.record.id} in {result.folder / 'lms-sr.db'}"),
            ("command", f"{_command()} registry show {study} --config {result.folder / 'lms-sr.toml'}"),
        ),
    )


def _command() -> str:
    """Return the command as it was called, so that what is printed can be copied."""
    return sys.argv[0] if Path(sys.argv[0]).name == "lms-sr" else "lms-sr"


def _print(result: _Result, judged: _Judged) -> None:
    print(f"\n{render.as_text(result.report)}")
    print("Story\n" + "\n".join(f"  {line}" for line in result.story))
    print("\nMeasured in the report, and true of the phantom")
    for c in judged.compared:
        print(f"  {_line(c)}")
    print(
        f"\nvalid: {'; '.join(judged.problems) or 'yes'}; the registry has the same report: {_yes(judged.registered)}"
    )
    for what, where in judged.places:
        print(f"{what:<10}{where}")


def _line(c: Compared) -> str:
    expected = c.expected
    factor, unit = (_MM3_PER_ML, "mL") if expected.unit == "mm3" else (1, expected.unit)
    measured = "missing" if c.measured is None else f"{c.measured / factor:.1f}"
    true = f"true {expected.value / factor:8.1f} ± {expected.tolerance / factor:.1f}"
    return f"{expected.name:<22}{measured:>9} {unit:<3}  {true}  {_yes(c.agrees)}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"


def compare(report: Report, patient: Phantom) -> tuple[Compared, ...]:
    """Return the values of the report's first lesion beside what is true of the phantom."""
    codes = load_codes()
    return tuple(Compared(expected=e, measured=_measured(report, e, codes)) for e in patient.truth.all)


def _measured(report: Report, expected: Expected, codes: CodeTable) -> float | None:
    wanted = codes[expected.derivation] if expected.derivation else None
    for answer in report.answers:
        if answer.item != expected.item or (wanted is not None and answer.derivation != wanted):
            continue
        value = answer.values[0]
        if isinstance(value, Quantity) and value.number is not None:
            return float(value.number) * (_MM3_PER_ML if expected.unit == "mm3" else 1)
    return None
