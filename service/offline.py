"""Files in, files out, no service: compose, measure, render and check, for trying a template or looking into a fault."""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from service.errors import InputError
from service.flow import timepoint
from service.flow.comparison import Examination
from service.flow.comparison import compare as compare_studies
from service.flow.declared import NOTHING, Declared
from service.flow.objects import extras
from service.flow.produce import COMPREHENSIVE_SR, Options, Rendition, produce, renditions, taken_in, without
from service.flow.timepoint import Documents
from service.measure.segments import measure_study
from service.model.comparison import StudyOverTime
from service.model.measurement import SegmentMeasurements
from service.model.report_json import to_json
from service.model.study import Study
from service.page.pictures import KeyImages, key_images
from service.read.folder import Folder, read_folder
from service.read.returned import document_bytes
from service.settings import Settings
from service.sr import gate, render
from service.sr.companion import Profile
from service.sr.parse import parse, template_of
from service.sr.phrases import wording
from sr_templates import load_template, template_names
from sr_templates.questions import completeness

#: UIDs of what is composed offline are those of no installation
_INSTALLATION = "offline"
_FILES = {
    "report": "report.dcm",
    "companion": "measurements.dcm",
    "pdf": "page.dcm",
    "key-image": "key-image.dcm",
    "key-objects": "key-objects.dcm",
    "presentation": "presentation.dcm",
}
_CONTENT = "report.json"
#: length of an element that ends with a delimiter (PS3.5 7.1)
_UNDEFINED = 0xFFFFFFFF
#: what a run writes, and nothing that a person may have called alike
_OURS = re.compile(
    "|".join([re.escape(_CONTENT), *(rf"{n.removesuffix('.dcm')}(-\d+)?\.dcm" for n in _FILES.values())])
)
_TITLES = {"126000": "companion", "126001": "report"}
#: what pydicom raises for bytes that make no sense
_BROKEN = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    EOFError,
    struct.error,
    NotImplementedError,
    AttributeError,
    TypeError,
    KeyError,
    RecursionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """What was written for one study, and which files were left out."""

    study_instance_uid: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderComposed:
    """What a folder gave: its studies, and why files were left out."""

    studies: tuple[Composed, ...]
    refused: tuple[str, ...]


def compose(
    settings: Settings,
    folder: Path,
    out: Path,
    *,
    now: dt.datetime,
    template: str = "baseline",
    sop_class_uid: str = COMPREHENSIVE_SR,
    profile: Profile = "standard",
    objects: tuple[str, ...] = (),
    language: str = "",
) -> FolderComposed:
    """Write ``report.dcm``, ``measurements.dcm`` where there are lines to draw, ``report.json``, and the further ``objects``.

    One study goes into ``out`` itself, several each into a folder named by its Study Instance UID. No triage, no registry: every study
    gets a report, and none is compared.

    ``language``: what report and page are written in; empty: as the settings say.

    Raises
    ------
    InputError
        ``folder`` is none, holds no DICOM file, or ``out`` cannot be written.
    GateError
        A report failed a check; nothing of it was written.
    TemplateError
        There is no such template or language.
    """
    found = _read(settings, folder)
    options = Options(
        installation=_INSTALLATION,
        template=template,
        timezone=settings.site.timezone,
        language=language or settings.reports.language,
        series_number=settings.reports.series_number,
        companion_series_number=settings.reports.companion_series_number,
    )
    composed = []
    left_out = list(found.refused)
    for whole in found.studies:
        study, documents, told = _without_ours(whole, found)
        measured = measure_study(study, found.open_file, measuring=settings.measuring)
        left_out += [*told, *(f"{i.path}, a structured report: {error}" for i, error in documents.unread)]
        came = documents.returned()
        produced = produce(
            study, measured, None, options, returned=came, clinical=settings.clinical, measuring=settings.measuring
        )
        made = renditions(
            produced,
            sop_class_uid=sop_class_uid,
            profile=profile,
            version=1,
            predecessors={"report": taken_in(produced)},
            created_at=now,
        )
        images = (
            key_images(produced.report, produced.study, found.open_file, wording(options.language))
            if objects
            else KeyImages()
        )
        made += extras(produced, made[0], objects, images, version=1, created_at=now, clinical=settings.clinical)
        place = out if len(found.studies) == 1 else out / study.study_instance_uid
        counted = completeness(produced.report, produced.template, settings.clinical)
        contents = _named(made) | {_CONTENT: to_json(produced.report, counted).encode()}
        composed.append(Composed(study_instance_uid=study.study_instance_uid, files=_write(place, contents)))
    return FolderComposed(studies=tuple(composed), refused=tuple(left_out))


def _without_ours(study: Study, found: Folder) -> tuple[Study, Documents, tuple[str, ...]]:
    """Return a study without what this software wrote, its structured reports, and in words what was left out.

    No outbox says here what is ours, so the objects do. A report of ours is read as that; pictures and lines of ours are nobody else's.
    """
    documents = timepoint.documents(study, lambda instance: document_bytes(found.open_file(instance)))
    own = documents.own.instance if documents.own is not None and documents.own.counts else None
    ours = {
        i.sop_instance_uid: s.modality for s in study.series for i in s.instances if timepoint.made_here(i) and i != own
    }
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(ours.values()).items()))
    told = (f"study {study.study_instance_uid}: what LMS-SR wrote itself is measured no second time: {counted}",)
    return without(study, frozenset(ours)), documents, told if ours else ()


