"""A template as a FHIR R4 Questionnaire (http://hl7.org/fhir/R4/questionnaire.html), with conditions of Structured Data Capture.

Every question is an item whose ``linkId`` is the key of ours (`service.export.outline` says how rows are called) and whose ``code`` is its
concept. What a Questionnaire cannot hold is left out: the rules that the answers have to keep together, and what is computed from them.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from service.export.codings import OID, system_of
from service.export.enabling import Enabler, Enabling, Simple
from service.export.outline import Kind, Part, every, outline
from service.model.code import Code
from service.model.report import Scope
from service.model.uids import derived_uid
from service.settings import Clinical
from sr_templates import Item, ItemType, Need, Template, load_codes
from sr_templates.evaluate import DEFAULTS
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.values import Fill

Json = dict[str, Any]

_HL7 = "http://hl7.org/fhir/StructureDefinition/"
_SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/"
_CONTROL = "http://hl7.org/fhir/questionnaire-item-control"
_PATIENT = "%patient"
#: longer texts get a field of several lines
_ONE_LINE = 255
#: where a number may be given several times, by several derivations (mean, standard deviation …)
_MEASURED = "measured"
_COPYRIGHT = (
    "The questions and the codes of scheme 99LMSSR are part of LMS-SR (MIT licence). Other codes belong to their owners: SNOMED CT © "
    "SNOMED International (its use may need a licence in the country of use), LOINC © Regenstrief Institute, RadLex © RSNA, "
    "ICD-O-3 © WHO, UMLS and NCI Thesaurus © U.S. National Library of Medicine and National Cancer Institute, DICOM © NEMA, "
    "UCUM © Regenstrief Institute and the UCUM Organization."
)


def canonical_url(template: str) -> str:
    """Return the canonical URL of a template's Questionnaire, the same for all its versions."""
    return OID + derived_uid("questionnaire", template)


def questionnaire(template: Template, clinical: Clinical = DEFAULTS) -> str:
    """Return a template as a Questionnaire in JSON; the same template and thresholds give the same text.

    Parameters
    ----------
    template:
        The template.
    clinical:
        The thresholds that conditions name: a form knows numbers only.
    """
    parts = outline(template)
    items = _Items(template, Enabler(template=template, parts=parts, clinical=clinical))
    content: Json = {
        "resourceType": "Questionnaire",
        "language": "en",
        "contained": [_value_set(i) for i in _listed_once(parts)],
        "extension": [],
        "url": canonical_url(template.key),
        "version": template.version,
        "name": "LmsSr" + "".join(w.capitalize() for w in re.split(r"[^A-Za-z0-9]+", template.key)),
        "title": template.label,
        "status": "active",
        "subjectType": ["Patient"],
        "publisher": "LMS-SR",
        "description": (
            f"The questions of the report template '{template.key}', version {template.version}, of LMS-SR. Every question may be "
            "answered by Not Evaluated, with a reason. A lesion's group is repeated for each lesion: the first is the index tumour, "
            "which every question of the group is about; further lesions need those that are marked as required."
        ),
        "copyright": _COPYRIGHT,
        "code": [coding(template.title)],
        "item": [items.of(p) for p in parts],
    }
    if items.names_patient:
        content["extension"] = [_launch_context()]
    return to_text({k: v for k, v in content.items() if v != []})


