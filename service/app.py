"""The composition root: settings become services, and what a person may ask of the service is a function here.

Nothing in this module prints; `service.cli` does. Every function takes the settings, opens what it needs, and closes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.clock import SystemClock
from service.dimse import tls
from service.errors import ConfigurationError, InputError
from service.flow import triage
from service.model.events import StudyState, tell
from service.model.report import CompletionFlag, VerificationFlag
from service.model.report_json import to_json
from service.settings import Settings
from service.store import csvout, events, inbox, outbox, registry, schema
from service.store.engine import make_engine, parse_url
from service.store.inbox import StudyRecord
from service.store.outbox import OutboxRecord, OutboxState
from service.store.registry import CaseSummary, ReportRecord
from service.store.spool import Quarantined
from service.work.receiving import make_spool
from service.work.services import Services
from sr_templates import load_template, template_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One object of a report, for one destination."""

    outbox_id: int
    kind: str
    sop_instance_uid: str
    version: int
    completion: CompletionFlag
    verification: VerificationFlag
    destination: str
    delivery: OutboxState
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """Where a study stands; ``flag`` says why a person has to look, and is empty otherwise."""

    study: StudyRecord
    template: str
    reports: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How many studies stand where, the newest of them, and what waits for a person."""

    states: dict[StudyState, int]
    studies: tuple[StudyRecord, ...]
    queued: int
    parked: int
    quarantined: int


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """Open the database for a command.

    Raises
    ------
    ConfigurationError
        It is not there, does not answer, or its schema is not the one of this version.
    """
    url = settings.database.url.get_secret_value()
    _must_exist(url)
    engine = make_engine(url)
    try:
        schema.verify(engine)
        yield engine
    finally:
        engine.dispose()


def _must_exist(url: str) -> None:
    """See that a command does not make an empty database where it was told of the wrong one."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).exists():
        msg = (
            f"there is no database {Path(parsed.database).absolute()}: name the service's settings with --config, "
            "or make it with 'lms-sr db upgrade' or 'lms-sr serve'"
        )
        raise ConfigurationError(msg)


@contextmanager
def reading(settings: Settings) -> Iterator[Session]:
    """Open a session that only reads."""
    with database(settings) as engine, Session(engine.execution_options(read_only=True)) as session:
        yield session


@contextmanager
def services(settings: Settings) -> Iterator[Services]:
    """Wire everything that a command needs which changes something."""
    # the workflow engine takes two seconds to import: only commands that ask it for something pay for it
    from service.work.engine import DbosJobs  # noqa: PLC0415
    from service.work.peers import NetworkPeers  # noqa: PLC0415

    with database(settings) as engine:
        yield Services(
            settings=settings,
            clock=SystemClock(),
            engine=engine,
            spool=make_spool(settings),
            peers=NetworkPeers(settings),
            jobs=DbosJobs(engine),
            rules=triage.load(settings.triage.rules),
        )


# --- studies -------------------------------------------------------------------------------------------------------------


def check(settings: Settings) -> tuple[str, ...]:
    """See that everything that the settings name can be used; return the names of the triage rules.

    Raises
    ------
    ConfigurationError, TemplateError
        What cannot, and the way out.
    """
    rules = triage.load(settings.triage.rules)
    for name in sorted({*template_names(), *(r.template for r in rules if r.template)}):
        load_template(name)
    tls.verify(settings)
    return tuple(rule.name for rule in rules)


def overview(settings: Settings, *, state: StudyState | None = None, limit: int = 20) -> Overview:
    """Return how the service stands."""
    with reading(settings) as session:
        return Overview(
            states=inbox.count_states(session),
            studies=inbox.list_studies(session, state=state, limit=limit),
            queued=len(outbox.in_state(session, OutboxState.QUEUED)),
            parked=len(outbox.in_state(session, OutboxState.PARKED)),
            quarantined=len(quarantined(settings)),
        )


def status(settings: Settings, study: str) -> StudyStatus:
    """Return where a study stands.

    Raises
    ------
    InputError
        The study is not known.
    """
    with reading(settings) as session:
        record = inbox.get_study(session, study)
        if record is None:
            raise _unknown(study)
        versions = {r.id: r for r in registry.versions(session, study)}
        rows = outbox.for_study(session, study)
        template = next((versions[r.report_id].template for r in reversed(rows) if r.report_id in versions), "")
        deliveries = tuple(_delivery(r, versions[r.report_id]) for r in rows if r.report_id in versions)
        return StudyStatus(study=record, template=template, reports=deliveries)


def _delivery(row: OutboxRecord, report: ReportRecord) -> Delivery:
    return Delivery(
        outbox_id=row.id,
        kind=row.kind,
        sop_instance_uid=row.sop_instance_uid,
        version=row.version,
        completion=report.completion,
        verification=report.verification,
        destination=row.node,
        delivery=row.state,
        message=row.last_message,
    )


