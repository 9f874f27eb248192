"""The commands that run and look after the service; the others hang below them."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service import __version__, configuration
from service.cli import export, files, report, stores
from service.cli.common import NO, WRONG, AsJson, Config, complain, load, quiet, say, say_json, table
from service.errors import ConfigurationError, LmsSrError, TemplateError
from service.model.events import StudyState
from service.settings import Settings

app = typer.Typer(
    name="lms-sr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="DICOM structured reports for leiomyosarcoma: a study in, a pre-filled report back in the PACS.\n\n"
    "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, setting or template.",
)
files.add_to(app)
export.add_to(app)
report.add_to(app)
stores.add_to(app)

if TYPE_CHECKING:
    from service.app import StudyStatus

#: where our packages lie: a fault is told by the last place of ours, not by a place in a library
_OURS = Path(__file__).resolve().parents[1]

Study = Annotated[str, typer.Argument(help="Study Instance UID.", show_default=False)]
Accession = Annotated[
    str, typer.Option("--accession", help="Name the study by its accession number.", show_default=False)
]


def main() -> None:
    """Run the command; errors are one line on standard error."""
    try:
        app(standalone_mode=True)
    except (ConfigurationError, TemplateError) as error:
        complain(str(error))
        sys.exit(WRONG)
    except LmsSrError as error:
        complain(str(error))
        sys.exit(NO)
    except BrokenPipeError:
        # whoever read our output (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(NO)
    except Exception as error:  # noqa: BLE001 - the edge of the process: its text may quote a header, so only its place is shown
        if os.environ.get("LMS_SR_DEBUG"):
            traceback.print_exc()
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if Path(f.filename).is_relative_to(_OURS)]
        last = (ours or frames)[-1]
        complain(
            f"a fault of the program: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}; "
            "set LMS_SR_DEBUG=1 to see the trace, which may quote patients' data"
        )
        sys.exit(NO)


def _version(value: bool) -> None:
    if value:
        say(f"lms-sr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - its callback has seen it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """DICOM structured reports for leiomyosarcoma."""
    quiet()


# --- running -------------------------------------------------------------------------------------------------------------


@app.command()
def serve(
    config: Config = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="receive or work; more than once for both. Without it: both.", show_default=False),
    ] = None,
    slot: Annotated[
        int, typer.Option("--slot", min=0, help="Tells several 'work' processes over one database apart.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Log as JSON, whatever [log] format says.")] = False,
    any_port: Annotated[bool, typer.Option("--any-port", hidden=True, help="Listen where the system chooses.")] = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Ends with 0 when it was asked to stop, with 2 for a wrong setting, with 1 when a part of it died five times within a minute.

    Example: lms-sr serve --config /etc/lms-sr.toml
    """
    from service.work.handover import ROLES
    from service.work.supervisor import serve as run

    settings = load(config)
    if as_json:
        settings = settings.model_copy(update={"log": settings.log.model_copy(update={"format": "json"})})
    raise typer.Exit(run(settings, tuple(role) if role else ROLES, slot=slot, any_port=any_port))


