"""When a question is asked, as FHIR says it: a list of simple tests where that suffices, a FHIRPath expression where not.

Sources: FHIR R4 Questionnaire.item.enableWhen and enableBehavior; Structured Data Capture STU 3, enableWhenExpression and variable.

What our conditions say and a form cannot know by itself is decided here (the template), or asked of the form's context: ``%patient`` for
sex and age, the answers about modality for the study's modalities. ``%subject`` is the repetition of a group that a question stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from service.export.codings import system_of
from service.export.outline import Kind, Part, every, row_key
from service.model.code import Code
from service.model.report import Scope
from service.settings import Clinical
from sr_templates import Item, ItemType, Template, load_codes
from sr_templates.evaluate import DEFAULTS
from sr_templates.language.conditions import All, Condition, Name, Not, Operator, Some, Test
from sr_templates.language.loader import NOT_EVALUATED

MODALITY = "tid.modality"
#: marks a value that is none (`service.export.fhir_response` writes it)
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_CODED = frozenset({ItemType.CODE, ItemType.CODES})
_GENDERS: Mapping[str, str] = MappingProxyType({"M": "male", "F": "female", "O": "other"})
_SIGNS = frozenset({Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """One enableWhen: a question, an operator, and what it is compared with."""

    question: str
    operator: str
    answer: Code | bool | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Enabling:
    """When a part is asked: always where all is empty, by ``tests`` (all or any of them), or by ``expression``."""

    tests: tuple[Simple, ...] = ()
    #: all of the tests have to hold, not any
    every: bool = True
    #: FHIRPath; empty where the tests say it
    expression: str = ""


@dataclass(frozen=True, slots=True)
class _Asked:
    """An answer that is looked for: the questions that may hold it, and whether they stand in the same repetition."""

    keys: tuple[str, ...]
    item: Item
    here: bool = False

    @property
    def path(self) -> str:
        """Return the FHIRPath of the response's items."""
        where = " or ".join(f"linkId = '{k}'" for k in self.keys)
        return f"{'%subject.item' if self.here else '%resource.repeat(item)'}.where({where})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enabler:
    """Says when the parts of one template's form are asked."""

    template: Template
    parts: tuple[Part, ...]
    clinical: Clinical = DEFAULTS
    _keys: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        keys: dict[str, tuple[str, ...]] = {}
        for part in every(self.parts):
            if part.kind is Kind.QUESTION and part.item is not None:
                keys[part.item.key] = (*keys.get(part.item.key, ()), part.key)
        object.__setattr__(self, "_keys", keys)

    def of(self, part: Part) -> Enabling:
        """Return when ``part`` is asked."""
        if part.item is None:
            return self._enabling(part.row.when if part.kind is Kind.ROW and part.row else None, part)
        of_modality = _modalities(part.item.modalities)
        conditions = [c for c in (of_modality, part.item.when) if c is not None]
        return self._enabling(All(parts=tuple(conditions)) if conditions else None, part)

    def _enabling(self, condition: Condition | None, part: Part) -> Enabling:
        reduced = self._reduced(condition, part) if condition is not None else True
        if isinstance(reduced, bool):
            return Enabling() if reduced else Enabling(expression="false")
        for together in (True, False):
            flat = self._flat(reduced, part, together=together)
            if flat is not None:
                return Enabling(tests=flat, every=together)
        return Enabling(expression=self._expression(reduced, part))

    # --- what is known already ----------------------------------------------------------------------------------------

    def _reduced(self, condition: Condition, part: Part) -> Condition | bool:
        """Decide what the template alone decides: its own name, and questions that it does not ask."""
        match condition:
            case Test():
                return self._known(condition, part)
            case Not():
                inner = self._reduced(condition.part, part)
                return not inner if isinstance(inner, bool) else Not(part=inner)
            case All() | Some():
                neutral = isinstance(condition, All)
                found = [self._reduced(p, part) for p in condition.parts]
                if (not neutral) in found:
                    return not neutral
                rest = tuple(dict.fromkeys(f for f in found if not isinstance(f, bool)))
                if len(rest) <= 1:
                    return rest[0] if rest else neutral
                return All(parts=rest) if neutral else Some(parts=rest)

    def _known(self, test: Test, part: Part) -> Condition | bool:
        if test.name.item == "template":
            return (self.template.key in test.values) == (test.operator is Operator.IN)
        if test.name.item in {"patient.sex", "patient.age"} or self._asked(test.name, part).keys:
            return test
        return False

    def _asked(self, name: Name, part: Part) -> _Asked:
        """Return the questions that a test is about (`sr_templates.evaluate.about` says which)."""
        key = MODALITY if name.item == "modality" else name.item
        item = self.template.item(key)
        keys = self._keys.get(key, ())
        if item is None:
            return _Asked((), next(iter(self.template)))
        if name.row or (part.row is not None and item.scope is part.scope):
            wanted = row_key(key, name.row or (part.row.key if part.row else ""))
            return _Asked(tuple(k for k in keys if k == wanted), item)
        same = item.scope is part.scope and item.scope is not Scope.REPORT and part.kind is not Kind.REPEATED
        return _Asked((key,) if same else keys, item, here=same)

    # --- a list of tests ----------------------------------------------------------------------------------------------

    def _flat(self, condition: Condition, part: Part, *, together: bool) -> tuple[Simple, ...] | None:
        """Return a condition as tests that all (or any) have to hold; None where it is not that simple."""
        if isinstance(condition, All | Some) and isinstance(condition, All) == together:
            found = [self._flat(p, part, together=together) for p in condition.parts]
            flat = [f for f in found if f is not None]
            return tuple(dict.fromkeys(t for f in flat for t in f)) if len(flat) == len(found) else None
        return self._simple(condition, part, together=together) if isinstance(condition, Test) else None

    def _simple(self, test: Test, part: Part, *, together: bool) -> tuple[Simple, ...] | None:
        if test.name.item.startswith("patient."):
            return None
        asked = self._asked(test.name, part)
        single = len(asked.keys) == 1
        match test.operator:
            case Operator.IN:
                found = tuple(Simple(question=k, operator="=", answer=v) for k in asked.keys for v in _values(test))
                return found if len(found) == 1 or not together else None
            case Operator.ANSWERED:
                found = tuple(Simple(question=k, operator="exists", answer=True) for k in asked.keys)
                return found if single or not together else None
            case Operator.NOT_IN if single and together:
                return _none_of(asked.keys[0], _values(test))
            case Operator.EVALUATED if single and together and asked.item.type in _CODED:
                return _none_of(asked.keys[0], (load_codes()[NOT_EVALUATED],))
            case _ if test.operator in _SIGNS and (single or not together):
                limit = self._limit(test)
                return tuple(Simple(question=k, operator=test.operator.value, answer=limit) for k in asked.keys)
        return None

    def _limit(self, test: Test) -> float:
        if test.threshold:
            return float(getattr(self.clinical, test.threshold))
        return float(test.number or 0)

    # --- an expression ------------------------------------------------------------------------------------------------

    def _expression(self, condition: Condition, part: Part) -> str:
        match condition:
            case Test():
                return self._test(condition, part)
            case Not():
                return f"({self._expression(condition.part, part)}).not()"
            case All() | Some():
                word = " and " if isinstance(condition, All) else " or "
                return word.join(f"({self._expression(p, part)})" for p in condition.parts)

    def _test(self, test: Test, part: Part) -> str:
        if test.name.item == "patient.sex":
            same = " or ".join(f"%patient.gender = '{_GENDERS.get(v, 'unknown')}'" for v in test.values)
            return same if test.operator is Operator.IN else f"%patient.gender.exists() and ({same}).not()"
        if test.name.item == "patient.age":
            return _age(test, self._limit(test))
        asked = self._asked(test.name, part)
        answers = f"{asked.path}.answer"
        match test.operator:
            case Operator.IN:
                return f"{answers}.value.where({_any_of(_values(test))}).exists()"
            case Operator.NOT_IN:
                return f"{answers}.exists() and {answers}.value.where({_any_of(_values(test))}).empty()"
            case Operator.ANSWERED:
                return f"{answers}.exists()"
            case Operator.EVALUATED if asked.item.type in _CODED:
                not_evaluated = load_codes()[NOT_EVALUATED]
                return f"{answers}.value.where(code != '{not_evaluated.value}').exists()"
            case Operator.EVALUATED:
                return f"{answers}.value.where(extension('{DATA_ABSENT}').empty()).exists()"
            case _:
                return f"{answers}.value.where($this {test.operator.value} {self._limit(test):g}).exists()"


