"""The words of a form in another language: labels, helps, prompts, headings, values and messages of a template.

A language file translates what a person reads on a form; the report itself keeps the meanings of its codes. English is what the
templates are written in, and needs no file.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from service.errors import TemplateError
from sr_templates.codes import load_codes
from sr_templates.language.faults import MAX_HELP, MAX_LABEL, MAX_MESSAGE
from sr_templates.language.reader import Reader
from sr_templates.language.source import Mapping as Written
from sr_templates.language.source import decoded, read
from sr_templates.language.values import Fill, Item, Template

ENGLISH = "en"
FOLDER = "languages"
_TAG = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|\d{3}))?")
_TABLES: Mapping[str, int] = MappingProxyType(
    {
        "labels": MAX_LABEL,
        "helps": MAX_HELP,
        "prompts": MAX_LABEL,
        "headings": MAX_LABEL,
        "values": MAX_LABEL,
        "rules": MAX_MESSAGE,
        "phrases": MAX_MESSAGE,
        "notes": MAX_MESSAGE,
        "uncertain": MAX_HELP,
    }
)
#: tables whose texts have places in braces for what changes: ``{count} open``
_WITH_PLACES = ("phrases", "notes")
#: parts a table from a key in what is uncertain: ``labels/org.beak_sign``
_AFTER_TABLE = "/"


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What a form says in one language; what is missing is said in English."""

    #: name of the file: ``de``
    code: str
    #: as its speakers call it: ``Deutsch``
    name: str
    #: RFC 5646, as DICOM names a language (CID 5000): ``de-DE``
    tag: str
    #: item key to label
    labels: Mapping[str, str] = field(default_factory=_nothing)
    #: item key to the line of help
    helps: Mapping[str, str] = field(default_factory=_nothing)
    #: English prompt to prompt
    prompts: Mapping[str, str] = field(default_factory=_nothing)
    #: key of the heading's code to heading
    headings: Mapping[str, str] = field(default_factory=_nothing)
    #: key of the value's code to value
    values: Mapping[str, str] = field(default_factory=_nothing)
    #: key of the rule to its message
    rules: Mapping[str, str] = field(default_factory=_nothing)
    #: English phrase of the form and the report themselves ("Confirm all", "{open} open") to phrase
    phrases: Mapping[str, str] = field(default_factory=_nothing)
    #: what the software notes in English beside an answer ("report of {1}") to what it says
    notes: Mapping[str, str] = field(default_factory=_nothing)
    #: what stays in English until a clinician decides ("labels/org.beak_sign"), and why
    uncertain: Mapping[str, str] = field(default_factory=_nothing)

    def lacks(self, table: str, key: str) -> bool:
        """Say whether ``table`` neither translates ``key`` nor leaves it in English with a reason."""
        return key not in getattr(self, table) and f"{table}{_AFTER_TABLE}{key}" not in self.uncertain