@app.command()
def demo(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Leave the results here; by default in a temporary folder.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the main job on this machine: a synthetic patient, a stand-in PACS, the service between them.

    Ends with 0 only if the report came back, is valid, and its measured values are those of the phantom.

    Example: lms-sr demo --out demo-results
    """
    from service.demo.run import run

    raise typer.Exit(run(out, as_json=as_json))


@app.command(name="check-config")
def check_config(config: Config = None, as_json: AsJson = False) -> None:
    """Read the settings, see that they make sense, and print what is in force, secrets hidden.

    Example: lms-sr check-config --config /etc/lms-sr.toml
    """
    from service import app as composition

    settings = load(config)
    rules = composition.check(settings)
    shown = configuration.effective(settings)
    if as_json:
        say_json(shown)
        return
    say(configuration.as_toml(shown))
    say(f"# {len(rules)} triage rules: {'; '.join(rules)}")
    if not settings.nodes:
        say("# no [[nodes]]: nobody may send to this service yet")


@app.command()
def echo(
    node: Annotated[str, typer.Argument(help="Name of a node.")], config: Config = None, as_json: AsJson = False
) -> None:
    """Send a C-ECHO to a node, and say which of our classes it takes.

    Example: lms-sr echo PACS --config /etc/lms-sr.toml
    """
    from service.dimse import scu
    from service.flow.produce import CLASS_NAMES, SR_CLASSES

    settings = load(config)
    found = settings.node(node)
    if found is None:
        known = ", ".join(n.name for n in settings.nodes) or "none"
        msg = f"[[nodes]] has no '{node}': it knows {known}"
        raise ConfigurationError(msg)
    if not found.port:
        msg = f"[[nodes]] '{node}' has no port: it only calls us"
        raise ConfigurationError(msg)
    secured = scu.echo(settings, found)
    accepted = scu.probe(settings, found)
    taken = [name for c, name in CLASS_NAMES.items() if c in accepted]
    if as_json:
        coded = [CLASS_NAMES[c] for c in SR_CLASSES if c in accepted]
        say_json({"node": node, "echo": True, "sr_classes": coded, "classes": taken, "tls": secured})
        return
    say(f"{node} ({found.ae_title} at {found.host}:{found.port}) answers")
    if secured is None:
        say("Without TLS: what is sent there can be read on the way")
    else:
        names = ", ".join(sorted(secured.peer.names)) or "no name"
        say(f"{secured.version}, {secured.cipher}; its certificate: {names}, {secured.peer.fingerprint}")
        if secured.peer.ends:
            say(f"Its certificate ends on {secured.peer.ends:%Y-%m-%d}")
    say(f"Classes of ours that it takes: {', '.join(taken) or 'none: reports cannot be stored there'}")


@app.command()
def health(config: Config = None, as_json: AsJson = False) -> None:
    """See whether the service on this machine answers: a C-ECHO to each of its listeners; without one, its database.

    Names the certificates and revocation lists that are about to end, and ends with 1 where our own has.

    Example: lms-sr health --config /etc/lms-sr.toml
    """
    from service import health as checks

    settings = load(config)
    found = checks.examine(settings)
    if as_json:
        shown: dict[str, object] = {"healthy": True}
        if found.tls is not None:
            shown["tls"] = found.tls
        say_json(shown)
        return
    say("healthy")
    if found.tls is not None:
        tls = found.tls
        if tls.listener is not None:
            say(f"TLS on port {tls.port}: {tls.listener.version}, {tls.listener.cipher}, profile {tls.profile}")
        for lapse in tls.lapses:
            if lapse.alarm is not None:
                say(f"look at: {lapse.sentence}")


# --- studies -------------------------------------------------------------------------------------------------------------


@app.command()
def status(
    study: Annotated[str, typer.Argument(help="Study Instance UID; without it, all of the service.")] = "",
    accession: Accession = "",
    state: Annotated[StudyState | None, typer.Option("--state", help="List only studies in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Studies to list.")] = 20,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show where a study stands, or the service as a whole.

    Example: lms-sr status 1.2.840.1 --json
    """
    from service import app as composition

    settings = load(config)
    if study or accession:
        _status_of(composition.status(settings, _study(settings, study, accession)), as_json=as_json)
        return
    found = composition.overview(settings, state=state, limit=limit)
    if as_json:
        say_json(found)
        return
    counted = ", ".join(f"{n} {s.value}" for s, n in sorted(found.states.items())) or "none yet"
    say(f"studies: {counted}")
    say(f"outbox: {found.queued} waiting, {found.parked} parked; quarantine: {found.quarantined}")
    if found.studies:
        say()
        rows = [
            (
                s.study_instance_uid,
                s.state.value,
                s.instance_count,
                s.accession_number,
                f"{s.last_received_at:%Y-%m-%d %H:%M:%S}",
                s.flag,
            )
            for s in found.studies
        ]
        say(table(("study", "state", "instances", "accession", "last received (UTC)", "look at"), rows))


def _status_of(found: StudyStatus, *, as_json: bool) -> None:
    study = found.study
    if as_json:
        say_json(
            {
                "study": study.study_instance_uid,
                "state": study.state,
                "instances": study.instance_count,
                "template": found.template,
                "accession": study.accession_number,
                "flag": study.flag,
                "completion_reason": study.completion_reason,
                "forced": study.forced,
                "reports": found.reports,
            }
        )
        return
    say(f"{study.study_instance_uid}: {study.state.value}, {study.instance_count} instances")
    if study.flag:
        say(f"look at: {study.flag}")
    rows = [
        (r.outbox_id, r.kind, r.version, r.completion, r.verification, r.destination, r.delivery, r.message)
        for r in found.reports
    ]
    if rows:
        say(
            table(
                ("outbox", "object", "version", "completion", "verification", "destination", "delivery", "last answer"),
                rows,
            )
        )


def _study(settings: Settings, study: str, accession: str) -> str:
    from service import app as composition

    if bool(study) == bool(accession):
        msg = "name the study by its Study Instance UID, or by --accession"
        raise ConfigurationError(msg)
    return study or composition.find_accession(settings, accession)


@app.command()
def explain(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")] = "",
    accession: Accession = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of a study, from the first image to the last answer of the PACS, with the reasons.

    Example: lms-sr explain 1.2.840.1
    """
    from service import app as composition

    settings = load(config)
    uid = _study(settings, study, accession)
    lines = composition.explain(settings, uid)
    if as_json:
        say_json({"study": uid, "story": lines})
        return
    for line in lines:
        say(line)


@app.command()
def start(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")] = "",
    accession: Accession = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take a study as it is, now, and make its report, whatever triage says.

    Example: lms-sr start --accession A123
    """
    from service import app as composition

    settings = load(config)
    uid = _study(settings, study, accession)
    composition.start(settings, uid)
    if as_json:
        say_json({"study": uid, "started": True})
        return
    say(f"{uid}: started; 'lms-sr explain {uid}' tells what becomes of it")
