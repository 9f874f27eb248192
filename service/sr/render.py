"""Any SR as text or as a page, the way viewers flatten it: names, values, units as people write them; no UIDs, no graphics."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from service.errors import InputError

#: what a reader of the text has no use for
_HIDDEN_TYPES = frozenset({"UIDREF", "SCOORD", "SCOORD3D", "IMAGE", "WAVEFORM", "TCOORD", "COMPOSITE"})
_UNITS = {"[hnsf'U]": "HU", "cm3": "mL", "1": "", "d": "days"}
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report: how deep it stands, its number where it is a heading, name and value."""

    depth: int
    number: str
    name: str
    value: str

    @property
    def is_heading(self) -> bool:
        """Say whether the line opens a section."""
        return bool(self.number)


def lines(ds: Dataset) -> tuple[Line, ...]:
    """Return the lines of an SR document.

    Raises
    ------
    InputError
        ``ds`` is no SR document, or its tree is deeper than any sane one.
    """
    if ds.get("ValueType") != "CONTAINER":
        msg = "not an SR document: the root has no container"
        raise InputError(msg)
    return (Line(0, "", _name(ds), ""), *_below(ds, 1, ""))


def _below(item: Dataset, depth: int, prefix: str) -> Iterator[Line]:
    if depth > _MAX_DEPTH:
        msg = f"not shown: the tree is deeper than {_MAX_DEPTH} levels"
        raise InputError(msg)
    position = 0
    for child in item.get("ContentSequence") or ():
        kind = str(child.get("ValueType", ""))
        if kind == "CONTAINER":
            inner = tuple(_below(child, depth + 1, f"{prefix}{position + 1}."))
            if inner:
                position += 1
                yield Line(depth, f"{prefix}{position}", _name(child), "")
                yield from inner
        elif kind not in _HIDDEN_TYPES:
            aside = [
                f"{_name(c)}: {_value(c)}"
                for c in child.get("ContentSequence") or ()
                if c.get("ValueType") in {"CODE", "TEXT"}
            ]
            value = _value(child)
            yield Line(depth, "", _name(child), f"{value} ({'; '.join(aside)})" if aside else value)


def as_text(ds: Dataset) -> str:
    """Return an SR document as text, headings numbered, two blanks for each level."""
    flags = ", ".join(
        str(ds.get(k, "")) for k in ("PreliminaryFlag", "CompletionFlag", "VerificationFlag") if ds.get(k)
    )
    shown = [f"{lines(ds)[0].name}  [{flags}]" if flags else lines(ds)[0].name]
    for line in lines(ds)[1:]:
        indent = "  " * (line.depth - 1)
        if line.is_heading:
            shown.append(f"{indent}{line.number} {line.name}")
        else:
            shown.append(f"{indent}{line.name}: {line.value}")
    return "\n".join(shown) + "\n"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin: 1.6rem 0 .4rem; border-bottom: 1px solid #ccc; }}
h3 {{ font-size: 1rem; margin: 1rem 0 .3rem; }}
p {{ margin: .15rem 0; }} .name {{ color: #555; }} .flags {{ background: #fff3cd; padding: .3rem .6rem; border-radius: .3rem; }}
.patient {{ color: #333; }}
</style></head><body>
<h1>{title}</h1>
<p class="patient">{patient}</p>
<p class="flags">{flags}</p>
{body}
</body></html>
"""


def as_html(ds: Dataset) -> str:
    """Return an SR document as a page that stands by itself; every value is escaped."""
    shown = lines(ds)
    parts: list[str] = []
    for line in shown[1:]:
        if line.is_heading:
            level = min(1 + line.depth, 4)
            parts.append(f"<h{level}>{html.escape(line.number)} {html.escape(line.name)}</h{level}>")
        else:
            parts.append(f'<p><span class="name">{html.escape(line.name)}:</span> {html.escape(line.value)}</p>')
    patient = " · ".join(_header(ds))
    flags = " · ".join(
        str(ds.get(k, "")) for k in ("PreliminaryFlag", "CompletionFlag", "VerificationFlag") if ds.get(k)
    )
    return _PAGE.format(
        title=html.escape(shown[0].name), patient=html.escape(patient), flags=html.escape(flags), body="\n".join(parts)
    )


def _header(ds: Dataset) -> Iterator[str]:
    """Yield who and which study, as people write it."""
    # alphabetic, ideographic, phonetic: the first that is written
    name = next((part for part in str(ds.get("PatientName", "")).split("=") if part.strip("^ ")), "")
    if name:
        yield name.replace("^", ", ", 1).replace("^", " ").strip(", ")
    for label, keyword in (
        ("ID ", "PatientID"),
        ("born ", "PatientBirthDate"),
        ("study of ", "StudyDate"),
        ("accession ", "AccessionNumber"),
    ):
        if value := str(ds.get(keyword, "")):
            yield label + (_day(value) if keyword.endswith("Date") else value)


def _day(written: str) -> str:
    return f"{written[:4]}-{written[4:6]}-{written[6:8]}" if len(written) == len("YYYYMMDD") else written


def _meaning(sequence: object) -> str:
    items = list(sequence) if isinstance(sequence, (list, tuple)) or hasattr(sequence, "__iter__") else []
    return str(items[0].get("CodeMeaning", "")) if items else ""


def _name(item: Dataset) -> str:
    return _meaning(item.get("ConceptNameCodeSequence") or ()) or "(no name)"


def _value(item: Dataset) -> str:
    match item.get("ValueType"):
        case "CODE":
            return _meaning(item.get("ConceptCodeSequence") or ())
        case "NUM":
            return _number(item)
        case "TEXT":
            return str(item.get("TextValue", ""))
        case "DATE":
            return _day(str(item.get("Date", "")))
        case "PNAME":
            return str(item.get("PersonName", "")).split("=")[0].replace("^", " ").strip()
        case kind:
            return str(item.get({"TIME": "Time", "DATETIME": "DateTime"}.get(str(kind), ""), ""))


def _number(item: Dataset) -> str:
    measured = next(iter(item.get("MeasuredValueSequence") or ()), None)
    if measured is None:
        return _meaning(item.get("NumericValueQualifierCodeSequence") or ()) or "no value"
    units = next(iter(measured.get("MeasurementUnitsCodeSequence") or ()), Dataset())
    unit = str(units.get("CodeValue", ""))
    return f"{measured.get('NumericValue', '')} {_UNITS.get(unit, unit)}".strip()
