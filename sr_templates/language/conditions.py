"""Conditions as the template files write them: parsed into frozen values, never evaluated as code.

::

    condition := all ("or" all)*
    all       := one ("and" one)*
    one       := "not" one | "(" condition ")" | "answered(" name ")" | "evaluated(" name ")" | test
    test      := name ("=" | "!=") value | name ["not"] "in" "[" value ("," value)* "]" | name ("<" | "<=" | ">" | ">=") number
    name      := an item's key, with "[row]" behind it where the answer about one structure is meant; or one of
                 modality, template, patient.age (years), patient.sex (M, F)
    number    := digits, or "threshold." and the name of a setting of [clinical]

A test of an item without an answer is false, ``!=`` and ``not in`` too: nothing follows from silence. ``not (…)`` turns any result
round. ``answered`` is true once there is an answer at all, ``evaluated`` once there is one that is not Not Evaluated.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

THRESHOLD = "threshold."
#: names that are no items: what the report is about
FACTS = ("modality", "template", "patient.age", "patient.sex")
#: deeper nesting, or more text, is no condition that a person can read
_MAX_DEPTH = 16
_MAX_LENGTH = 2000


class Operator(enum.StrEnum):
    """What a test asks of the answers to an item."""

    IN = "in"
    NOT_IN = "not in"
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    ANSWERED = "answered"
    EVALUATED = "evaluated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What a test is about: an item, and the row of a matrix where one structure is meant."""

    item: str
    row: str = ""

    def __str__(self) -> str:
        return f"{self.item}[{self.row}]" if self.row else self.item


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test. ``values`` are keys of ``codes.csv`` or the values of a fact; ``number`` or ``threshold`` is what to compare with."""

    name: Name
    operator: Operator
    values: tuple[str, ...] = ()
    number: Decimal | None = None
    threshold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """True where ``part`` is false."""

    part: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """True where every part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Some:
    """True where one part is."""

    parts: tuple[Condition, ...]


Condition = Test | Not | All | Some

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)(?![\w.])|(?P<name>[A-Za-z][\w.\-]*(?:#\w+)?(?:/\w+)?)|(?P<sign><=|>=|!=|[<>=()\[\],]))"
)
_WORDS = frozenset({"and", "or", "not", "in", "answered", "evaluated"})
_COMPARISONS = {o.value: o for o in (Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST)}


class ConditionError(ValueError):
    """A text that is no condition: what was expected, and where (columns count from 0)."""

    def __init__(self, what: str, column: int) -> None:
        super().__init__(what)
        self.column = column


def parse_condition(text: str) -> Condition:
    """Return the condition that ``text`` writes.

    Raises
    ------
    ConditionError
        It is none.
    """
    parser = _Parser(text)
    found = parser.condition(0)
    parser.end()
    return found


def tests(condition: Condition | None) -> Iterator[Test]:
    """Yield every test of a condition."""
    match condition:
        case Test():
            yield condition
        case Not():
            yield from tests(condition.part)
        case All() | Some():
            for part in condition.parts:
                yield from tests(part)
        case None:
            return


def words(condition: Condition) -> str:
    """Return a condition as the documentation writes it: the same language, one way of writing each."""
    match condition:
        case Test():
            return _test_words(condition)
        case Not():
            return f"not ({words(condition.part)})"
        case All():
            return " and ".join(f"({words(p)})" if isinstance(p, Some) else words(p) for p in condition.parts)
        case Some():
            return " or ".join(words(p) for p in condition.parts)


def _test_words(test: Test) -> str:
    match test.operator:
        case Operator.ANSWERED | Operator.EVALUATED:
            return f"{test.operator}({test.name})"
        case Operator.IN if len(test.values) == 1:
            return f"{test.name} = {test.values[0]}"
        case Operator.NOT_IN if len(test.values) == 1:
            return f"{test.name} != {test.values[0]}"
        case Operator.IN | Operator.NOT_IN:
            return f"{test.name} {test.operator} [{', '.join(test.values)}]"
        case _:
            return f"{test.name} {test.operator} {(test.threshold and THRESHOLD + test.threshold) or test.number}"


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            msg = f"longer than {_MAX_LENGTH} characters"
            raise ConditionError(msg, _MAX_LENGTH)
        self._tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if found is None:
                msg = f"'{text[position:].strip()[:12]}' is not understood here"
                raise ConditionError(msg, position)
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind], found.start(kind)))
            position = found.end()
        self._next = 0
        self._length = len(text)

    def condition(self, depth: int) -> Condition:
        """Read parts joined by "or"."""
        parts = [self._all(depth)]
        while self._take("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Some(parts=tuple(parts))

    def end(self) -> None:
        """See that nothing is left."""
        if self._next < len(self._tokens):
            _, text, column = self._tokens[self._next]
            msg = f"'{text}' is too much: join tests by 'and' or 'or'"
            raise ConditionError(msg, column)

    def _all(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(parts=tuple(parts))

    def _one(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            msg = f"nested deeper than {_MAX_DEPTH}"
            raise ConditionError(msg, self._column())
        if self._take("not"):
            return Not(part=self._one(depth + 1))
        if self._take("("):
            inner = self.condition(depth + 1)
            self._expect(")")
            return inner
        for operator in (Operator.ANSWERED, Operator.EVALUATED):
            if self._take(operator.value):
                self._expect("(")
                name = self._name()
                self._expect(")")
                return Test(name=name, operator=operator)
        return self._test()

    def _test(self) -> Test:
        name = self._name()
        if self._take("="):
            return Test(name=name, operator=Operator.IN, values=(self._value(),))
        if self._take("!="):
            return Test(name=name, operator=Operator.NOT_IN, values=(self._value(),))
        negative = self._take("not")
        if self._take("in"):
            return Test(name=name, operator=Operator.NOT_IN if negative else Operator.IN, values=self._values())
        for sign, operator in _COMPARISONS.items():
            if not negative and self._take(sign):
                number, threshold = self._number()
                return Test(name=name, operator=operator, number=number, threshold=threshold)
        msg = f"after '{name}' one of =, !=, in, not in, <, <=, >, >= is expected"
        raise ConditionError(msg, self._column())

    def _values(self) -> tuple[str, ...]:
        self._expect("[")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect("]")
        return tuple(values)

    def _number(self) -> tuple[Decimal | None, str]:
        kind, text, column = self._token()
        if kind == "number":
            return Decimal(text), ""
        if kind == "name" and text.startswith(THRESHOLD):
            return None, text.removeprefix(THRESHOLD)
        msg = f"'{text}' is no number and no '{THRESHOLD}…'"
        raise ConditionError(msg, column)

    def _name(self) -> Name:
        item = self._word("the key of an item")
        if not self._take("["):
            return Name(item=item)
        row = self._word("a row")
        self._expect("]")
        return Name(item=item, row=row)

    def _value(self) -> str:
        return self._word("a value")

    def _word(self, what: str) -> str:
        kind, text, column = self._token()
        if kind != "name" or text in _WORDS:
            msg = f"{what} is expected instead of '{text}'"
            raise ConditionError(msg, column)
        return text

    def _expect(self, sign: str) -> None:
        column = self._column()
        if not self._take(sign):
            msg = f"'{sign}' is expected"
            raise ConditionError(msg, column)

    def _take(self, text: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next][1] == text:
            self._next += 1
            return True
        return False

    def _token(self) -> tuple[str, str, int]:
        if self._next >= len(self._tokens):
            raise ConditionError("the condition ends too early", self._length)
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _column(self) -> int:
        return self._tokens[self._next][2] if self._next < len(self._tokens) else self._length
