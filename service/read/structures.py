"""Which structure a segment is: its coded property type first, then its label; what is unsure stays open.

A code that is not in the tables is never mapped by its meaning. A label counts where the code says nothing (Slicer's "Tissue") or
is not known here; where code and label contradict each other nothing is taken.
"""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydicom.sr.coding import Code as DicomCode

from service.errors import ConfigurationError
from service.model.code import Code
from service.read.segmentation import Segment
from sr_templates.codes import load_codes

TUMOUR, METASTASIS, NODE = "tumour", "metastasis", "node"
#: structures that are measured as lesions
LESIONS = frozenset({TUMOUR, METASTASIS, NODE})
RIGHT, LEFT = "v.right", "v.left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a segment is taken for, and why; empty where that is not known."""

    role: str = ""
    basis: str = ""
    #: ``v.right`` or ``v.left`` where code or label say so
    laterality: str = ""
    laterality_basis: str = ""


# ves.* and org.* rows of the code table that are no structure
_NO_STRUCTURES = frozenset({"org.invasion_status"})
#: what SRT was called before (PS3.16 Table 8-1)
_OLD_SNOMED = frozenset({"SNM3", "99SDM"})
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RIGHT_CODE, _LEFT_CODE = DicomCode("24028007", "SCT", ""), DicomCode("7771000", "SCT", "")
_PAIRED = frozenset(
    {"org.kidney", "org.adrenal", "org.psoas", "org.ureter", "org.ovary", "ves.renal_v", "ves.common_iliac_v"}
)


@dataclass(frozen=True, slots=True)
class _Table:
    """``structures.toml``."""

    codes: dict[str, list[tuple[str, str]]]
    words: dict[str, frozenset[str]]
    #: label to role
    synonyms: dict[str, str]


