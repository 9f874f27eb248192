"""``template export`` and ``convert``: what they write, what they take from a file, and what they say where that cannot be."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from service.cli.export import convert, export
from service.errors import ConfigurationError, InputError, TemplateError
from service.model.report import Answer, PersonName, Provenance, Report, Status, Uid
from service.model.report_json import to_json
from service.model.signing import Person, Signature
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, encode
from service.sr.items import ContentItem
from service.sr.rejection import withdrawn
from sr_templates import load_codes, load_template
from tests import builders as b
from tests.fhir_reading import read_response

BASELINE = load_template("baseline")
CODES = load_codes()
SIGNATURE = Signature(
    person=Person(name="Reader^One", organisation="Radiology"), at=dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)
)


def run(*words: str | Path) -> Result:
    """Run a command of this module alone."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("export")(export)
    app.command("convert")(convert)
    return CliRunner().invoke(app, [str(w) for w in words])


def a_report() -> Report:
    recorded = {"status": Status.AUTOMATIC, "provenance": Provenance.RULE}
    found = (
        ("ctx.dx_status", CODES["ctx.dx_status.biopsy"], {"status": Status.CONFIRMED, "provenance": Provenance.RADIOLOGIST}),
        ("tid.procedure_reported", CODES["proc.ct_report"], {"status": Status.AUTOMATIC, "provenance": Provenance.DICOM}),
        ("tid.person_observer_name", PersonName("Reader^One"), {"status": Status.CONFIRMED, "provenance": Provenance.RADIOLOGIST}),
        ("tid.device_name", "LMS-SR 0", recorded),
        ("tid.device_uid", Uid("2.25.5"), recorded),
    )  # fmt: skip
    answers = tuple(Answer(item=i, values=(v,), **more) for i, v, more in found)
    return Report(
        template="baseline",
        template_version=BASELINE.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        patient_sex="M",
        answers=answers,
    )


@pytest.fixture
def as_json(tmp_path) -> Path:
    path = tmp_path / "report.json"
    path.write_text(to_json(a_report()))
    return path


def as_dicom(folder: Path, *, signed: bool, root: ContentItem | None = None) -> Path:
    envelope = Envelope(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        sop_instance_uid="2.25.77",
        series_instance_uid="2.25.2",
        series_number=9901,
        series_description="LMS report",
        version=3,
        created_at=b.CREATED_AT,
        timezone="Europe/Berlin",
        signature=SIGNATURE if signed else None,
    )
    root = root or encode(a_report(), BASELINE, Presentation())
    path = folder / "report.dcm"
    path.write_bytes(to_bytes(document(root, b.study(), envelope), b.study(), envelope))
    return path


# --- templates -------------------------------------------------------------------------------------------------------


def test_a_template_becomes_a_questionnaire(tmp_path):
    out = tmp_path / "q.json"
    done = run("export", "baseline", "--out", out)
    assert (done.exit_code, done.output.strip()) == (0, str(out))
    assert json.loads(out.read_text())["resourceType"] == "Questionnaire"


def test_a_template_becomes_an_mrrt_file_of_a_date(tmp_path):
    out = tmp_path / "m.html"
    done = run("export", "surveillance", "--format", "mrrt", "--date", "2026-03-01", "--out", out, "--json")
    assert json.loads(done.output) == {"file": str(out), "format": "mrrt", "bytes": out.stat().st_size}
    assert '<meta name="dcterms.date" content="2026-03-01"/>' in out.read_text()


def test_thresholds_come_from_the_settings(tmp_path):
    settings = tmp_path / "lms-sr.toml"
    settings.write_text("[clinical]\nfat_fraction_percent = 61\n")
    assert run("export", "baseline", "--config", settings, "--out", tmp_path / "q.json").exit_code == 0


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("export", "none"), TemplateError, "none.yaml"),
        (("export", "baseline", "--date", "yesterday"), ConfigurationError, "--date yesterday"),
        (("export", "baseline", "--format", "mrrt", "--date", "2026-02-30"), ConfigurationError, "2026-02-30"),
    ],
)
def test_what_cannot_be_exported_is_said(words, error, said, tmp_path):
    done = run(*words, "--out", tmp_path / "x")
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
    assert not (tmp_path / "x").exists()


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    done = run("export", "baseline", "--out", tmp_path / "none" / "x")
    assert isinstance(done.exception, InputError)
    assert "--out" in str(done.exception)


