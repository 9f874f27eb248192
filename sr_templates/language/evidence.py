"""Reads ``differential.yaml``: the findings that favour a candidate diagnosis and those that argue against it. To prompt, not to decide."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from service.errors import TemplateError
from service.model.code import Code
from service.model.report import Scope
from service.settings import Clinical
from sr_templates.codes import load_codes
from sr_templates.language.conditions import FACTS, Condition, tests
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.reader import Reader
from sr_templates.language.source import Place, read
from sr_templates.language.values import Template

FILE = "differential.yaml"
_MAX_WORDS = 120


class Mark(enum.StrEnum):
    """How a row of the table is supported."""

    #: read in public material
    VERIFIED = "V"
    #: general knowledge, not verified
    GENERAL = "G"
    #: some findings are of one kind, some of the other: ``cite`` says which
    BOTH = "V/G"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A finding that favours a candidate, or argues against it."""

    words: str
    place: Place
    #: when it is there; None: no item of the templates records it, so a reader is asked to look
    when: Condition | None = None
    #: asked about one subject of this scope at a time, and there if it is so for one; None: about the report
    of: Scope | None = None
    #: key of the value of ``dd.feature`` that says it
    feature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A candidate diagnosis and its findings, in the order of the file."""

    key: str
    label: str
    code: Code
    mark: Mark
    cite: str
    place: Place
    favours: tuple[Feature, ...]
    against: tuple[Feature, ...] = ()


@functools.lru_cache(maxsize=4)
def load_candidates(folder: Path | None = None) -> tuple[Candidate, ...]:
    """Read the candidates of this package, or of a folder laid out as it.

    Raises
    ------
    TemplateError
        The first fault found, as ``file:line:column: what is wrong and the way out``.
    """
    candidates, problems = read_candidates(folder)
    if problems:
        raise TemplateError(problems[0])
    return candidates


def read_candidates(folder: Path | None = None) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Read the candidates and list every fault of the file's form."""
    problems: list[str] = []
    try:
        file = (folder if folder is not None else resources.files("sr_templates")).joinpath(FILE)
        top = Reader(read(file.read_text(encoding="utf-8"), FILE), load_codes(), problems)
    except (OSError, UnicodeDecodeError) as error:
        return (), (f"{FILE}:1:1: cannot be read ({type(error).__name__})",)
    except TemplateError as error:
        return (), (str(error),)
    top.known("candidates")
    candidates = tuple(_candidate(Reader(m, load_codes(), problems)) for m in top.mappings("candidates"))
    keys: set[str] = set()
    for one in candidates:
        if one.key in keys:
            problems.append(f"{one.place}: candidate '{one.key}' stands twice: merge the two")
        keys.add(one.key)
    return candidates, tuple(problems)


def _candidate(reader: Reader) -> Candidate:
    reader.known("candidate", "label", "mark", "cite", "for", "against")
    code = reader.code("candidate")
    favours = _features(reader, "for")
    if not favours:
        reader.fault("candidate", "a candidate needs a finding that favours it, under 'for'")
    return Candidate(
        key=reader.text("candidate"),
        label=reader.text("label", default=code.meaning),
        code=code,
        mark=reader.member("mark", Mark),
        cite=reader.text("cite"),
        place=reader.mapping.at("candidate"),
        favours=favours,
        against=_features(reader, "against"),
    )


def _features(reader: Reader, key: str) -> tuple[Feature, ...]:
    return tuple(_feature(Reader(m, load_codes(), reader.problems)) for m in reader.mappings(key))


def _feature(reader: Reader) -> Feature:
    reader.known("finding", "of", "when", "ask", "feature")
    words, when, ask = reader.text("finding"), reader.condition("when"), reader.flag("ask")
    if ("when" in reader.mapping) == ask:
        reader.fault("finding", "a finding has either 'when' (what records it) or 'ask: true' (nothing records it)")
    if len(words) > _MAX_WORDS:
        reader.fault("finding", f"a finding is a few words, at most {_MAX_WORDS} characters")
    return Feature(
        words=words,
        place=reader.mapping.at("finding"),
        when=when,
        of=reader.member("of", Scope) if "of" in reader.mapping else None,
        feature=reader.text("feature", default=""),
    )


def lint_candidates(template: Template, folder: Path | None = None) -> tuple[str, ...]:
    """Return every fault of ``differential.yaml`` against a template: names that it does not have, values that cannot be."""
    candidates, problems = read_candidates(folder)
    return problems or tuple(p for c in candidates for p in _faults(c, template))


def _faults(candidate: Candidate, template: Template) -> Iterator[str]:
    listed, features = template.item("dd"), template.item("dd.feature")
    if listed is not None and not any(v.same(candidate.code) for v in listed.values):
        yield f"{candidate.place}: '{candidate.key}' is no value of 'dd': add it there, or remove the candidate"
    for finding in (*candidate.favours, *candidate.against):
        if finding.feature and (features is None or finding.feature not in features.value_keys):
            yield f"{finding.place}: '{finding.feature}' is no value of 'dd.feature'"
        for what in _condition_faults(finding.when, template):
            yield f"{finding.place}: {what}"


def _condition_faults(condition: Condition | None, template: Template) -> Iterator[str]:
    codes = load_codes()
    for test in tests(condition):
        if test.threshold and test.threshold not in Clinical.model_fields:
            yield f"'{test.threshold}' is no setting of [clinical]"
        if test.name.item in FACTS:
            continue
        item = template.item(test.name.item)
        if item is None:
            yield f"'{test.name.item}' is no item of template '{template.key}'"
            continue
        matrix = template.matrix(item.scope)
        named = template.item(matrix.item) if matrix else None
        rows = {r.key for r in matrix.rows} if matrix else set()
        if test.name.row and test.name.row not in {*rows, *(named.value_keys if named else ())}:
            yield f"'{test.name.row}' is no row of the matrix of '{item.key}'"
        for value in test.values:
            known = value in codes and (item.extensible or any(v.same(codes[value]) for v in item.values))
            if not known and value != NOT_EVALUATED:
                yield f"'{value}' is no value of '{item.key}'"
