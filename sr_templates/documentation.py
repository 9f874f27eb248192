"""The clinical content as a page: generated from the templates, so that what is documented is what is asked."""

from __future__ import annotations

from collections.abc import Iterator

from service.model.code import Code
from sr_templates.codes import load_codes
from sr_templates.language.values import Fill, Item, Template

_SHOWN_VALUES = 12


def markdown(template: Template) -> str:
    """Return the documentation page of a template."""
    return "\n".join(_lines(template)) + "\n"


def _lines(template: Template) -> Iterator[str]:
    items = list(template)
    yield f"# Clinical content: {template.label}"
    yield ""
    yield (
        f"Generated from `sr_templates/` (template `{template.key}`, version {template.version}, {len(items)} items). "
        "Do not edit this page: edit the section file and run `lms-sr template docs > docs/clinical.md`."
    )
    yield ""
    yield (
        "The software proposes, the radiologist decides: every value in the column *Proposed from* stays marked as proposed until a "
        "person confirms it. *Automatic* rows identify things (UIDs, dates, the device) and need no confirmation. Every coded item "
        "that a report needs also accepts *Not Evaluated* (SCT 373121007), given by a person, never by the software."
    )
    for section in template.sections:
        yield ""
        yield f"## {section.heading.meaning}"
        yield ""
        yield "| Item | Concept | Asked about | Type | Need | Modalities | Values | Proposed from | Note |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for item in section.items:
            yield _row(item)
    yield ""
    yield "## Codes"
    yield ""
    rows = list(load_codes())
    counts = {s: sum(r.status == s for r in rows) for s in ("verified", "private", "unverified")}
    yield (
        f"`sr_templates/codes.csv` has {len(rows)} rows: {counts['verified']} verified in public code lists, {counts['private']} of our "
        f"own scheme 99LMSSR, {counts['unverified']} unverified and refused by the linter until somebody verifies them."
    )


def _row(item: Item) -> str:
    proposed = ", ".join(p.replace("_", " ") for p in item.prefill)
    if item.fill is not Fill.PERSON:
        proposed = f"{proposed} ({item.fill.value})" if proposed else item.fill.value
    condition = f"only when *{item.when.item}* says so" if item.when else ""
    notes = " ".join(part for part in (item.help, f"[{item.cite}]" if item.cite else "", condition) if part)
    cells = (
        f"{item.label}<br>`{item.key}`",
        _code(item.concept),
        item.scope.value,
        item.type.value + (f" [{item.unit.value}]" if item.unit else ""),
        item.need.value,
        " ".join(item.modalities) or "all",
        _values(item),
        proposed,
        notes,
    )
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _code(code: Code) -> str:
    return f"{code.meaning}<br>{code.scheme} {code.value}"


def _values(item: Item) -> str:
    if item.low is not None and item.high is not None:
        return f"{item.low} to {item.high}"
    shown = "; ".join(v.meaning for v in item.values[:_SHOWN_VALUES])
    more = len(item.values) - _SHOWN_VALUES
    return shown + (f"; and {more} more" if more > 0 else "") + (" (others allowed)" if item.extensible else "")
