"""A template as an IHE MRRT report template: HTML5 that is well-formed XML (IHE RAD TF-3 8.1, Management of Radiology Report Templates).

What MRRT has no means for is said in words beside the field: conditions (its only conditional content is a template inside a template),
units, and that a lesion's fields are filled in once for each lesion. Fields that identify files or software are left out.
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Iterable, Iterator

from service.export.codings import SCHEMES
from service.export.fhir import choices, is_coded, is_required
from service.export.outline import Kind, Part, every, outline
from service.export.plain import in_words
from service.model.code import Code
from service.model.uids import derived_uid
from service.settings import Clinical
from sr_templates import Item, ItemType, Template, load_codes
from sr_templates.evaluate import DEFAULTS
from sr_templates.language.values import Fill

_UNITS = {"[hnsf'U]": "HU", "cm3": "mL", "1": "", "d": "days"}
#: longer texts get a field of several lines
_ONE_LINE = 255
_LEVELS = 3
_RIGHTS = (
    "The questions and the codes of scheme 99LMSSR: MIT licence. "
    "Other codes belong to their owners (SNOMED CT: SNOMED International)."
)
_STYLE = (
    "body { font-family: sans-serif; max-width: 60em; margin: auto; } header.level1 { font-size: 1.3em; font-weight: bold; } "
    "header.level2 { font-weight: bold; } p { margin: .4em 0; } label { display: inline-block; min-width: 16em; vertical-align: top; } "
    ".note { color: #555; font-size: .85em; } p .note { display: block; margin-left: 19em; }"
)


def template_uid(template: Template) -> str:
    """Return the UID of a template's MRRT file (dcterms.identifier): another one for each version."""
    return derived_uid("mrrt", template.key, template.version)


def mrrt(template: Template, date: dt.date, clinical: Clinical = DEFAULTS) -> str:
    """Return a template as an MRRT file; the same template, date and thresholds give the same text.

    Parameters
    ----------
    template:
        The template.
    date:
        What the file gives as its date (dcterms.date).
    clinical:
        The thresholds that conditions name.
    """
    writer = _Writer(template, clinical)
    body = "\n".join(line for part in outline(template) if _is_shown(part) for line in writer.section(part, 1))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="UTF-8"/>',
            _element("title", template.label),
            *_dublin_core(template, date),
            '<script type="text/xml">',
            *_attributes(template),
            "</script>",
            _element("style", _STYLE),
            "</head>",
            "<body>",
            body,
            "</body>",
            "</html>",
            "",
        )
    )


# --- head ----------------------------------------------------------------------------------------------------------------


def _dublin_core(template: Template, date: dt.date) -> Iterator[str]:
    """Yield the Dublin Core elements of RAD TF-3 8.1.2."""
    modalities = sorted({m for i in template for m in i.modalities})
    for name, content in (
        ("title", template.label),
        ("description", f"{template.label}: report template '{template.key}', version {template.version}, of LMS-SR"),
        ("identifier", template_uid(template)),
        ("type", "IMAGE_REPORT_TEMPLATE"),
        ("language", "en"),
        ("publisher", "LMS-SR"),
        ("rights", _RIGHTS),
        ("license", "https://opensource.org/license/mit"),
        ("date", date.isoformat()),
        ("creator", "LMS-SR contributors"),
        ("subject", "; ".join(["leiomyosarcoma", "retroperitoneum", *modalities])),
    ):
        yield _void("meta", name=f"dcterms.{name}", content=content)


def _attributes(template: Template) -> Iterator[str]:
    """Yield the template attributes of RAD TF-3 8.1.3, with the coded content of 8.1.6.1.

    ``ORIGTXT`` of an entry is the id of the section, field or option that its codes belong to.
    """
    yield "<template_attributes>"
    yield "<top-level-flag>true</top-level-flag>"
    yield "<status>ACTIVE</status>"
    entries = list(_coded(outline(template)))
    schemes = dict.fromkeys(code.scheme for _, code in (*entries, ("", template.title)))
    yield "<coded_content>"
    yield "<coding_schemes>"
    for designator in schemes:
        yield _void("coding_scheme", name=designator, designator=SCHEMES[designator].oid)
    yield "</coding_schemes>"
    for key, code in entries:
        yield f'<entry ORIGTXT="{_escaped(key)}">{_term(code)}</entry>'
    yield "</coded_content>"
    yield _term(template.title)
    yield "</template_attributes>"


def _term(code: Code) -> str:
    return f"<term>{_void('code', meaning=code.meaning, value=code.value, scheme=code.scheme)}</term>"


def _coded(parts: Iterable[Part]) -> Iterator[tuple[str, Code]]:
    for part in every(parts):
        if not _is_shown(part):
            continue
        if part.concept is not None:
            yield part.key, part.concept
        for number, code in enumerate(_options(part), start=1):
            yield _option_id(part, number), code


# --- body ----------------------------------------------------------------------------------------------------------------


def _is_shown(part: Part) -> bool:
    """Say whether a person can fill in a part; what identifies files, devices and persons is not asked of one."""
    item = part.item
    return (
        item is None or item.fill is Fill.ROW or (item.fill in {Fill.PERSON, Fill.AUTOMATIC} and _is_for_people(item))
    )