def _named(made: tuple[Rendition, ...]) -> dict[str, bytes]:
    """Return file name → content; several objects of one kind are numbered."""
    found: dict[str, bytes] = {}
    for one in made:
        name, number = _FILES[one.kind], 1
        while name in found:
            number += 1
            name = _FILES[one.kind].replace(".dcm", f"-{number}.dcm")
        found[name] = one.part10
    return found


def _read(settings: Settings, folder: Path) -> Folder:
    found = read_folder(folder, default_issuer=settings.site.issuer)
    if not found.studies:
        why = f" ({found.refused[0]})" if found.refused else ""
        msg = f"{folder} holds no DICOM file that can be read{why}"
        raise InputError(msg)
    return found


def _write(place: Path, contents: dict[str, bytes]) -> tuple[Path, ...]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        # what an earlier run wrote of another shape must not be taken for this one's
        for stale in (p for p in place.iterdir() if _OURS.fullmatch(p.name)):
            stale.unlink()
        for name, content in contents.items():
            (place / name).write_bytes(content)
    except OSError as error:
        msg = f"{place} cannot be written ({error.strerror}): name another folder with --out"
        raise InputError(msg) from error
    return tuple(place / name for name in contents)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMeasured:
    """What was measured in a folder."""

    #: Study Instance UID and segment, in the order of studies
    segments: tuple[tuple[str, SegmentMeasurements], ...]
    #: patient by patient, the oldest first
    studies: tuple[StudyOverTime, ...]
    #: files that could not be read, and why
    left_out: tuple[str, ...]


def measure(settings: Settings, folder: Path, declared: Declared = NOTHING) -> FolderMeasured:
    """Measure every segment and ROI of every study of a folder, and compare each study with the earlier ones of its patient.

    ``declared``: what a person says of the lesions of the folder's one patient.

    Raises
    ------
    InputError
        ``folder`` is none, or holds no DICOM file; or what was declared is of no lesion there.
    """
    found = _read(settings, folder)
    exams = []
    for whole in found.studies:
        study, documents, told = _without_ours(whole, found)
        measured = measure_study(study, found.open_file, every_segment=True, measuring=settings.measuring)
        exams.append(Examination(study=study, measured=measured, documents=documents, left_out=told))
    options = Options(installation=_INSTALLATION, timezone=settings.site.timezone)
    studies = compare_studies(
        exams, options, clinical=settings.clinical, measuring=settings.measuring, declared=declared
    )
    return FolderMeasured(
        segments=tuple((e.uid, m) for e in exams for m in e.measured), studies=studies, left_out=found.refused
    )


def open_sr(path: Path) -> Dataset:
    """Return an SR document.

    Raises
    ------
    InputError
        The file is none, or cannot be read.
    """
    try:
        ds = dcmread(path)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or 'it ends too early'}"
        raise InputError(msg) from error
    except _BROKEN as error:
        msg = f"{path} is no DICOM file: {type(error).__name__}"
        raise InputError(msg) from error
    for element in ds.values():
        # pydicom takes what is there of a value that the file cuts short
        if not isinstance(element, RawDataElement) or element.value is None:
            continue
        if len(element.value) < element.length != _UNDEFINED:
            msg = f"{path} is damaged: it ends too early"
            raise InputError(msg)
    try:
        # sequences are read when they are looked at
        for _ in ds.iterall():
            pass
    except (OSError, *_BROKEN) as error:
        msg = f"{path} is damaged: {type(error).__name__} while its elements were read"
        raise InputError(msg) from error
    if ds.get("ValueType") != "CONTAINER":
        msg = f"{path} is no SR document"
        raise InputError(msg)
    return ds


@contextmanager
def _structure(path: Path) -> Iterator[None]:
    """Say of a document in which a value stands where another kind of value has to that it is damaged."""
    try:
        yield
    except (AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        msg = f"{path} is damaged: {type(error).__name__} while its content was read"
        raise InputError(msg) from error


def show(path: Path, form: str) -> str:
    """Return an SR as ``text`` or ``html``.

    Raises
    ------
    InputError
        As `open_sr`.
    """
    ds = open_sr(path)
    with _structure(path):
        return render.as_html(ds) if form == "html" else render.as_text(ds)


def problems_of(path: Path) -> tuple[str, ...]:
    """Return what is wrong with an SR of ours; empty where nothing is.

    Raises
    ------
    InputError
        As `open_sr`.
    """
    ds = open_sr(path)
    with _structure(path):
        title = str(next(iter(ds.get("ConceptNameCodeSequence") or ()), Dataset()).get("CodeValue", ""))
        problems = gate.document_problems(ds)
        kind = _TITLES.get(title)
        if kind == "companion":
            problems += gate.companion_problems(ds)
        elif kind == "report":
            problems += _unreadable(ds)
    return tuple(dict.fromkeys(problems))


def _unreadable(ds: Dataset) -> list[str]:
    name = template_of(ds)
    if name not in template_names():
        return [f"it was made by the template '{name}', which is not here" if name else "it is no report of ours"]
    try:
        parse(ds, load_template(name))
    except InputError as error:
        return [f"does not read back as a '{name}' report: {error}"]
    return []