def _modalities(modalities: tuple[str, ...]) -> Condition | None:
    return Test(name=Name(item="modality"), operator=Operator.IN, values=modalities) if modalities else None


def _values(test: Test) -> tuple[Code, ...]:
    codes = load_codes()
    if test.name.item == "modality":
        return tuple(codes[f"mod.{v.lower()}"] for v in test.values)
    return tuple(codes[v] for v in test.values)


def _none_of(question: str, codes: Iterable[Code]) -> tuple[Simple, ...]:
    unequal = (Simple(question=question, operator="!=", answer=c) for c in codes)
    return (Simple(question=question, operator="exists", answer=True), *unequal)


def _any_of(codes: Iterable[Code]) -> str:
    systems: dict[str, list[str]] = {}
    for code in codes:
        systems.setdefault(system_of(code), []).append(f"code = '{code.value}'")
    return " or ".join(f"(system = '{s}' and ({' or '.join(tests)}))" for s, tests in systems.items())


def _age(test: Test, limit: float) -> str:
    """Return a test of the age in years, counted today: ``birthDate`` is the later, the younger the patient."""
    whole = int(limit)
    match test.operator:
        case Operator.AT_LEAST:
            return f"%patient.birthDate <= today() - {whole} years"
        case Operator.MORE:
            return f"%patient.birthDate <= today() - {whole + 1} years"
        case Operator.LESS:
            return f"%patient.birthDate > today() - {whole} years"
        case Operator.AT_MOST:
            return f"%patient.birthDate > today() - {whole + 1} years"
        case _:
            return "%patient.birthDate.exists()"
