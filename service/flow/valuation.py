"""A text as a person writes it to a value as an item takes it: codes, numbers with their unit, dates."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from types import MappingProxyType

from service.errors import AnswerError, TemplateError
from service.model.code import Code
from service.model.report import Date, PersonName, Quantity, Uid, Value
from service.model.uids import is_uid
from sr_templates import Item, ItemType, load_codes
from sr_templates.language.loader import NOT_EVALUATED

#: UCUM unit of an item → unit as people write it, lower case → factor
_UNITS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "mm": {"mm": "1", "cm": "10", "m": "1000"},
        "cm": {"cm": "1", "mm": "0.1"},
        "cm3": {"cm3": "1", "cm^3": "1", "cm³": "1", "ccm": "1", "cc": "1", "ml": "1", "l": "1000", "mm3": "0.001"},
        "mm3": {"mm3": "1", "cm3": "1000", "ml": "1000"},
        "[hnsf'U]": {"hu": "1", "h.u.": "1"},
        "%": {"%": "1", "percent": "1", "pct": "1"},
        "deg": {"deg": "1", "°": "1", "degree": "1", "degrees": "1"},
        "d": {"d": "1", "day": "1", "days": "1", "wk": "7", "week": "7", "weeks": "7"},
        "wk": {"wk": "1", "week": "1", "weeks": "1"},
        "um2/s": {"um2/s": "1", "µm2/s": "1", "mm2/s": "1000000"},
    }
)
_NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?(?:e[+-]?\d{1,2})?)\s*(.*)", re.DOTALL | re.IGNORECASE)
_DATES = ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y")
_SPOKEN = frozenset({"not evaluated", "n/e"})
#: LO and PN (PS3.5 6.2); longer ones a viewer cuts
_MAX_PERSON = 64
_CLOSE = 3


def not_evaluated() -> Code:
    """Return the code of Not Evaluated, which every item takes."""
    return load_codes()[NOT_EVALUATED]


def is_not_evaluated(text: str) -> bool:
    """Say whether ``text`` says Not Evaluated, by key or in words."""
    return text == NOT_EVALUATED or text.casefold() in _SPOKEN


def values_of(item: Item, texts: tuple[str, ...]) -> tuple[Value, ...]:
    """Return what ``texts`` mean as answer to ``item``. One text may hold several values, parted by ``;``, where the item takes several.

    Raises
    ------
    AnswerError
        A line for each that cannot answer it, with what can.
    """
    several = item.many or item.type is ItemType.CODES
    if item.type is not ItemType.TEXT:
        texts = tuple(part.strip() for t in texts for part in t.split(";") if part.strip())
    problems: list[str] = []
    found: list[Value] = []
    for text in texts:
        try:
            found.append(_value(item, text))
        except AnswerError as error:
            problems += error.problems
    if not problems and not found:
        problems.append(f"{item.label} ({item.key}): no value is given")
    if not problems and len(found) > 1 and not several:
        problems.append(f"{item.label} ({item.key}) takes one value, and {len(found)} were given")
    if problems:
        raise AnswerError(tuple(problems))
    return tuple(dict.fromkeys(found))


def _value(item: Item, text: str) -> Value:
    match item.type:
        case ItemType.CODE | ItemType.CODES:
            return _code(item, text)
        case ItemType.NUMBER:
            return _quantity(item, text)
        case ItemType.DATE:
            return _date(item, text)
        case ItemType.TEXT:
            return _free(item, text)
        case ItemType.UID:
            if not is_uid(text):
                raise _wrong(item, f"'{text}' is no UID")
            return Uid(text)
        case ItemType.PERSON:
            return person_name(text)


def _wrong(item: Item, why: str) -> AnswerError:
    return AnswerError((f"{item.label} ({item.key}): {why}",))


# --- codes ---------------------------------------------------------------------------------------------------------------


def _code(item: Item, text: str) -> Code:
    codes = load_codes()
    named = dict(zip(item.value_keys, item.values, strict=True))
    if text in named:
        return named[text]
    if item.extensible and text in codes:
        try:
            return codes[text]
        except TemplateError as error:
            raise _wrong(item, f"code '{text}' is not verified, so no report may use it") from error
    wanted = _folded(text)
    meant = {k: v for k, v in named.items() if _folded(v.meaning) == wanted or k.casefold() == text.casefold()}
    if not meant and wanted:
        # the beginning, or a part, that only one of them has
        meant = {k: v for k, v in named.items() if wanted in _folded(v.meaning)}
    different = {(v.value, v.scheme) for v in meant.values()}
    if len(different) == 1:
        return next(iter(meant.values()))
    if meant:
        raise _wrong(item, f"'{text}' could be {_listed(meant)}: name one by its key")
    raise _wrong(item, f"'{text}' is none of its values{_closest(text, named)}")


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _listed(values: Mapping[str, Code]) -> str:
    return ", ".join(f"{k} ({v.meaning})" for k, v in values.items())


def _closest(text: str, named: Mapping[str, Code]) -> str:
    """Return what may have been meant; all values where nothing is close."""
    texts = {_folded(v.meaning): k for k, v in named.items()} | {k.casefold(): k for k in named}
    close = difflib.get_close_matches(_folded(text), list(texts), n=_CLOSE, cutoff=0.6)
    keys = dict.fromkeys(texts[c] for c in close)
    if keys:
        return f": did you mean {_listed({k: named[k] for k in keys})}?"
    return f": it takes {_listed(named)}" if named else ""


# --- numbers -------------------------------------------------------------------------------------------------------------


def _quantity(item: Item, text: str) -> Quantity:
    if item.unit is None:
        raise _wrong(item, "the template gives it no unit")
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise _wrong(item, f"'{text}' is no number")
    number, unit = match[1].replace(",", "."), match[2].strip()
    try:
        exact = Decimal(number) * _factor(item, unit)
    except InvalidOperation as error:
        raise _wrong(item, f"'{text}' is no number") from error
    shown = exact.quantize(Decimal(1).scaleb(-item.decimals), ROUND_HALF_UP) if abs(exact) < 10**12 else exact
    if (item.low is not None and shown < item.low) or (item.high is not None and shown > item.high):
        written = f"{shown:f} {item.unit.value}".removesuffix(" 1")
        raise _wrong(item, f"{written} lies outside of {item.low} to {item.high}: is the unit right?")
    return Quantity(number=shown, unit=item.unit)


def _factor(item: Item, unit: str) -> Decimal:
    """Return what a number in ``unit`` is multiplied with; no unit is the item's own."""
    own = item.unit.value if item.unit else ""
    if not unit or unit == own:
        return Decimal(1)
    known = _UNITS.get(own, {})
    factor = known.get(unit.casefold(), "")
    if not factor and item.unit is not None and unit.casefold() == item.unit.meaning.casefold():
        return Decimal(1)
    if not factor:
        takes = ", ".join(dict.fromkeys([own, *(u for u, f in known.items() if f)]))
        raise _wrong(item, f"unit '{unit}' is not one it can be given in: {takes}")
    return Decimal(factor)


