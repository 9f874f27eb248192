"""A database of the first schema comes along: its drafts are drafts, and composing the same facts again changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from service.flow.lifecycle import State
from service.model.report import Report
from service.model.report_json import content_hash, to_json
from service.store import life, registry, schema
from service.store.engine import make_engine

AT = dt.datetime(2026, 3, 1, 10, 0, tzinfo=dt.UTC)
STUDY = "1.2.3"
OLD = Report(template="baseline", template_version="1", study_instance_uid=STUDY, modalities=("CT",))


@pytest.fixture
def old(database_url: str) -> Iterator[Engine]:
    """Return an engine on a database of the first schema with one report, which has one answer."""
    engine = make_engine(database_url)
    schema.upgrade(engine, "0001")
    rows = {
        "INSERT INTO patient (id, patient_id, issuer) VALUES (1, 'P-1', '')": {},
        "INSERT INTO tumour_case (id, patient_id, opened_at) VALUES (1, 1, :at)": {"at": AT},
        "INSERT INTO report (id, case_id, study_instance_uid, study_date, modalities, accession_number, template, template_version, "
        "version, content_hash, completion, verification, proposed, confirmed, open, current, created_at, content) VALUES (1, 1, :study, "
        "'20260301', 'CT', '', 'baseline', '1', 1, :hash, 'PARTIAL', 'UNVERIFIED', 1, 0, 2, :yes, :at, :content)": {
            "study": STUDY,
            "hash": content_hash(OLD),
            "yes": True,
            "at": AT,
            "content": to_json(OLD),
        },
        "INSERT INTO answer (id, report_id, item, subject, tracking_uid, ordinal, kind, code_value, code_scheme, value, number, unit, "
        "derivation, status, provenance, basis) VALUES (1, 1, 'gp', '', '', 0, 'text', '', '', 'x', NULL, '', '', 'proposed', 'dicom', "
        "'')": {},
    }
    with engine.begin() as connection:
        for statement, values in rows.items():
            connection.execute(text(statement), values)
    yield engine
    engine.dispose()


def test_an_old_database_is_brought_up_to_date(old: Engine) -> None:
    schema.upgrade(old)
    schema.verify(old)
    with Session(old) as session:
        record = registry.current(session, STUDY)
        assert record is not None
        assert (record.state, record.signature, record.version) == (State.DRAFT, None, 1)
        assert record.facts_hash == record.content_hash == content_hash(OLD)
        assert registry.read_content(session, record.id) == OLD
        row = session.query(registry.AnswerRow).one()
        assert (row.reason, row.observer) == ("", "")
        assert life.history(session, STUDY) == ()
        assert life.differences(session, record.id) == ()


def test_and_back_again_without_losing_the_report(old: Engine) -> None:
    schema.upgrade(old)
    schema.downgrade(old, "0001")
    assert schema.revision(old) == "0001"
    with old.connect() as connection:
        assert connection.execute(text("SELECT content FROM report")).scalar_one() == to_json(OLD)