def language_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the codes of the languages that there are, English first."""
    root = (folder if folder is not None else resources.files("sr_templates")).joinpath(FOLDER)
    there = (
        sorted(f.name.removesuffix(".yaml") for f in root.iterdir() if f.name.endswith(".yaml"))
        if root.is_dir()
        else []
    )
    return (ENGLISH, *there)


def load_language(code: str, folder: Path | None = None) -> Language:
    """Read the language ``code``.

    Parameters
    ----------
    code:
        File name without its ending; ``en`` is there without a file.
    folder:
        A folder laid out as this package (``languages/``); by default the package.

    Raises
    ------
    TemplateError
        There is no such language, or its file is wrong: a line for each fault.
    """
    if code == ENGLISH:
        return Language(code=ENGLISH, name="English", tag="en")
    if code not in language_names(folder):
        msg = f"there is no language '{code}': known are {', '.join(language_names(folder))}"
        raise TemplateError(msg)
    path = f"{FOLDER}/{code}.yaml"
    root = folder if folder is not None else resources.files("sr_templates")
    problems: list[str] = []
    top = read(decoded(root.joinpath(FOLDER).joinpath(f"{code}.yaml").read_bytes(), path), path, problems)
    reader = Reader(top, load_codes(), problems)
    reader.known("language", "name", "code", *_TABLES)
    if reader.text("language") != code:
        reader.fault("language", f"the language is called '{reader.text('language')}' in a file called '{code}'")
    tag = reader.text("code")
    if tag and not _TAG.fullmatch(tag):
        reader.fault("code", f"'{tag}' is no language of RFC 5646: write it as de or de-DE")
    tables = {name: _table(reader, name, problems) for name in _TABLES}
    for name in tables["uncertain"]:
        _uncertain(reader, name, tables)
    language = Language(code=code, name=reader.text("name"), tag=tag, **tables)
    if problems:
        raise TemplateError("\n".join(dict.fromkeys(problems)))
    return language


def _table(reader: Reader, name: str, problems: list[str]) -> Mapping[str, str]:
    table = reader.mapping.get(name, Written())
    if not isinstance(table, Written):
        reader.fault(name, f"'{name}' has to be a mapping: a key, and what stands for it")
        return _nothing()
    if not table:
        return _nothing()
    inner = Reader(table, load_codes(), problems)
    found: dict[str, str] = {}
    for key in table:
        found[key] = inner.text(key)
        if len(found[key]) > _TABLES[name]:
            inner.fault(key, f"'{key}' has {len(found[key])} characters, and {_TABLES[name]} fit: shorten it")
        if name in _WITH_PLACES and places(found[key]) != places(key):
            named = ", ".join(f"{{{p}}}" for p in sorted(places(key) or ())) or "none"
            inner.fault(key, f"'{key}' has other places in braces than its English: write {named}")
    return MappingProxyType(found)


def places(text: str) -> frozenset[str] | None:
    """Return the names in braces of a phrase; None where its braces are no such places."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return None
    if any(spec or conversion for _, _, spec, conversion in parts):
        return None
    return frozenset(name for _, name, _, _ in parts if name is not None)


def _uncertain(reader: Reader, name: str, tables: Mapping[str, Mapping[str, str]]) -> None:
    table, _, key = name.partition(_AFTER_TABLE)
    inner = Reader(reader.mapping["uncertain"], load_codes(), reader.problems)
    if table not in tables or not key:
        inner.fault(name, f"'{name}' names no table and key: write labels/KEY, values/KEY …")
    elif key in tables[table]:
        inner.fault(name, f"'{key}' of '{table}' is uncertain and translated: remove one")


def missing_labels(template: Template, language: Language) -> tuple[str, ...]:
    """Return what a form of ``template`` would still say in English, a line for each; English lacks nothing.

    What the language file calls uncertain stays in English on purpose and is not listed.
    """
    if language.code == ENGLISH:
        return ()
    path = f"{FOLDER}/{language.code}.yaml:1:1"
    return tuple(dict.fromkeys(f"{path}: {what}" for what in _missing(template, language)))


def _missing(template: Template, language: Language) -> Iterator[str]:
    codes = load_codes()
    for section in template.sections:
        heading = codes.key_of(section.heading) or ""
        if language.lacks("headings", heading):
            yield f"'headings' lacks '{heading}' (\"{section.heading.meaning}\")"
        for item in section.items:
            yield from _missing_of(item, language)
        for rule in section.rules:
            if language.lacks("rules", rule.key):
                yield f"'rules' lacks '{rule.key}' (\"{rule.message}\")"
        for matrix in section.matrices:
            if language.lacks("prompts", matrix.prompt):
                yield f"'prompts' lacks '{matrix.prompt}'"


def _missing_of(item: Item, language: Language) -> Iterator[str]:
    if language.lacks("labels", item.key):
        yield f"'labels' lacks '{item.key}' (\"{item.label}\")"
    if item.help and language.lacks("helps", item.key):
        yield f"'helps' lacks '{item.key}' (\"{item.help}\")"
    # an item that is asked alone is asked by its label
    if item.prompt != item.label and item.fill is Fill.PERSON and language.lacks("prompts", item.prompt):
        yield f"'prompts' lacks '{item.prompt}'"
    for key, value in zip(item.value_keys, item.values, strict=True):
        if language.lacks("values", key):
            yield f"'values' lacks '{key}' (\"{value.meaning}\")"
