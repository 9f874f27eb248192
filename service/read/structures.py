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

from pydicom.sr.coding import Code as DicomCode

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
def _table() -> _Table:
    text = resources.files("service.read").joinpath("structures.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return _Table(
        codes={kind: [(value, scheme) for value, scheme in listed] for kind, listed in table["codes"].items()},
        words={kind: frozenset(listed) for kind, listed in table["words"].items()},
        synonyms={synonym: role for role, listed in table["synonyms"].items() for synonym in listed},
    )


def structure_of(segment: Segment) -> Structure:
    """Return which structure ``segment`` is.

    Its role is ``tumour``, ``metastasis``, ``node``, a key of ``codes.csv`` that starts with ``ves.`` or ``org.``, or empty.
    """
    side, side_basis = _side(segment)
    role, basis = _role(segment)
    return Structure(role=role, basis=basis, laterality=side, laterality_basis=side_basis)


def is_sided(role: str) -> bool:
    """Say whether a structure has a right and a left: lesions, and organs that come in pairs."""
    return role in LESIONS or role in _PAIRED


def _role(segment: Segment) -> tuple[str, str]:
    coded = _coded_role(segment.property_type)
    labelled, text = _labelled_role(segment)
    meaning = segment.property_type.meaning if segment.property_type else ""
    if coded and labelled == TUMOUR and coded not in LESIONS:
        return "", f"the coded property type says {meaning}, the {text} says tumour"
    if coded:
        return coded, f"the coded property type {meaning}"
    if labelled and coded is None:
        return labelled, f"the {text}; the coded property type {meaning} is not known here"
    return (labelled, f"the {text}") if labelled else ("", "")


def _coded_role(code: Code | None) -> str | None:
    """Return the role of a code; empty where there is no code or one that says too little, None where it is not known here."""
    if code is None:
        return ""
    given = DicomCode(code.value, "SRT" if code.scheme in _OLD_SNOMED else code.scheme, "")
    # pydicom's codes compare equal across SCT and SRT, but do not hash alike
    return next((role for known, role in _coded_roles() if known == given), None)


@functools.cache
def _coded_roles() -> tuple[tuple[DicomCode, str], ...]:
    codes = _table().codes
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


def _labelled_role(segment: Segment) -> tuple[str, str]:
    for name, text in (
        ("label", segment.label),
        ("tracking identifier", segment.tracking_id),
        ("description", segment.description),
    ):
        if role := role_of_label(text):
            return role, f"{name} '{text}'"
        if text and name == "label" and not _generic_label(text):
            # a label that says something else is not overruled by a description
            return "", ""
    return "", ""


def _generic_label(text: str) -> bool:
    return not set(_words(text)) - _table().words["filler"]


def role_of_label(text: str) -> str:
    """Return the role that a label names, or an empty text. Case, accents, digits, underscores and sides do not matter."""
    table = _table()
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


def _side(segment: Segment) -> tuple[str, str]:
    for modifier in segment.modifiers:
        code = DicomCode(modifier.value, modifier.scheme, "")
        if code in (_RIGHT_CODE, _LEFT_CODE):
            return RIGHT if code == _RIGHT_CODE else LEFT, "the coded modifier of the segment"
    known, words = _table().words, _words(segment.label)
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
