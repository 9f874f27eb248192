"""Commands that write templates and reports as other template worlds have them: ``template export`` and ``convert``."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import AsJson, Config, load, say, say_json
from service.cli.files import Templates, template
from service.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from service.model.report import Report
    from service.model.study import Study
    from service.page.content import Signature
    from service.settings import Settings
    from sr_templates import Template


class TemplateForm(enum.StrEnum):
    """What ``--format`` takes."""

    FHIR = "fhir"
    MRRT = "mrrt"


class ReportForm(enum.StrEnum):
    """What ``--to`` takes."""

    FHIR = "fhir"
    HTML = "html"
    PDF = "pdf"


Out = Annotated[Path, typer.Option("--out", help="File to write.", show_default=False)]
#: SR documents are DICOM files: 128 bytes, then this
_PREFIX = b"DICM"
_PREAMBLE = 128


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    template.command("export")(export)
    app.command()(convert)


def export(
    name: Annotated[str, typer.Argument(help="Name of the template.")],
    out: Out,
    form: Annotated[
        TemplateForm, typer.Option("--format", help="fhir (an R4 Questionnaire) or mrrt (an IHE MRRT file).")
    ] = TemplateForm.FHIR,
    date: Annotated[
        str, typer.Option("--date", help="Date in the MRRT file, YYYY-MM-DD; by default today.", show_default=False)
    ] = "",
    folder: Templates = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write a template for other systems: a FHIR R4 Questionnaire, or an IHE MRRT report template.

    Example: lms-sr template export baseline --format fhir --out baseline.json
    """
    from service.export.fhir import questionnaire
    from service.export.mrrt import mrrt
    from sr_templates import load_template

    clinical = load(config).clinical
    found = load_template(name, folder)
    day = _moment(date, "--date").date()
    text = questionnaire(found, clinical) if form is TemplateForm.FHIR else mrrt(found, day, clinical)
    _done(out, text.encode(), form.value, as_json=as_json)