# --- dates, texts, people ------------------------------------------------------------------------------------------------


def _date(item: Item, text: str) -> Date:
    for form in _DATES:
        try:
            day = dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
        return Date(day.strftime("%Y%m%d").rjust(8, "0"))
    raise _wrong(item, f"'{text}' is no date: write 2026-11-24")


def _free(item: Item, text: str) -> str:
    cleaned = "\n".join(" ".join(line.split()) for line in text.replace("\r", "\n").split("\n")).strip()
    if not cleaned:
        raise _wrong(item, "the text is empty")
    if not all(c.isprintable() or c == "\n" for c in cleaned):
        raise _wrong(item, "the text has characters that cannot be printed")
    if len(cleaned) > item.max_length:
        raise _wrong(item, f"the text has {len(cleaned)} characters, and {item.max_length} are the most")
    return cleaned


def person_name(text: str) -> PersonName:
    """Return a person's name as DICOM writes it (PN, PS3.5 6.2.1).

    Raises
    ------
    AnswerError
        It cannot be one.
    """
    name = " ".join(text.split())
    if (
        not name.strip("^= ")
        or "\\" in name
        or not name.isprintable()
        or any(len(p) > _MAX_PERSON for p in name.split("="))
    ):
        msg = f"a person is named as 'Family^Given', {_MAX_PERSON} characters at most"
        raise AnswerError((msg,))
    return PersonName(name)