def _is_for_people(item: Item) -> bool:
    return item.type not in {ItemType.UID, ItemType.PERSON} and item.section != "participants"


def _options(part: Part) -> tuple[Code, ...]:
    if part.kind is Kind.SIDE:
        codes = load_codes()
        return tuple(codes[k] for k in ("v.right", "v.left", "v.midline", "v.bilateral"))
    return choices(part.item) if part.item is not None and is_coded(part.item) else ()


def _option_id(part: Part, number: int) -> str:
    return f"{part.key}:{number}"


class _Writer:
    """Writes the sections and fields of one template."""

    def __init__(self, template: Template, clinical: Clinical) -> None:
        self._template = template
        self._clinical = clinical

    def section(self, part: Part, level: int) -> Iterator[str]:
        """Yield a section: its header, then its fields and the sections in it."""
        shown = [p for p in part.parts if _is_shown(p)]
        attributes = {"id": part.key, "class": f"level{level}", "data-section-name": part.text}
        required = any(is_required(p) for p in every(shown))
        attributes["data-section-required"] = "true" if required else "false"
        yield _open("section", attributes)
        yield _element("header", part.text, **{"class": f"level{level}"})
        if part.kind is Kind.ROW and part.row is not None and part.row.when is not None:
            yield _note(f"Asked only while: {in_words(part.row.when, self._template, self._clinical)}.")
        if part.kind is Kind.REPEATED:
            yield _note("To be repeated for each one that there is; left empty where there is none.")
        for inner in shown:
            if inner.parts:
                yield from self.section(inner, min(level + 1, _LEVELS))
            else:
                yield self._field(inner)
        yield "</section>"

    def _field(self, part: Part) -> str:
        unit = part.item.unit if part.item is not None else None
        shown = _UNITS.get(unit.value, unit.value) if unit is not None else ""
        suffix = f" {_escaped(shown)}" if shown else ""
        # what is asked of every row is explained once, where the structure is free
        explained = part.item is not None and (part.row is None or bool(part.item.rows))
        note = self._notes(part.item) if part.item is not None and explained else ""
        return f"<p>{_element('label', part.text, **{'for': part.key})} {_control(part)}{suffix}{note}</p>"

    def _notes(self, item: Item) -> str:
        said = []
        if item.modalities:
            said.append(f"{', '.join(item.modalities)} only.")
        if item.when is not None:
            said.append(f"Asked only while: {in_words(item.when, self._template, self._clinical)}.")
        if item.help:
            said.append(item.help)
        return f" {_note(' '.join(said))}" if said else ""


def _control(part: Part) -> str:
    """Return the field of a question (RAD TF-3 8.1.5)."""
    common = {"id": part.key, "name": part.key}
    options = _options(part)
    if options:
        multiple = {"multiple": "multiple"} if part.item is not None and part.item.many else {}
        attributes = common | multiple | _field_attributes(part, "SELECTION_LIST")
        listed = (
            _element("option", c.meaning, id=_option_id(part, n), name=part.key, value=c.meaning)
            for n, c in enumerate(options, start=1)
        )
        blank = "" if multiple else _element("option", "", id=_option_id(part, 0), name=part.key, value="")
        return f"{_open('select', attributes)}{blank}{''.join(listed)}</select>"
    item = part.item
    if item is None or item.type is ItemType.TEXT:
        limit = item.max_length if item is not None else _ONE_LINE
        attributes = common | {"maxlength": str(limit)} | _field_attributes(part, "TEXT")
        if limit > _ONE_LINE:
            return f"{_open('textarea', attributes | {'rows': '3', 'cols': '60'})}</textarea>"
        return _void("input", type="text", value="", **attributes)
    if item.type is ItemType.DATE:
        return _void("input", type="date", value="", **common, **_field_attributes(part, "DATE"))
    bounds = {n: f"{v:f}" for n, v in (("min", item.low), ("max", item.high)) if v is not None}
    step = {"step": f"{10**-item.decimals:.{item.decimals}f}"}
    return _void("input", type="number", value="", **common, **bounds, **step, **_field_attributes(part, "NUMBER"))


def _field_attributes(part: Part, kind: str) -> dict[str, str]:
    """Return what MRRT asks of a field: its type, and what happens to an empty one when the report is signed.

    A field that is always needed prohibits signing; one that is needed for some modalities or under a condition only warns.
    """
    action = "NONE"
    if is_required(part) and part.item is not None:
        always = part.row is None and part.item.when is None and not part.item.modalities
        action = "PROHIBIT" if always and part.kind is Kind.QUESTION and not _is_repeated(part) else "ALERT"
    return {"data-field-type": kind, "data-field-completion-action": action}


def _is_repeated(part: Part) -> bool:
    return part.scope.value != "report"


# --- text ----------------------------------------------------------------------------------------------------------------


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _open(tag: str, attributes: dict[str, str]) -> str:
    return f"<{tag}{''.join(f' {k}={chr(34)}{_escaped(v)}{chr(34)}' for k, v in attributes.items())}>"


def _element(tag: str, text: str, /, **attributes: str) -> str:
    return f"{_open(tag, attributes)}{_escaped(text)}</{tag}>"


def _void(tag: str, /, **attributes: str) -> str:
    return f"{_open(tag, attributes)[:-1]}/>"


def _note(text: str) -> str:
    return _element("span", text, **{"class": "note"})
