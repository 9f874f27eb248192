"""The commands about what is kept: outbox, registry, quarantine, database."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import AsJson, Config, load, say, say_json, table
from service.errors import ConfigurationError, InputError
from service.store.outbox import OutboxState

outbox = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What is to be sent: list, retry, park.")
registry = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The case registry: list, show, export.")
quarantine = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Objects that were put aside.")
db = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database.")

Number = Annotated[int, typer.Argument(help="Number of the object in the outbox.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for name, group in (("outbox", outbox), ("registry", registry), ("quarantine", quarantine), ("db", db)):
        app.add_typer(group, name=name)


@outbox.command("list")
def list_outbox(
    state: Annotated[OutboxState | None, typer.Option("--state", help="Only objects in this state.")] = None,
    study: Annotated[str, typer.Option("--study", help="Only objects of this study.", show_default=False)] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List what is, or was, to be sent, with the last answer.

    Example: lms-sr outbox list --state parked
    """
    from service import app as composition

    rows = composition.outbox_rows(load(config), state=state, study=study)
    if as_json:
        say_json(rows)
        return
    shown = [
        (
            r.id,
            r.state,
            r.kind,
            r.version,
            r.node,
            r.attempt,
            f"{r.next_at:%m-%d %H:%M:%S}" if r.next_at else "",
            r.study_instance_uid,
            r.last_message,
        )
        for r in rows
    ]
    say(
        table(("number", "state", "object", "version", "node", "attempts", "next (UTC)", "study", "last answer"), shown)
    )


@outbox.command()
def retry(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(help="Numbers of objects; without one, all that are parked.", show_default=False),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send parked or waiting objects now; the same object, never a new one.

    Example: lms-sr outbox retry 17
    """
    from service import app as composition

    done = composition.outbox_retry(load(config), tuple(numbers or ()))
    if as_json:
        say_json(done)
        return
    for row in done:
        say(f"{row.id}: {row.kind} for {row.node} is sent again")
    if not done:
        say("nothing is parked")


@outbox.command()
def park(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Why; stands in the story of the study.")] = "by hand",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Stop sending an object; 'outbox retry' goes on.

    Example: lms-sr outbox park 17 --reason "the archive is being moved"
    """
    from service import app as composition

    row = composition.outbox_park(load(config), number, reason)
    if as_json:
        say_json(row)
        return
    say(f"{row.id}: {row.kind} for {row.node} is parked")


@registry.command("list")
def list_cases(
    limit: Annotated[int, typer.Option("--limit", min=1, help="Cases to list.")] = 1000,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the cases, the one with the newest report first.

    Example: lms-sr registry list
    """
    from service import app as composition

    found = composition.cases(load(config), limit=limit)
    if as_json:
        say_json(found)
        return
    rows = [
        (
            c.case_id,
            c.patient_id,
            c.issuer,
            c.studies,
            c.lesions,
            c.newest.study_instance_uid,
            c.newest.version,
            c.newest.completion,
            c.newest.open,
        )
        for c in found
    ]
    say(
        table(
            ("case", "patient id", "issuer", "studies", "lesions", "newest study", "version", "completion", "open"),
            rows,
        )
    )


@registry.command("show")
def show_report(
    study: Annotated[str, typer.Argument(help="Study Instance UID.", show_default=False)],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the current report of a study as the registry has it: every answer, coded, with where it came from.

    Example: lms-sr registry show 1.2.840.1
    """
    from service import app as composition
    from service.model.report_json import from_json
    from service.sr.words import value

    found = composition.registered(load(config), study)
    if as_json:
        say_json({"record": found.record, "report": json.loads(found.content)})
        return
    record, report = found.record, from_json(found.content)
    say(
        f"study {study}, report version {record.version}, {record.completion}, {record.verification}, case {record.case_id}"
    )
    say(f"{record.proposed} proposed, {record.confirmed} confirmed, {record.open} open")
    rows = [
        (
            a.subject,
            a.item,
            a.derivation.meaning if a.derivation else "",
            "; ".join(value(v) for v in a.values),
            a.status,
            a.provenance,
            a.basis,
        )
        for a in report.answers
    ]
    say(table(("about", "item", "derivation", "value", "status", "from", "basis"), rows))


@registry.command()
def export(
    out: Annotated[
        Path | None, typer.Option("--out", help="File; by default standard output.", show_default=False)
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="A row for each report, instead of one for each value.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the current reports as CSV, safe to open in a spreadsheet. It identifies patients.

    Example: lms-sr registry export --wide --out registry.csv
    """
    from service import app as composition

    settings = load(config)
    if out is None:
        if as_json:
            msg = "--json tells how many rows were written, so it needs --out FILE"
            raise ConfigurationError(msg)
        composition.export(settings, sys.stdout, wide=wide)
        return
    with composition.database(settings):
        pass  # a database that cannot be read must not cost the file of yesterday
    try:
        with out.open("w", encoding="utf-8", newline="") as stream:
            rows = composition.export(settings, stream, wide=wide)
    except OSError as error:
        msg = f"{out} cannot be written ({error.strerror}): name another file with --out"
        raise InputError(msg) from error
    if as_json:
        say_json({"file": out, "rows": rows})
        return
    say(f"{out}: {rows} rows")


@quarantine.command("list")
def list_quarantine(config: Config = None, as_json: AsJson = False) -> None:
    """List objects that were put aside: unreadable ones, and others under a SOP Instance UID that is taken.

    Example: lms-sr quarantine list
    """
    from service import app as composition

    found = composition.quarantined(load(config))
    if as_json:
        say_json(found)
        return
    say(table(("since (UTC)", "file", "reason"), [(f"{q.at:%Y-%m-%d %H:%M:%S}", q.path, q.reason) for q in found]))


@db.command()
def upgrade(config: Config = None, as_json: AsJson = False) -> None:
    """Bring the database up to date. 'serve' with both roles does it by itself.

    Example: lms-sr db upgrade --config /etc/lms-sr.toml
    """
    from service import app as composition

    revision = composition.upgrade(load(config))
    if as_json:
        say_json({"schema": revision})
        return
    say(f"the database has schema {revision}")