def explain(settings: Settings, study: str) -> tuple[str, ...]:
    """Return the story of a study, a line for each event.

    Raises
    ------
    InputError
        The study is not known.
    """
    with reading(settings) as session:
        if inbox.get_study(session, study) is None:
            raise _unknown(study)
        return tell(events.story(session, study), settings.site.timezone)


def find_accession(settings: Settings, accession: str) -> str:
    """Return the study with an accession number.

    Raises
    ------
    InputError
        There is none, or there are several.
    """
    with reading(settings) as session:
        found = inbox.find_by_accession(session, accession)
    if len(found) == 1:
        return found[0]
    if not found:
        msg = f"no study with accession number {accession} was received: see 'lms-sr status'"
        raise InputError(msg)
    msg = f"{len(found)} studies have accession number {accession}: name one of {', '.join(found)}"
    raise InputError(msg)


def start(settings: Settings, study: str) -> None:
    """Take a study as it is and make its report, whatever triage says.

    Raises
    ------
    InputError
        The study is not known.
    """
    from service.work import completing  # noqa: PLC0415 - as above

    with services(settings) as wired:
        if not completing.start_by_hand(wired, study):
            raise _unknown(study)


def _unknown(study: str) -> InputError:
    return InputError(f"study {study} was not received: see 'lms-sr status', and the log of the receiver")


# --- outbox, registry, quarantine ----------------------------------------------------------------------------------------


def outbox_rows(
    settings: Settings, *, state: OutboxState | None = None, study: str = "", limit: int = 1000
) -> tuple[OutboxRecord, ...]:
    """Return what is, or was, to be sent, oldest first."""
    with reading(settings) as session:
        if study:
            found = outbox.for_study(session, study)
        elif state is not None:
            return outbox.in_state(session, state)[-limit:]
        else:
            return outbox.everything(session, limit=limit)
    return tuple(r for r in found if state in {None, r.state})


def outbox_retry(settings: Settings, ids: tuple[int, ...]) -> tuple[OutboxRecord, ...]:
    """Send parked or waiting objects now; without ids, all that are parked.

    Raises
    ------
    InputError
        An id is not known, or its object needs no sending.
    """
    from service.work import sending  # noqa: PLC0415 - as above

    with services(settings) as wired:
        if not ids:
            with wired.reading() as session:
                ids = tuple(r.id for r in outbox.in_state(session, OutboxState.PARKED))
        done = []
        for number in ids:
            row = sending.retry(wired, number)
            if row is None:
                msg = f"outbox {number} is not there, or is sent or superseded: see 'lms-sr outbox list'"
                raise InputError(msg)
            done.append(row)
    return tuple(done)


def outbox_park(settings: Settings, number: int, reason: str) -> OutboxRecord:
    """Stop sending an object.

    Raises
    ------
    InputError
        It is not known, or does not wait.
    """
    from service.work import sending  # noqa: PLC0415 - as above

    with services(settings) as wired:
        row = sending.park(wired, number, reason)
    if row is None:
        msg = f"outbox {number} is not there, or does not wait: see 'lms-sr outbox list'"
        raise InputError(msg)
    return row


def cases(settings: Settings, *, limit: int = 1000) -> tuple[CaseSummary, ...]:
    """Return the cases of the registry."""
    with reading(settings) as session:
        return registry.list_cases(session, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredReport:
    """A report of the registry with its answers, a line each."""

    record: ReportRecord
    content: str


def registered(settings: Settings, study: str) -> RegisteredReport:
    """Return the current report of a study.

    Raises
    ------
    InputError
        The registry has none.
    """
    with reading(settings) as session:
        record = registry.current(session, study)
        if record is None:
            msg = f"the registry has no report of study {study}: see 'lms-sr registry list'"
            raise InputError(msg)
        return RegisteredReport(record=record, content=to_json(registry.read_content(session, record.id)))


def export(settings: Settings, out: TextIO, *, wide: bool) -> int:
    """Write the current reports as CSV; return how many rows."""
    with reading(settings) as session:
        return csvout.write_wide(session, out) if wide else csvout.write_long(session, out)


def quarantined(settings: Settings) -> tuple[Quarantined, ...]:
    """Return the objects that were put aside; none where there is no spool yet."""
    spool = make_spool(settings)
    return tuple(spool.quarantined()) if spool.root.is_dir() else ()


def upgrade(settings: Settings) -> str:
    """Bring the database up to date; return its schema's revision.

    Raises
    ------
    ConfigurationError
        It does not answer.
    """
    from service.work.database import migrate  # noqa: PLC0415 - as above

    migrate(settings, patience=0)
    with database(settings) as engine:
        found = schema.revision(engine)
    if found is None:
        msg = "the database has no schema after the upgrade: see the log"
        raise ConfigurationError(msg)
    return found
