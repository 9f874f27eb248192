"""The tables. None is called queues, streams, notifications, workflow_* or operation_outputs: the workflow engine's stand beside them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, LargeBinary, MetaData, String, Text, UniqueConstraint, false
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

_UID = String(64)


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware time, kept in UTC: SQLite drops the offset, so it is put back when reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Refuse a time without an offset, and keep the others in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a time without an offset cannot be stored"
            raise ValueError(msg)
        utc = value.astimezone(dt.UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the time, aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Base(DeclarativeBase):
    """Base of all tables; constraints have names on every database, so that a migration can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dt.datetime: UtcDateTime(), dict[str, Any]: JSON()}  # noqa: RUF012 - SQLAlchemy reads a plain mapping


class Installation(Base):
    """One row: what makes the UIDs of this installation its own."""

    __tablename__ = "installation"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created_at: Mapped[dt.datetime]


class HeaderRow(Base):
    """What many instances of a series have in common, stored once."""

    __tablename__ = "header"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    facts: Mapped[str] = mapped_column(Text)


class StudyRow(Base):
    """A study and where it stands."""

    __tablename__ = "study"
    study_instance_uid: Mapped[str] = mapped_column(_UID, primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    #: counts batches that brought something new; a workflow of an older revision has nothing to do any more
    revision: Mapped[int]
    completed_revision: Mapped[int] = mapped_column(default=0)
    instance_count: Mapped[int]
    first_received_at: Mapped[dt.datetime]
    last_received_at: Mapped[dt.datetime]
    #: when the burst began that the completion clock counts from: the first arrival, or the first after completion
    burst_started_at: Mapped[dt.datetime]
    accession_number: Mapped[str] = mapped_column(String(64), default="", index=True)
    calling_ae: Mapped[str] = mapped_column(String(16), default="")
    called_ae: Mapped[str] = mapped_column(String(16), default="")
    source_address: Mapped[str] = mapped_column(String(64), default="")
    #: how it was completed, for the report when it was by force
    completion_reason: Mapped[str] = mapped_column(Text, default="")
    forced: Mapped[bool] = mapped_column(default=False)
    #: a person has to look: why; empty otherwise
    flag: Mapped[str] = mapped_column(Text, default="")
    #: how often a process died while it composed this revision
    crashes: Mapped[int] = mapped_column(default=0)
    #: all that is here of it was asked for as an earlier examination: it gets no report of its own
    fetched: Mapped[bool] = mapped_column(default=False, server_default=false())


class InstanceRow(Base):
    """One received instance."""

    __tablename__ = "instance"
    sop_instance_uid: Mapped[str] = mapped_column(_UID, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(ForeignKey("study.study_instance_uid"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(_UID)
    sop_class_uid: Mapped[str] = mapped_column(_UID)
    transfer_syntax_uid: Mapped[str] = mapped_column(_UID)
    header_hash: Mapped[str] = mapped_column(ForeignKey("header.hash"))
    own: Mapped[str] = mapped_column(Text)
    received_at: Mapped[dt.datetime]
    calling_ae: Mapped[str] = mapped_column(String(16))
    called_ae: Mapped[str] = mapped_column(String(16))
    source_address: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)


class EventRow(Base):
    """One event in the life of a study; only ever added."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_instance_uid: Mapped[str] = mapped_column(_UID)
    at: Mapped[dt.datetime]
    name: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    __table_args__ = (Index("ix_event_study", "study_instance_uid", "id"),)


class PatientRow(Base):
    """A patient as the registry knows one: identifier and issuer, never a name."""

    __tablename__ = "patient"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    patient_id: Mapped[str] = mapped_column(String(64))
    issuer: Mapped[str] = mapped_column(String(64))
    __table_args__ = (UniqueConstraint("patient_id", "issuer"),)


class CaseRow(Base):
    """A tumour of a patient over time."""

    __tablename__ = "tumour_case"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patient.id"), index=True)
    opened_at: Mapped[dt.datetime]


class ReportRow(Base):
    """One version of a report."""

    __tablename__ = "report"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("tumour_case.id"), index=True)
    study_instance_uid: Mapped[str] = mapped_column(_UID, index=True)
    study_date: Mapped[str] = mapped_column(String(8), default="")
    modalities: Mapped[str] = mapped_column(String(64), default="")
    accession_number: Mapped[str] = mapped_column(String(64), default="")
    template: Mapped[str] = mapped_column(String(64))
    template_version: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(64))
    completion: Mapped[str] = mapped_column(String(16))
    verification: Mapped[str] = mapped_column(String(16))
    proposed: Mapped[int]
    confirmed: Mapped[int]
    open: Mapped[int]
    current: Mapped[bool]
    created_at: Mapped[dt.datetime]
    #: the `Report` as JSON (service.model.report_json)
    content: Mapped[str] = mapped_column(Text)
    #: `service.flow.lifecycle.State`
    state: Mapped[str] = mapped_column(String(16), default="draft", server_default="draft")
    #: content hash of what the facts alone said when this was made: tells whether they are others now
    facts_hash: Mapped[str] = mapped_column(String(64), default="", server_default="")
    #: `service.model.identity.identity_hash`; empty: made before that was kept
    identity_hash: Mapped[str] = mapped_column(String(64), default="", server_default="")
    #: PN of who signed it; empty: nobody
    signer: Mapped[str] = mapped_column(Text, default="", server_default="")
    signer_organisation: Mapped[str] = mapped_column(String(64), default="", server_default="")
    signer_code: Mapped[str] = mapped_column(String(16), default="", server_default="")
    signer_scheme: Mapped[str] = mapped_column(String(16), default="", server_default="")
    signer_meaning: Mapped[str] = mapped_column(String(64), default="", server_default="")
    signed_at: Mapped[dt.datetime | None]
    __table_args__ = (UniqueConstraint("study_instance_uid", "template", "version"),)


class TransitionRow(Base):
    """One step in the life of a report; only ever added."""

    __tablename__ = "report_transition"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    #: the version that came of it
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), index=True)
    study_instance_uid: Mapped[str] = mapped_column(_UID, index=True)
    version: Mapped[int]
    #: `service.flow.lifecycle.Action`
    action: Mapped[str] = mapped_column(String(16))
    #: empty: there was no report
    state_before: Mapped[str] = mapped_column(String(16))
    state_after: Mapped[str] = mapped_column(String(16))
    at: Mapped[dt.datetime]
    #: PN; empty: the software
    who: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)


class DifferenceRow(Base):
    """One field in which a fact says something else than a report."""

    __tablename__ = "report_difference"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), index=True)
    item: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64))
    stands: Mapped[str] = mapped_column(Text)
    found: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    at: Mapped[dt.datetime]


class SourceRow(Base):
    """A structured report of others that a version goes over: its content is in it, or a person let it be replaced unread.

    Kept here, since not every object of a version can name it: a page cannot.
    """

    __tablename__ = "report_source"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), index=True)
    #: "taken_in" or "replaced"
    use: Mapped[str] = mapped_column(String(16))
    sop_class_uid: Mapped[str] = mapped_column(_UID)
    sop_instance_uid: Mapped[str] = mapped_column(_UID)
    series_instance_uid: Mapped[str] = mapped_column(_UID)


class LesionRow(Base):
    """A lesion of a case, the same over time points."""

    __tablename__ = "lesion"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("tumour_case.id"))
    tracking_uid: Mapped[str] = mapped_column(_UID)
    tracking_id: Mapped[str] = mapped_column(String(64))
    first_study_instance_uid: Mapped[str] = mapped_column(_UID)
    __table_args__ = (UniqueConstraint("case_id", "tracking_uid"),)


class AnswerRow(Base):
    """One value of one answer of one report version, coded."""

    __tablename__ = "answer"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), index=True)
    item: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str] = mapped_column(String(64), default="")
    #: Tracking Unique Identifier of the subject, where it has one
    tracking_uid: Mapped[str] = mapped_column(_UID, default="")
    ordinal: Mapped[int]
    #: code, number, text, date, uid or person
    kind: Mapped[str] = mapped_column(String(8))
    code_value: Mapped[str] = mapped_column(String(16), default="")
    code_scheme: Mapped[str] = mapped_column(String(16), default="")
    #: code meaning, or the value as text: exact, a decimal number too
    value: Mapped[str] = mapped_column(Text, default="")
    number: Mapped[float | None]
    unit: Mapped[str] = mapped_column(String(64), default="")
    derivation: Mapped[str] = mapped_column(String(64), default="")
    status: Mapped[str] = mapped_column(String(16))
    provenance: Mapped[str] = mapped_column(String(16))
    basis: Mapped[str] = mapped_column(Text, default="")
    #: why it was not evaluated, or why it differs from what the software derived
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    #: PN of who answered or confirmed it; empty: the software
    observer: Mapped[str] = mapped_column(Text, default="", server_default="")


class OutboxRow(Base):
    """One object for one destination: its bytes are frozen here before anything is sent."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_instance_uid: Mapped[str] = mapped_column(_UID, index=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), index=True)
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    node: Mapped[str] = mapped_column(String(64))
    profile: Mapped[str] = mapped_column(String(16))
    sop_class_uid: Mapped[str] = mapped_column(_UID)
    #: the same object may go to several nodes
    sop_instance_uid: Mapped[str] = mapped_column(_UID, index=True)
    series_instance_uid: Mapped[str] = mapped_column(_UID)
    transfer_syntax_uid: Mapped[str] = mapped_column(_UID)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16), index=True)
    #: attempts whose outcome is recorded
    attempt: Mapped[int] = mapped_column(default=0)
    #: the attempt that may have left the object at the node without our knowing; 0: it is certainly not there
    begun: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[dt.datetime | None]
    last_status: Mapped[int | None]
    last_message: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[dt.datetime]
    sent_at: Mapped[dt.datetime | None]
    __table_args__ = (UniqueConstraint("node", "sop_instance_uid"),)


class DestinationRow(Base):
    """What a destination accepts, as it said when an association was made."""

    __tablename__ = "destination"
    node: Mapped[str] = mapped_column(String(64), primary_key=True)
    sop_classes: Mapped[str] = mapped_column(Text)
    learnt_at: Mapped[dt.datetime]


class PriorAskRow(Base):
    """Where asking nodes for a study's earlier examinations stands."""

    __tablename__ = "prior_ask"
    study_instance_uid: Mapped[str] = mapped_column(_UID, primary_key=True)
    #: `service.store.priors.AskState`
    state: Mapped[str] = mapped_column(String(16))
    #: attempts that were asked for, ever
    attempt: Mapped[int] = mapped_column(default=0)
    #: attempts in a row that failed
    failures: Mapped[int] = mapped_column(default=0)
    #: the draft that waits was asked for by hand
    by_hand: Mapped[bool] = mapped_column(default=False)


class PriorStudyRow(Base):
    """An earlier examination of a study, and what was read of it: kept, so that not every answer of a person measures it again."""

    __tablename__ = "prior_study"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    #: the study at hand
    study_instance_uid: Mapped[str] = mapped_column(_UID, index=True)
    prior_study_uid: Mapped[str] = mapped_column(_UID)
    #: the node that named it; empty: the registry knows it
    node: Mapped[str] = mapped_column(String(64))
    #: how many instances of it were here when it was read; 0: it was not read yet
    instances: Mapped[int] = mapped_column(default=0)
    #: the `PriorReport` as JSON (service.model.prior_json); empty: nothing can be compared
    content: Mapped[str] = mapped_column(Text, default="")
    __table_args__ = (UniqueConstraint("study_instance_uid", "prior_study_uid"),)


class PriorObjectRow(Base):
    """An object that was asked for as part of an earlier examination: when it comes it is no arrival."""

    __tablename__ = "prior_object"
    sop_instance_uid: Mapped[str] = mapped_column(_UID, primary_key=True)
    prior_study_uid: Mapped[str] = mapped_column(_UID, index=True)
    asked_at: Mapped[dt.datetime]