def convert(
    file: Annotated[Path, typer.Argument(help="A report.json, or the report as a DICOM file.", show_default=False)],
    to: Annotated[
        ReportForm, typer.Option("--to", help="fhir (a QuestionnaireResponse), html or pdf.", show_default=False)
    ],
    out: Out,
    patient_id: Annotated[
        str, typer.Option("--patient-id", help="Whom a FHIR response is about; a DICOM file says so itself.")
    ] = "",
    issuer: Annotated[str, typer.Option("--issuer", help="Who issued that identifier.")] = "",
    at: Annotated[
        str,
        typer.Option(
            "--at", help="When it was written, ISO 8601; by default what the file says, or now.", show_default=False
        ),
    ] = "",
    folder: Templates = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write a report as a FHIR R4 QuestionnaireResponse, a web page or a PDF.

    A report.json names no patient, no study date and no signature: what is made of it is a draft. The DICOM file says all three.

    Example: lms-sr convert report.dcm --to fhir --out response.json
    """
    settings = load(config)
    found = _read(file, folder, _moment(at, "--at") if at else None)
    content = _response(found, patient_id, issuer) if to is ReportForm.FHIR else _page(found, settings, to)
    _done(out, content, to.value, as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A report, and what its file says beside it."""

    report: Report
    template: Template
    study: Study
    at: dt.datetime
    version: int = 1
    sop_instance_uid: str = ""
    signed: Signature | None = None
    is_complete: bool = False
    is_new_version: bool = False


def _done(out: Path, content: bytes, form: str, *, as_json: bool) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        msg = f"{out} cannot be written ({error.strerror}): name another file with --out"
        raise InputError(msg) from error
    if as_json:
        say_json({"file": out, "format": form, "bytes": len(content)})
    else:
        say(str(out))


def _moment(text: str, option: str) -> dt.datetime:
    """Return a time that an option gives, in UTC where it names no zone; now where it is empty."""
    from service.clock import SystemClock

    if not text:
        return SystemClock().now()
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{option} {text} is no date of ISO 8601: write 2026-03-01 or 2026-03-01T10:20:00+01:00"
        raise ConfigurationError(msg) from error
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


# --- what is read --------------------------------------------------------------------------------------------------------


def _read(path: Path, folder: Path | None, at: dt.datetime | None) -> _Source:
    from service.model.report_json import from_json
    from service.model.study import Patient, Study
    from sr_templates import load_template

    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise InputError(msg) from error
    if content[_PREAMBLE : _PREAMBLE + len(_PREFIX)] == _PREFIX:
        return _of_dicom(path, folder, at)
    try:
        report = from_json(content.decode())
    except (InputError, UnicodeDecodeError) as error:
        msg = f"{path} is neither a report.json nor a DICOM file"
        raise InputError(msg) from error
    return _Source(
        report=report,
        template=load_template(report.template, folder),
        study=Study(study_instance_uid=report.study_instance_uid, patient=Patient(sex=report.patient_sex)),
        at=at or _moment("", "--at"),
    )


def _of_dicom(path: Path, folder: Path | None, at: dt.datetime | None) -> _Source:
    from service import offline
    from service.model.report import CompletionFlag
    from service.sr.parse import parse, template_of
    from service.sr.rejection import is_withdrawn
    from sr_templates import load_template

    ds = offline.open_sr(path)
    name = template_of(ds)
    if not name:
        msg = f"{path} is no report of ours: lms-sr render shows any SR"
        raise InputError(msg)
    if is_withdrawn(ds):
        msg = f"{path} says that its report was withdrawn: nothing is made of it; lms-sr render shows what it says"
        raise InputError(msg)
    found = load_template(name, folder)
    try:
        return _Source(
            report=parse(ds, found),
            template=found,
            study=_study(ds),
            at=at or _written(str(ds.get("ContentDate", "")), str(ds.get("ContentTime", "")), ds),
            version=int(ds.get("InstanceNumber") or 1),
            sop_instance_uid=str(ds.get("SOPInstanceUID", "")),
            signed=_signature(ds),
            is_complete=ds.get("CompletionFlag") == CompletionFlag.COMPLETE,
            is_new_version=bool(ds.get("PredecessorDocumentsSequence")),
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        msg = f"{path} is damaged: {type(error).__name__} while its content was read"
        raise InputError(msg) from error


def _study(ds: Dataset) -> Study:
    from service.model.study import Patient, Study

    def text(keyword: str) -> str:
        return str(ds.get(keyword, "") or "")

    patient = Patient(
        patient_id=text("PatientID"),
        issuer=text("IssuerOfPatientID"),
        name=text("PatientName"),
        birth_date=text("PatientBirthDate"),
        sex=text("PatientSex"),
    )
    return Study(
        study_instance_uid=text("StudyInstanceUID"),
        patient=patient,
        date=text("StudyDate"),
        time=text("StudyTime"),
        accession_number=text("AccessionNumber"),
        study_id=text("StudyID"),
        description=text("StudyDescription"),
        referring_physician=text("ReferringPhysicianName"),
    )


def _signature(ds: Dataset) -> Signature | None:
    from service.page.content import Signature

    verifiers = list(ds.get("VerifyingObserverSequence") or ()) if ds.get("VerificationFlag") == "VERIFIED" else []
    if not verifiers:
        return None
    # the newest signature stands first or last, as its writer likes: the latest counts
    latest = max(verifiers, key=lambda v: str(v.get("VerificationDateTime", "")))
    written = str(latest.get("VerificationDateTime", ""))
    return Signature(
        name=str(latest.get("VerifyingObserverName", "")),
        at=_written(written[:8], written[8:], ds),
        organisation=str(latest.get("VerifyingOrganization", "") or ""),
    )


def _written(date: str, time: str, ds: Dataset) -> dt.datetime:
    """Return a date and a time of DICOM (DA, TM or the rest of a DT); their zone is that of the object, or their own."""
    zone = next((time[time.index(sign) :] for sign in "+-" if sign in time), "")
    zone = zone or str(ds.get("TimezoneOffsetFromUTC", "") or "+0000")
    clock = (time[:6] if time[:6].isdigit() else "").ljust(6, "0")
    return dt.datetime.strptime(f"{date}{clock}{zone}", "%Y%m%d%H%M%S%z")


# --- what is made of it --------------------------------------------------------------------------------------------------


def _response(source: _Source, patient_id: str, issuer: str) -> bytes:
    from service.export.fhir_response import Occasion, response, status_of
    from service.model.report import CompletionFlag

    completion = CompletionFlag.COMPLETE if source.is_complete else CompletionFlag.PARTIAL
    patient = source.study.patient
    occasion = Occasion(
        status=status_of(completion, replaces=source.is_new_version),
        authored=source.at,
        patient_id=patient_id or patient.patient_id,
        issuer=issuer or ("" if patient_id else patient.issuer),
    )
    return response(source.report, source.template, occasion).encode()


def _page(source: _Source, settings: Settings, form: ReportForm) -> bytes:
    from service.page.assemble import page_content
    from service.page.hypertext import web_page
    from service.page.pdf import page
    from sr_templates.questions import completeness

    content = page_content(
        source.report,
        source.template,
        source.study,
        completeness(source.report, source.template, settings.clinical),
        created_at=source.at,
        timezone=settings.site.timezone,
        version=source.version,
        sop_instance_uid=source.sop_instance_uid,
        signed=source.signed,
    )
    return page(content) if form is ReportForm.PDF else web_page(content).encode()
