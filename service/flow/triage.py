"""Which studies get a report: rules from a file, decided over header texts, the called title and the registry.

Pure: the decision keeps the rule and the values that made it, as phrases of the rule, never as the text of a header.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from service.errors import ConfigurationError
from service.flow.folding import fold
from service.model.study import Study

NO_RULE = "no rule"
#: a header text longer than this is cut before it is searched
_LONGEST = 10_000

#: what a rule may call a text → header keywords that it is read from
FIELDS = MappingProxyType(
    {
        "request": (
            "ReasonForTheRequestedProcedure",
            "RequestedProcedureDescription",
            "ScheduledProcedureStepDescription",
            "PerformedProcedureStepDescription",
        ),
        "study": ("StudyDescription", "StudyComments"),
        "series": ("SeriesDescription", "ProtocolName", "BodyPartExamined"),
        "history": ("AdditionalPatientHistory", "PatientComments", "ImageComments"),
        "diagnosis": ("AdmittingDiagnosesDescription",),
    }
)
_DOSE = frozenset({"1.2.840.10008.5.1.4.1.1.88.67", "1.2.840.10008.5.1.4.1.1.88.68", "1.2.840.10008.5.1.4.1.1.88.76"})
"""X-Ray, Radiopharmaceutical and Patient Radiation Dose SR (PS3.4 B.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: every condition that it states has to hold."""

    name: str
    report: bool
    reason: str
    #: empty: what the registry knows of the patient decides (`service.flow.choice`)
    template: str = ""
    patient_words: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    words_near: tuple[tuple[str, ...], ...] = ()
    modalities_lack: tuple[str, ...] = ()
    only: str = ""
    called: str = ""
    known_case: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a study, and why. ``values``: which field held which phrase of the rule."""

    report: bool
    rule: str
    reason: str
    #: empty: none was named
    template: str = ""
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is decided on."""

    study: Study
    always: tuple[str, ...] = ()
    known_case: bool = False


def decide(rules: tuple[Rule, ...], question: Question) -> Decision:
    """Return what the first rule that applies says; without one the study is ignored."""
    for rule in rules:
        values = _applies(rule, question)
        if values is not None:
            return Decision(
                report=rule.report, rule=rule.name, reason=rule.reason, template=rule.template, values=tuple(values)
            )
    return Decision(
        report=False,
        rule=NO_RULE,
        reason="no rule applied: the texts name no sarcoma and no retroperitoneal or caval mass",
    )


Values = list[tuple[str, str]]


def _applies(rule: Rule, question: Question) -> Values | None:
    """Return the values that make the rule apply, or None where one of its conditions does not hold."""
    found: Values = []
    for condition in _CONDITIONS:
        values = condition(rule, question)
        if values is None:
            return None
        found += values
    return found


def _patient(rule: Rule, question: Question) -> Values | None:
    if not rule.patient_words:
        return []
    patient = question.study.patient
    for field, text in (("patient's name", patient.name), ("patient's identifier", patient.patient_id)):
        if phrase := _phrase_in(rule.patient_words, text):
            return [(field, phrase)]
    return None


def _texts(rule: Rule, question: Question) -> Values | None:
    if not rule.fields:
        return []
    for field, text in _header_texts(rule.fields, question.study):
        if rule.words and (phrase := _phrase_in(rule.words, text)):
            return [(field, phrase)]
        near = [_phrase_in(words, text) for words in rule.words_near]
        if near and all(near):
            return [(field, " + ".join(near))]
    return None


def _modalities(rule: Rule, question: Question) -> Values | None:
    if not rule.modalities_lack:
        return []
    present = question.study.modalities
    return None if set(present) & set(rule.modalities_lack) else [("modalities", " ".join(present) or "none")]


def _only(rule: Rule, question: Question) -> Values | None:
    if not rule.only:
        return []
    series = question.study.series
    if rule.only == "dose":
        holds = bool(series) and all(i.sop_class_uid in _DOSE for s in series for i in s.instances)
    else:
        holds = bool(series) and all(s.modality == "SR" for s in series)
    return [("series", f"{len(series)} of SR")] if holds else None


def _called(rule: Rule, question: Question) -> Values | None:
    if not rule.called:
        return []
    titles = sorted(set(question.study.called_aes) & set(question.always))
    return [("called AE title", titles[0])] if titles else None


def _known(rule: Rule, question: Question) -> Values | None:
    if rule.known_case is None:
        return []
    return (
        [("registry", "case known" if question.known_case else "case not known")]
        if rule.known_case == question.known_case
        else None
    )


_CONDITIONS: tuple[Callable[[Rule, Question], Values | None], ...] = (
    _patient,
    _only,
    _modalities,
    _called,
    _known,
    _texts,
)


def _header_texts(fields: tuple[str, ...], study: Study) -> Iterator[tuple[str, str]]:
    """Yield each distinct text of the named fields once, in a fixed order."""
    for field in fields:
        for keyword in FIELDS[field]:
            texts = {t for s in study.series for t in s.header.texts(keyword)}
            if keyword == "RequestedProcedureDescription":
                texts |= {r.requested_procedure_description for r in study.requests}
            if keyword == "StudyDescription":
                texts.add(study.description)
            if keyword == "SeriesDescription":
                texts |= {s.description for s in study.series}
            for text in sorted(texts - {""}):
                yield keyword, text


def _phrase_in(phrases: tuple[str, ...], text: str) -> str:
    """Return the first phrase that stands in ``text`` as whole words, or an empty text."""
    folded = fold(text[:_LONGEST])
    for phrase in phrases:
        wanted = fold(phrase.removesuffix("*"))
        if not wanted.strip():
            continue
        # scripts without blanks between words: anywhere
        if not phrase.isascii() and not any(c.isspace() for c in text) and wanted.strip() in folded:
            return phrase
        if (wanted.rstrip() if phrase.endswith("*") else wanted) in folded:
            return phrase
    return ""


def load(path: str = "") -> tuple[Rule, ...]:
    """Read a rules file, by default the shipped one.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or one of its rules is wrong: file, rule and the way out.
    """
    shown = path or "the shipped triage rules"
    try:
        text = Path(path).read_text(encoding="utf-8") if path else shipped()
        data = tomllib.loads(text)
    except OSError as error:
        msg = f"[triage] rules: {path} cannot be read ({error.strerror}): correct the path, or leave it empty for the shipped rules"
        raise ConfigurationError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{shown}: no TOML: {error}"
        raise ConfigurationError(msg) from error
    if set(data) - {"rule"} or not isinstance(data.get("rule", []), list):
        msg = f"{shown}: '{', '.join(sorted(set(data) - {'rule'})) or 'rule'}' is not known: a rules file holds [[rule]] tables"
        raise ConfigurationError(msg)
    return tuple(_rule(entry, f"{shown}: rule {n}") for n, entry in enumerate(data.get("rule", []), start=1))


def shipped() -> str:
    """Return the text of the shipped rules file."""
    return resources.files("service.flow").joinpath("triage.toml").read_text(encoding="utf-8")


_LISTS: tuple[Literal["patient_words", "fields", "words", "modalities_lack"], ...] = (
    "patient_words", "fields", "words", "modalities_lack",
)  # fmt: skip
_KEYS = ("name", "then", "reason", "template", *_LISTS, "words_near", "only", "called", "known_case")


def _rule(entry: dict[str, Any], where: str) -> Rule:  # noqa: C901 - one check for each key
    def fault(what: str) -> NoReturn:
        msg = f"{where} ('{entry.get('name', 'without a name')}'): {what}"
        raise ConfigurationError(msg)

    for key in entry:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            fault(
                f"'{key}' is not known: {f'did you mean {close[0]!r}?' if close else 'known are ' + ', '.join(_KEYS)}"
            )
    for key in ("name", "reason"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            fault(f"'{key}' has to be a text")
    if entry.get("then") not in {"report", "ignore"}:
        fault('\'then\' has to be "report" or "ignore"')
    lists = {key: _words(entry.get(key, []), key, fault) for key in _LISTS}
    near = entry.get("words_near", [])
    if not isinstance(near, list):
        fault("'words_near' has to be a list of lists of texts")
    for field in lists["fields"]:
        if field not in FIELDS:
            fault(f"field '{field}' is not known: one of {', '.join(FIELDS)}")
    if bool(lists["fields"]) != bool(lists["words"] or near):
        fault("'fields' and 'words' (or 'words_near') belong together")
    for key, known in (("only", {"reports", "dose"}), ("called", {"always"})):
        if key in entry and entry[key] not in known:
            fault(f"'{key}' has to be one of: {', '.join(sorted(known))}")
    known_case = entry.get("known_case")
    if known_case is not None and not isinstance(known_case, bool):
        fault("'known_case' has to be true or false")
    if not any(
        (
            lists["patient_words"],
            lists["fields"],
            lists["modalities_lack"],
            entry.get("only"),
            entry.get("called"),
            known_case is not None,
        )
    ):
        fault("it has no condition: it would decide every study")
    return Rule(
        name=entry["name"],
        report=entry["then"] == "report",
        reason=entry["reason"],
        template=entry.get("template", ""),
        words_near=tuple(_words(w, "words_near", fault) for w in near),
        only=entry.get("only", ""),
        called=entry.get("called", ""),
        known_case=known_case,
        **lists,
    )


def _words(value: Any, key: str, fault: Callable[[str], NoReturn]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
        fault(f"'{key}' has to be a list of texts")
    return tuple(value)