def to_text(resource: Json) -> str:
    """Return a resource as text; the order of its fields is the order in which they were set."""
    return json.dumps(resource, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def coding(code: Code) -> Json:
    """Return a FHIR Coding. A scheme without a URI stands in an extension: as a site's own it has a name only."""
    found: Json = {}
    if system := system_of(code):
        found["system"] = system
    elif code.scheme:
        found["extension"] = [{"url": SCHEME, "valueString": code.scheme}]
    found["code"] = code.value
    if code.meaning:
        found["display"] = code.meaning
    return found


#: our extension of a Coding: the Coding Scheme Designator (0008,0102) of a scheme that has no URI
SCHEME = OID + derived_uid("fhir-extension", "coding-scheme")


def is_coded(item: Item) -> bool:
    """Say whether codes answer an item."""
    return item.type in {ItemType.CODE, ItemType.CODES}


def choices(item: Item) -> tuple[Code, ...]:
    """Return the codes that may answer an item: its values, and Not Evaluated, which every item takes."""
    not_evaluated = load_codes()[NOT_EVALUATED]
    extra = () if item.fill is not Fill.PERSON or any(v.same(not_evaluated) for v in item.values) else (not_evaluated,)
    return (*item.values, *extra)


def is_required(part: Part) -> bool:
    """Say whether a question has to be answered wherever it is asked."""
    item = part.item
    if part.kind is Kind.STRUCTURE:
        return True
    if item is None or item.fill is not Fill.PERSON or item.need is Need.OPTIONAL:
        return False
    # further lesions need only what is asked of each
    return item.scope is not Scope.LESION or item.each


def _launch_context() -> Json:
    name: Json = {
        "system": "http://hl7.org/fhir/uv/sdc/CodeSystem/launchContext",
        "code": "patient",
        "display": "Patient",
    }
    return {
        "url": f"{_SDC}sdc-questionnaire-launchContext",
        "extension": [{"url": "name", "valueCoding": name}, {"url": "type", "valueCode": "Patient"}],
    }


# --- value sets that several rows share ----------------------------------------------------------------------------------


def _listed_once(parts: Iterable[Part]) -> tuple[Item, ...]:
    """Return the coded items that are asked about several rows: their values are listed once for all."""
    rows = [p.item for p in every(parts) if p.row is not None and p.item is not None and is_coded(p.item)]
    return tuple({i.key: i for i in rows}.values())


def _value_set_id(item: Item) -> str:
    return "values-" + re.sub(r"[^A-Za-z0-9.]", "-", item.key)


def _value_set(item: Item) -> Json:
    include = [
        {"system": system, "concept": [{"code": c.value, "display": c.meaning} for c in codes]}
        for system, codes in itertools.groupby(choices(item), key=system_of)
    ]
    return {
        "resourceType": "ValueSet",
        "id": _value_set_id(item),
        "status": "active",
        "title": item.label,
        "compose": {"include": include},
    }


# --- items ---------------------------------------------------------------------------------------------------------------


class _Items:
    """Writes the parts of a form as items."""

    def __init__(self, template: Template, enabler: Enabler) -> None:
        self._template = template
        self._enabler = enabler
        #: a condition asks for the patient's sex or age
        self.names_patient = False

    def of(self, part: Part) -> Json:
        """Return the item of a part, with all that it holds."""
        if part.kind in {Kind.QUESTION, Kind.STRUCTURE, Kind.SIDE}:
            return self._question(part)
        enabling = self._enabling(part)
        extensions = [*self._variable(part), *enabling.pop("extension", [])]
        return {
            **({"extension": extensions} if extensions else {}),
            "linkId": part.key,
            **({"code": [coding(part.concept)]} if part.concept else {}),
            "text": part.text,
            "type": "group",
            **enabling,
            **({"repeats": True} if part.kind is Kind.REPEATED else {}),
            "item": [*self._helps(part), *(self.of(p) for p in part.parts)],
        }

    def _variable(self, part: Part) -> Iterator[Json]:
        """Yield the name by which conditions of a repeated group call its repetition."""
        if part.kind is Kind.REPEATED:
            expression = {"name": "subject", "language": "text/fhirpath", "expression": "%context"}
            yield {"url": f"{_HL7}variable", "valueExpression": expression}

    def _helps(self, part: Part) -> Iterator[Json]:
        """Yield what helps with the questions of a group of rows or subjects, once for all of them."""
        if part.kind in {Kind.MATRIX, Kind.REPEATED} and not (part.kind is Kind.REPEATED and self._in_matrix(part)):
            asked = self._template.select(lambda i: i.scope is part.scope and bool(i.help))
            yield from (_help(i) for i in asked)

    def _in_matrix(self, part: Part) -> bool:
        matrix = self._template.matrix(part.scope)
        return matrix is not None and bool(matrix.rows)

    def _question(self, part: Part) -> Json:
        enabling = self._enabling(part)
        extensions = [*(_number(part.item) if part.item else ()), *enabling.pop("extension", [])]
        item = part.item
        found: Json = {
            **({"extension": extensions} if extensions else {}),
            "linkId": part.key,
            **({"code": [coding(part.concept)]} if part.concept else {}),
            "text": part.text,
            "type": _type(item),
            **enabling,
        }
        if is_required(part):
            found["required"] = True
        if item is None:
            codes = load_codes()
            found["answerOption"] = [
                {"valueCoding": coding(codes[k])} for k in ("v.right", "v.left", "v.midline", "v.bilateral")
            ]
            return found
        if item.many or (item.type is ItemType.NUMBER and _MEASURED in item.prefill):
            found["repeats"] = True
        if item.fill is Fill.DERIVED or (item.fill is Fill.AUTOMATIC and item.type is ItemType.UID):
            found["readOnly"] = True
        if item.type is ItemType.TEXT:
            found["maxLength"] = item.max_length
        if is_coded(item) and part.row is not None:
            found["answerValueSet"] = f"#{_value_set_id(item)}"
        elif is_coded(item):
            found["answerOption"] = [{"valueCoding": coding(c)} for c in choices(item)]
        if item.scope is Scope.REPORT and item.help:
            found["item"] = [_help(item)]
        return found

    def _enabling(self, part: Part) -> Json:
        enabling = self._enabler.of(part)
        if enabling.expression:
            self.names_patient |= _PATIENT in enabling.expression
            expression = {"language": "text/fhirpath", "expression": enabling.expression}
            url = f"{_SDC}sdc-questionnaire-enableWhenExpression"
            return {"extension": [{"url": url, "valueExpression": expression}]}
        return _enable_when(enabling)


def _type(item: Item | None) -> str:
    if item is None or is_coded(item):
        return "open-choice" if item is not None and item.extensible else "choice"
    match item.type:
        case ItemType.NUMBER:
            return "decimal"
        case ItemType.DATE:
            return "date"
        case ItemType.TEXT if item.max_length > _ONE_LINE:
            return "text"
        case _:
            return "string"


def _number(item: Item) -> Iterator[Json]:
    """Yield unit, range and digits of a number."""
    if item.type is not ItemType.NUMBER:
        return
    if item.unit is not None:
        yield {"url": f"{_HL7}questionnaire-unit", "valueCoding": coding(item.unit)}
    for name, bound in (("minValue", item.low), ("maxValue", item.high)):
        if bound is not None:
            yield {"url": f"{_HL7}{name}", "valueDecimal": number(bound)}
    yield {"url": f"{_HL7}maxDecimalPlaces", "valueInteger": item.decimals}


def number(value: Any) -> int | float:
    """Return a decimal number as JSON writes it: whole where it is whole."""
    return int(value) if value == int(value) else float(value)


def _help(item: Item) -> Json:
    control = {"coding": [{"system": _CONTROL, "code": "help", "display": "Help-Button"}]}
    return {
        "extension": [{"url": f"{_HL7}questionnaire-itemControl", "valueCodeableConcept": control}],
        "linkId": f"{item.key}/help",
        "text": item.help if item.scope is Scope.REPORT else f"{item.label}: {item.help}",
        "type": "display",
    }


def _enable_when(enabling: Enabling) -> Json:
    if not enabling.tests:
        return {}
    found: Json = {"enableWhen": [_simple(t) for t in enabling.tests]}
    if len(enabling.tests) > 1:
        found["enableBehavior"] = "all" if enabling.every else "any"
    return found


def _simple(test: Simple) -> Json:
    match test.answer:
        case bool():
            return {"question": test.question, "operator": test.operator, "answerBoolean": test.answer}
        case Code():
            return {"question": test.question, "operator": test.operator, "answerCoding": coding(test.answer)}
        case _:
            return {"question": test.question, "operator": test.operator, "answerDecimal": number(test.answer)}
