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
            _wait_until_recorded(settings, patient.study_instance_uid)
        story = app.explain(settings, patient.study_instance_uid)
        report = _report_in(pacs, patient.study_instance_uid)
        if not returned or report is None:
            told("no report came back; this is what happened:")
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


def _show(result: _Result, *, as_json: bool) -> int:
    ds, study = result.report, result.patient.study_instance_uid
    problems = gate.document_problems(ds)
    parsed = parse(ds, load_template("baseline"))
    compared = compare(parsed, result.patient)
    page = result.folder / "report.html"
    page.write_text(render.as_html(ds), encoding="utf-8")
    object_file = result.folder / "pacs" / f"{ds[Tag(0x0008, 0x0018)].value}.dcm"
    registered = app.registered(result.settings, study)
    agrees = to_json(parsed) == registered.content
    good = not problems and agrees and all(c.agrees for c in compared)
    places = {
        "html": str(page),
        "sr": str(object_file),
        "registry": f"report {registered.record.id} of {result.folder / 'lms-sr.db'}",
        "command": f"lms-sr registry show {study} --config {result.folder / 'lms-sr.toml'}",
    }
    if as_json:
        values = [
            {
                "name": c.expected.name,
                "measured": c.measured,
                "true": c.expected.value,
                "tolerance": c.expected.tolerance,
                "unit": c.expected.unit,
                "agrees": c.agrees,
            }
            for c in compared
        ]
        print(
            json.dumps(
                {"good": good, "study": study, "problems": problems, "registered": agrees, "values": values, **places},
                indent=2,
            )
        )
        return 0 if good else 1
    print(f"\n{render.as_text(ds)}")
    print("Story\n" + "\n".join(f"  {line}" for line in result.story))
    print("\nMeasured in the report, and true of the phantom")
    for c in compared:
        e, factor = c.expected, _MM3_PER_ML if c.expected.unit == "mm3" else 1
        measured = "missing" if c.measured is None else f"{c.measured / factor:8.1f}"
        unit = "mL" if e.unit == "mm3" else e.unit
        print(
            f"  {e.name:<22}{measured:>9} {unit:<3}  true {e.value / factor:8.1f} ± {e.tolerance / factor:.1f}  {'yes' if c.agrees else 'NO'}"
        )
    print(
        f"\nvalid: {'yes' if not problems else '; '.join(problems)}; the registry has the same report: {'yes' if agrees else 'NO'}"
    )
    print(
        f"page          {places['html']}\nSR file       {places['sr']}\nregistry row  {places['registry']}\n              {places['command']}"
    )
    return 0 if good else 1


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