# --- reports ---------------------------------------------------------------------------------------------------------


def test_answers_become_a_response_that_reads_back(as_json, tmp_path):
    out = tmp_path / "r.json"
    words = ("--patient-id", "P-9", "--issuer", "HOSPITAL", "--at", "2026-03-01T10:20:00+01:00")
    assert run("convert", as_json, "--to", "fhir", "--out", out, *words).exit_code == 0
    resource = json.loads(out.read_text())
    assert (resource["status"], resource["authored"]) == ("in-progress", "2026-03-01T10:20:00+01:00")
    assert resource["subject"]["identifier"] == {"value": "P-9", "assigner": {"display": "HOSPITAL"}}
    assert set(read_response(out.read_text(), BASELINE).answers) == set(a_report().answers)


@pytest.mark.parametrize(("signed", "status"), [(False, "in-progress"), (True, "completed")])
def test_a_dicom_report_says_whom_when_and_how_far(signed, status, tmp_path):
    out = tmp_path / "r.json"
    assert run("convert", as_dicom(tmp_path, signed=signed), "--to", "fhir", "--out", out).exit_code == 0
    resource = json.loads(out.read_text())
    assert resource["status"] == status
    # Content Date and Time are in the site's zone
    assert resource["authored"] == "2026-03-01T11:20:00+01:00"
    assert resource["subject"]["identifier"]["value"] == b.PATIENT.patient_id
    assert "Müller" not in out.read_text()


def test_nothing_is_made_of_a_withdrawn_report(tmp_path):
    path = as_dicom(tmp_path, signed=True, root=withdrawn(a_report(), BASELINE))
    for form in ("fhir", "html", "pdf"):
        done = run("convert", path, "--to", form, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert "was withdrawn" in str(done.exception)
        assert not (tmp_path / "out").exists()


def test_another_identifier_does_not_keep_the_issuer_of_the_first(tmp_path):
    out = tmp_path / "r.json"
    done = run("convert", as_dicom(tmp_path, signed=False), "--to", "fhir", "--out", out, "--patient-id", "PSEUDO-1")
    assert done.exit_code == 0
    assert json.loads(out.read_text())["subject"]["identifier"] == {"value": "PSEUDO-1"}


def test_a_page_of_a_draft_says_so_and_of_a_signed_report_by_whom(as_json, tmp_path):
    page = tmp_path / "page.html"
    run("convert", as_json, "--to", "html", "--out", page)
    assert "DRAFT, NOT VERIFIED" in page.read_text()
    run("convert", as_dicom(tmp_path, signed=True), "--to", "html", "--out", page)
    text = page.read_text()
    assert "DRAFT" not in text
    assert "Reader, One" in text
    assert "2.25.77" in text
    assert "Report version 3" in text


def test_a_report_becomes_a_pdf(as_json, tmp_path):
    out = tmp_path / "page.pdf"
    assert run("convert", as_json, "--to", "pdf", "--at", "2026-03-01", "--out", out).exit_code == 0
    assert out.read_bytes().startswith(b"%PDF-")


def test_the_same_file_and_time_give_the_same_bytes(as_json, tmp_path):
    for form in ("fhir", "html", "pdf"):
        made = []
        for number in range(2):
            out = tmp_path / f"{form}{number}"
            run("convert", as_json, "--to", form, "--at", "2026-03-01", "--out", out)
            made.append(out.read_bytes())
        assert made[0] == made[1], form


def _foreign(folder: Path) -> Path:
    return Path(b.__file__).parent / "data" / "abdomen" / "sr_verified.dcm"


def _text(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("nothing")
    return path


def _other_template(folder: Path) -> Path:
    path = folder / "other.json"
    path.write_text(to_json(replace(a_report(), template="unknown")))
    return path


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda folder: folder / "none.json", InputError, "cannot be read"),
        (_text, InputError, "neither a report.json nor a DICOM file"),
        (_foreign, InputError, "no report of ours"),
        (_other_template, TemplateError, "unknown.yaml"),
    ],
)
def test_what_cannot_be_converted_is_said(make, error, said, tmp_path):
    done = run("convert", make(tmp_path), "--to", "fhir", "--out", tmp_path / "x")
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
    assert not (tmp_path / "x").exists()
