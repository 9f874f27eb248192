"""What stands between a finished report and the network: written, read back, checked. A report that fails is parked, never sent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.valuerep import validate_value

from service.errors import GateError, InputError
from service.model.report import Report
from service.model.study import Study
from service.model.uids import is_uid
from service.sr.document import ENHANCED_SR
from service.sr.encode import template_line
from service.sr.evidence import CURRENT_REQUESTED_PROCEDURE_EVIDENCE, listed
from service.sr.parse import parse
from service.sr.tree import children, code_in, concept
from sr_templates import Template, load_codes
from sr_templates.codes import PRIVATE_SCHEME

_MAX_DEPTH = 32
_CONTENT_ROOTS = {"126000", "126001"}
_SAID = frozenset({"TEXT", "CODE", "NUM"})
_CONTEXT = _SAID | {"DATETIME", "DATE", "TIME", "UIDREF", "PNAME"}
_ANY = _CONTEXT | {"COMPOSITE", "IMAGE", "WAVEFORM", "SCOORD", "TCOORD", "CONTAINER"}
#: relationship → what may stand above and below it: PS3.3 A.35.3.3.1.2 (Comprehensive SR)
_ALLOWED = {
    "CONTAINS": (frozenset({"CONTAINER"}), _ANY),
    "HAS OBS CONTEXT": (_SAID | {"CONTAINER"}, _CONTEXT | {"COMPOSITE"}),
    "HAS ACQ CONTEXT": (frozenset({"CONTAINER", "IMAGE", "WAVEFORM", "COMPOSITE", "NUM"}), _CONTEXT | {"CONTAINER"}),
    "HAS CONCEPT MOD": (_ANY, frozenset({"TEXT", "CODE"})),
    "INFERRED FROM": (_SAID, _ANY),
    "SELECTED FROM": (frozenset({"SCOORD"}), frozenset({"IMAGE"})),
}
_CODES = (
    "ConceptNameCodeSequence",
    "ConceptCodeSequence",
    "NumericValueQualifierCodeSequence",
    "MeasurementUnitsCodeSequence",
)


def check(part10: bytes, *, report: Report, template: Template, study: Study, companion: bool = False) -> None:
    """Check one rendition.

    Raises
    ------
    GateError
        With every problem found: round trip, TID 1500 rules that viewers rely on, value representations, one patient, character set,
        references.
    """
    problems = list(_study_problems(study))
    try:
        ds = dcmread(io.BytesIO(part10))
    except (InvalidDicomError, EOFError, ValueError) as error:
        raise GateError((*problems, f"cannot be read back: {type(error).__name__}")) from error
    problems += document_problems(ds)
    problems += _identity_problems(ds, study)
    if companion:
        problems += companion_problems(ds)
    else:
        problems += _round_trip_problems(ds, report, template)
    if problems:
        raise GateError(tuple(dict.fromkeys(problems)))


def check_text(part10: bytes, *, study: Study) -> None:
    """Check a text rendition: it is not read back, but it has to be of this study, and whole.

    Raises
    ------
    GateError
        With every problem found.
    """
    problems = list(_study_problems(study))
    try:
        ds = dcmread(io.BytesIO(part10))
    except (InvalidDicomError, EOFError, ValueError) as error:
        raise GateError((*problems, f"cannot be read back: {type(error).__name__}")) from error
    problems += [*_flag_problems(ds), *_value_problems(ds), *_reference_problems(ds), *_identity_problems(ds, study)]
    if problems:
        raise GateError(tuple(dict.fromkeys(problems)))


def document_problems(ds: Dataset) -> list[str]:
    """Return what is wrong with an SR of ours, judged by itself."""
    return [*_flag_problems(ds), *_value_problems(ds), *_tree_problems(ds), *_reference_problems(ds)]


def _study_problems(study: Study) -> Iterator[str]:
    if len(study.patient_ids) > 1:
        yield f"the study's instances name {len(study.patient_ids)} different patients: correct them in the PACS and send the study again"
    if not is_uid(study.study_instance_uid):
        yield "the Study Instance UID is no UID"


def _identity_problems(ds: Dataset, study: Study) -> Iterator[str]:
    for keyword, expected in (
        ("StudyInstanceUID", study.study_instance_uid),
        ("PatientID", study.patient.patient_id),
        ("AccessionNumber", study.accession_number),
        ("PatientName", study.patient.name),
    ):
        if str(ds.get(keyword, "") or "") != expected:
            yield f"{keyword} is not the study's after reading back"


def _flag_problems(ds: Dataset) -> Iterator[str]:
    completion, verification, preliminary = (
        str(ds.get(k, "")) for k in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")
    )
    if ds.get("SpecificCharacterSet") != "ISO_IR 192":
        yield "SpecificCharacterSet is not ISO_IR 192"
    if completion not in {"PARTIAL", "COMPLETE"} or verification not in {"UNVERIFIED", "VERIFIED"}:
        yield f"flags {completion}/{verification} are none that PS3.3 C.17.2 knows"
    signed = bool(ds.get("VerifyingObserverSequence"))
    if (verification == "VERIFIED") != signed:
        yield "VERIFIED and a verifying observer have to stand together"
    if completion == "PARTIAL" and preliminary != "PRELIMINARY":
        yield "a partial report has to be preliminary"


def _value_problems(ds: Dataset, path: str = "", depth: int = 0) -> Iterator[str]:
    """Check every value against its VR (PS3.5 6.2): length, characters, grammar."""
    if depth > _MAX_DEPTH:
        yield f"nested deeper than {_MAX_DEPTH}"
        return
    for tag in ds.keys():  # noqa: SIM118 - iterating the data set itself would convert every element
        if tag == CURRENT_REQUESTED_PROCEDURE_EVIDENCE:
            continue  # checked as bytes: it holds UIDs only, thousands of them
        element = ds[tag]
        name = f"{path}{element.keyword or element.tag}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value, start=1):
                yield from _value_problems(item, f"{name}[{number}].", depth + 1)
        elif element.value not in (None, "", b""):
            values = element.value if element.VM > 1 else [element.value]
            for value in values:
                try:
                    validate_value(element.VR, _raw(value), config.RAISE)
                except (ValueError, TypeError):
                    yield f"{name} does not fit its value representation {element.VR}"


def _raw(value: Any) -> Any:
    original = getattr(value, "original_string", None)
    return original if original is not None else value


def _tree_problems(ds: Dataset) -> Iterator[str]:
    if _code(ds.get("ConceptNameCodeSequence"))[0] not in _CONTENT_ROOTS:
        yield "the root title is neither 126000 nor 126001"
    template = next(iter(ds.get("ContentTemplateSequence") or ()), Dataset())
    if (template.get("TemplateIdentifier"), template.get("MappingResource")) != ("1500", "DCMR"):
        yield "the root does not name template 1500 of DCMR"
    names = [_code(c.get("ConceptNameCodeSequence"))[0] for c in ds.get("ContentSequence") or ()]
    for value, what in (("121049", "language"), ("121058", "procedure reported"), ("121012", "device observer")):
        if value not in names:
            yield f"TID 1500 wants a {what}"
    if not {"126010", "126011", "C0034375"} & set(names):
        yield "TID 1500 wants measurements or evaluations"
    yield from _item_problems(ds, _known_private())
    if ds.get("SOPClassUID") == ENHANCED_SR:
        yield from _enhanced_problems(ds)


def _enhanced_problems(item: Dataset) -> Iterator[str]:
    for child in children(item):
        if child.get("RelationshipType") == "HAS OBS CONTEXT" and item.get("ValueType") != "CONTAINER":
            yield f"in Enhanced SR a {item.get('ValueType')} may not have a child by 'HAS OBS CONTEXT'"
        yield from _enhanced_problems(child)


def _known_private() -> frozenset[str]:
    return frozenset(r.code.value for r in load_codes() if r.code.scheme == PRIVATE_SCHEME)


def _item_problems(item: Dataset, private: frozenset[str], depth: int = 0) -> Iterator[str]:
    kind = str(item.get("ValueType", ""))
    name = _code(item.get("ConceptNameCodeSequence"))
    label = name[2] or kind
    if not all(name):
        yield f"an item of type {kind} has no concept name: some viewers show nothing at all then"
    if kind == "CONTAINER":
        if item.get("ContinuityOfContent") != "SEPARATE":
            yield f"container '{label}' is not SEPARATE: viewers would print its values without their names"
        if depth and not item.get("ContentSequence"):
            yield f"container '{label}' is empty"
    if kind == "NUM" and not (item.get("MeasuredValueSequence") or item.get("NumericValueQualifierCodeSequence")):
        yield f"number '{label}' has neither a value nor a reason for having none"
    measured = item.get("MeasuredValueSequence") or ()
    for code in (_code(i.get(keyword)) for i in (item, *measured) for keyword in _CODES):
        if code[1] == PRIVATE_SCHEME and code[0] not in private:
            yield f"code {code[0]} of {PRIVATE_SCHEME} is not in codes.csv"
    if name[0] == "125007":
        inside = {_code(c.get("ConceptNameCodeSequence"))[0] for c in item.get("ContentSequence") or ()}
        if not {"112039", "112040"} <= inside:
            yield "a measurement group lacks its tracking identifier or its tracking UID"
    for child in item.get("ContentSequence") or ():
        relation = str(child.get("RelationshipType", ""))
        above, below = _ALLOWED.get(relation, (frozenset(), frozenset()))
        if kind not in above or str(child.get("ValueType", "")) not in below:
            yield f"'{label}' ({kind}) may not have a child of type {child.get('ValueType')} by '{relation}'"
        yield from _item_problems(child, private, depth + 1)


def _reference_problems(ds: Dataset) -> Iterator[str]:
    """Every instance that the content points at has to stand in the evidence, with the same class."""
    try:
        known = listed(ds)
    except InputError as error:
        yield str(error)
        return
    if not all(is_uid(u) and is_uid(k.sop_class_uid) and is_uid(k.series_instance_uid) for u, k in known.items()):
        yield "the evidence lists something that is no UID"
    for sop_class, uid in _referenced(ds):
        if uid not in known:
            yield "the content points at an instance that the evidence does not list"
        elif known[uid].sop_class_uid != sop_class:
            yield "the content and the evidence disagree about the class of an instance"


def _referenced(item: Dataset) -> Iterator[tuple[str, str]]:
    for child in item.get("ContentSequence") or ():
        for sop in child.get("ReferencedSOPSequence") or ():
            yield str(sop.get("ReferencedSOPClassUID", "")), str(sop.get("ReferencedSOPInstanceUID", ""))
        yield from _referenced(child)


def _round_trip_problems(ds: Dataset, report: Report, template: Template) -> Iterator[str]:
    line = load_codes()["rep.template"]
    named = [
        str(c.get("TextValue", "")) for c in ds.get("ContentSequence") or () if concept(c) == (line.value, line.scheme)
    ]
    if named != [template_line(report)]:
        # a report without the line would be read as one of the first version
        yield "does not name the template, and the version of it, that the report was made by"
    try:
        back = parse(ds, template)
    except InputError as error:
        yield f"does not read back as a report: {error}"
        return
    if back != report:
        lost = {(a.item, a.subject) for a in set(report.answers) ^ set(back.answers)}
        where = ", ".join(sorted({f"{item} {subject}".strip() for item, subject in lost})) or "subjects or remarks"
        yield f"reads back as another report: {where}"


def companion_problems(ds: Dataset) -> Iterator[str]:
    """Return what would leave a viewer blank, or show a value that its line contradicts."""
    containers = [c for c in ds.get("ContentSequence") or () if _code(c.get("ConceptNameCodeSequence"))[0] == "126010"]
    groups = [g for c in containers for g in c.get("ContentSequence") or ()]
    if not groups:
        yield "the companion has no measurement group"
    for group in groups:
        numbers = [c for c in group.get("ContentSequence") or () if c.get("ValueType") == "NUM"]
        if not numbers or any(not _lines(n) for n in numbers):
            yield "a group of the companion has a number without a line: viewers stay blank"


def _lines(number: Dataset) -> list[Dataset]:
    return [
        c for c in number.get("ContentSequence") or () if c.get("ValueType") == "SCOORD" and c.get("ContentSequence")
    ]


def _code(sequence: Any) -> tuple[str, str, str]:
    found = code_in(sequence)
    return (found.value, found.scheme, found.meaning) if found else ("", "", "")