@functools.cache
def _table(further: str = "") -> _Table:
    """Return the table of codes and words, with those of the file ``further``."""
    text = resources.files("service.read").joinpath("structures.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    if further:
        _extend(table, _read(further), further)
    return _Table(
        codes={kind: [(value, scheme) for value, scheme in listed] for kind, listed in table["codes"].items()},
        words={kind: frozenset(listed) for kind, listed in table["words"].items()},
        synonyms={synonym: role for role, listed in table["synonyms"].items() for synonym in listed},
    )


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"[measuring] structures: {path} cannot be read ({error.strerror}): name a file that is there, or leave it empty"
        raise ConfigurationError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"[measuring] structures: {path} is no TOML file: {error}"
        raise ConfigurationError(msg) from error


def _extend(table: dict[str, Any], further: dict[str, Any], path: str) -> None:
    """Add the lists of a hospital's own file to the table.

    Raises
    ------
    ConfigurationError
        The file has a table, a kind or a structure that there is not, or a word that says nothing.
    """
    for part, lists in further.items():
        if part not in table or not isinstance(lists, dict):
            msg = f"[measuring] structures: {path} has [{part}]: known are {', '.join(f'[{k}]' for k in table)}"
            raise ConfigurationError(msg)
        for name, listed in lists.items():
            known = name in table[part] or (part == "synonyms" and _is_role(name))
            if not known:
                msg = f"[measuring] structures: {path}: '{name}' in [{part}] is not known here"
                raise ConfigurationError(msg)
            if not isinstance(listed, list) or not all(_fits(part, one) for one in listed):
                shape = "[value, scheme]" if part == "codes" else "a text"
                msg = f"[measuring] structures: {path}: each entry of '{name}' in [{part}] has to be {shape}"
                raise ConfigurationError(msg)
            words = listed if part == "codes" else [" ".join(_words(one)) for one in listed]
            table[part].setdefault(name, []).extend(words)
            if part == "synonyms":
                # a hospital's word for a structure goes before ours
                for other, theirs in table[part].items():
                    table[part][other] = theirs if other == name else [w for w in theirs if w not in words]


def _fits(part: str, entry: object) -> bool:
    if part == "codes":
        return isinstance(entry, list) and [type(e) for e in entry] == [str, str]
    return isinstance(entry, str) and bool(_words(entry))


def _is_role(name: str) -> bool:
    return name in LESIONS or (name.startswith(("ves.", "org.")) and name in load_codes())


def structure_of(segment: Segment, further: str = "") -> Structure:
    """Return which structure ``segment`` is.

    Its role is ``tumour``, ``metastasis``, ``node``, a key of ``codes.csv`` that starts with ``ves.`` or ``org.``, or empty.

    Parameters
    ----------
    segment:
        A segment, or an ROI in the shape of one.
    further:
        Path of a hospital's own codes and names (``[measuring] structures``); empty: none.

    Raises
    ------
    ConfigurationError
        That file cannot be read, or names what there is not.
    """
    table = _table(further)
    side, side_basis = _side(segment, table)
    role, basis = _role(segment, further)
    return Structure(role=role, basis=basis, laterality=side, laterality_basis=side_basis)


def is_sided(role: str) -> bool:
    """Say whether a structure has a right and a left: lesions, and organs that come in pairs."""
    return role in LESIONS or role in _PAIRED


def _role(segment: Segment, further: str) -> tuple[str, str]:
    coded = _coded_role(segment.property_type, further)
    labelled, text = _labelled_role(segment, _table(further))
    meaning = segment.property_type.meaning if segment.property_type else ""
    if coded and labelled == TUMOUR and coded not in LESIONS:
        return "", f"the coded property type says {meaning}, the {text} says tumour"
    if coded:
        return coded, f"the coded property type {meaning}"
    if labelled and coded is None:
        return labelled, f"the {text}; the coded property type {meaning} is not known here"
    return (labelled, f"the {text}") if labelled else ("", text)


def _coded_role(code: Code | None, further: str) -> str | None:
    """Return the role of a code; empty where there is no code or one that says too little, None where it is not known here."""
    if code is None:
        return ""
    given = DicomCode(code.value, "SRT" if code.scheme in _OLD_SNOMED else code.scheme, "")
    # pydicom's codes compare equal across SCT and SRT, but do not hash alike
    return next((role for known, role in _coded_roles(further) if known == given), None)


@functools.cache
def _coded_roles(further: str) -> tuple[tuple[DicomCode, str], ...]:
    codes = _table(further).codes
    special = (
        (codes["tumour"], TUMOUR),
        (codes["metastasis"], METASTASIS),
        (codes["node"], NODE),
        (codes["generic"], ""),
    )
    return (
        *((DicomCode(value, scheme, ""), role) for listed, role in special for value, scheme in listed),
        *(
            (DicomCode(row.code.value, row.code.scheme, ""), row.key)
            for row in load_codes()
            if row.key.startswith(("ves.", "org.")) and row.status == "verified" and row.key not in _NO_STRUCTURES
        ),
    )


def _labelled_role(segment: Segment, table: _Table) -> tuple[str, str]:
    for name, text in (
        ("label", segment.label),
        ("tracking identifier", segment.tracking_id),
        ("description", segment.description),
    ):
        if role := _role_of_words(text, table):
            return role, f"{name} '{text}'"
        if name == "label" and (doubt := _doubt(text, table)):
            return "", doubt
        if text and name == "label" and not _generic_label(text, table):
            # a label that says something else is not overruled by a description
            return "", ""
    return "", ""


def _doubt(text: str, table: _Table) -> str:
    """Return why a label that speaks of a tumour is not taken for one; empty where it does not speak of one."""
    said = set(_words(text))
    if not said & (table.words["tumour"] | table.words["metastasis"] | table.words["node"]):
        return ""
    if denied := sorted(said & table.words["negation"]):
        return f"the label '{text}' says '{denied[0]}'"
    if beside := sorted(said & table.words["not_tumour"]):
        return f"the label '{text}' may be a tumour, or what is meant by '{beside[0]}'"
    return ""


def _generic_label(text: str, table: _Table) -> bool:
    return not set(_words(text)) - table.words["filler"]


def role_of_label(text: str) -> str:
    """Return the role that a label names, or an empty text. Case, accents, digits, underscores and sides do not matter."""
    return _role_of_words(text, _table())


def _role_of_words(text: str, table: _Table) -> str:
    words = table.words
    rest = [w for w in _words(text) if w not in words["filler"]]
    unsided = [w for w in rest if w not in words["right"] | words["left"]]
    trimmed = unsided[1:] if unsided[:1] in (["r"], ["l"]) else unsided
    trimmed = trimmed[:-1] if trimmed and trimmed[-1] in words["right_ending"] | words["left_ending"] else trimmed
    for candidate in (" ".join(rest), " ".join(unsided), " ".join(trimmed)):
        if candidate in table.synonyms:
            return table.synonyms[candidate]
    said = set(rest)
    if said & words["negation"]:
        return ""
    for kind, role in (("node", NODE), ("metastasis", METASTASIS)):
        if said & words[kind]:
            return role
    return TUMOUR if said & words["tumour"] and not said & words["not_tumour"] else ""


def _side(segment: Segment, table: _Table) -> tuple[str, str]:
    for modifier in segment.modifiers:
        code = DicomCode(modifier.value, modifier.scheme, "")
        if code in (_RIGHT_CODE, _LEFT_CODE):
            return RIGHT if code == _RIGHT_CODE else LEFT, "the coded modifier of the segment"
    known, words = table.words, _words(segment.label)
    ends = {*words[-1:], *(w for w in words[:1] if len(w) == 1)} if len(words) > 1 else set()
    right = bool(known["right"] & set(words) or known["right_ending"] & ends)
    left = bool(known["left"] & set(words) or known["left_ending"] & ends)
    if right != left:
        return RIGHT if right else LEFT, f"the label '{segment.label}'"
    return "", ""


def _words(text: str) -> list[str]:
    # no blanks separate the words of Chinese and Japanese; only the side has to be told apart
    spaced = text.replace("右", " 右 ").replace("左", " 左 ")
    decomposed = unicodedata.normalize("NFKD", _CAMEL.sub(" ", spaced).casefold().replace("ß", "ss"))
    bare = unicodedata.normalize("NFC", "".join(c for c in decomposed if unicodedata.category(c) != "Mn"))
    return _WORD.findall(bare)
