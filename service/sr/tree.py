"""Content items (PS3.3 C.17.3) as they stand in a data set: names, values, children. Damage ends in `InputError`, never in a library."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from service.errors import InputError
from service.model.code import Code
from service.model.report import Date, PersonName, Quantity, Uid, Value

_NAME, _CODE, _CONTENT = BaseTag(0x0040A043), BaseTag(0x0040A168), BaseTag(0x0040A730)
_VALUE, _LONG_VALUE, _URN_VALUE = BaseTag(0x00080100), BaseTag(0x00080119), BaseTag(0x00080120)
_SCHEME, _MEANING = BaseTag(0x00080102), BaseTag(0x00080104)
#: begins a change of the character set (ISO 2022)
_ESCAPE = b"\x1b"


def pair(code: Code) -> tuple[str, str]:
    """Return what makes two codes the same: value and scheme."""
    return code.value, code.scheme


def string(item: Dataset, tag: BaseTag) -> str:
    """Return the value of an element of one text, without its padding; empty where there is none.

    A report is asked for some 5,000 of these. What stands in the file as plain ASCII is taken as it is, which takes a fifth of the time
    that pydicom needs for turning it into an element first.
    """
    if tag not in item:
        return ""
    element = cast("RawDataElement | DataElement", item.get_item(tag))
    raw = element.value
    if isinstance(element, RawDataElement) and isinstance(raw, bytes) and raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii").rstrip("\0 ")
    value = item[tag].value
    return "" if value is None else str(value)


def code_in(sequence: object) -> Code | None:
    """Return the first code of a code sequence, or None where it has none."""
    first = next(iter(sequence), None) if isinstance(sequence, Iterable) else None
    if not isinstance(first, Dataset):
        return None
    # a value that is too long for Code Value stands in one of the others (PS3.3 8.1)
    value = string(first, _VALUE) or string(first, _LONG_VALUE) or string(first, _URN_VALUE)
    return Code(value, string(first, _SCHEME), string(first, _MEANING))


def _code_at(item: Dataset, tag: BaseTag) -> Code | None:
    return code_in(item[tag].value) if tag in item else None


def concept(item: Dataset) -> tuple[str, str]:
    """Return the Concept Name of an item, as `pair`; empty texts where it has none."""
    found = _code_at(item, _NAME)
    return pair(found) if found else ("", "")


def code(item: Dataset) -> Code | None:
    """Return the value of a CODE item."""
    return _code_at(item, _CODE)


def code_pair(item: Dataset) -> tuple[str, str]:
    """Return the value of a CODE item as `pair`; empty texts where it has none."""
    found = code(item)
    return pair(found) if found else ("", "")


def children(item: Dataset) -> tuple[Dataset, ...]:
    """Return the items below an item."""
    return tuple(item[_CONTENT].value or ()) if _CONTENT in item else ()


def text(item: Dataset) -> str:
    """Return the value of a TEXT item; empty where it has none."""
    return str(item.get("TextValue", ""))


def many(value: Any) -> tuple[Any, ...]:
    """Return the values of an element of any multiplicity."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def value_of(item: Dataset) -> Value | None:
    """Return the value of an item as the model has it, or None for a type that carries no answer."""
    match item.get("ValueType"):
        case "CODE":
            return code(item)
        case "TEXT":
            return text(item)
        case "DATE":
            return Date(str(item.get("Date", "")))
        case "UIDREF":
            return Uid(str(item.get("UID", "")))
        case "PNAME":
            return PersonName(str(item.get("PersonName", "")))
        case "NUM":
            return _quantity(item)
        case _:
            return None


def _quantity(item: Dataset) -> Quantity:
    qualifier = code_in(item.get("NumericValueQualifierCodeSequence"))
    measured = next(iter(item.get("MeasuredValueSequence") or ()), None)
    if measured is None:
        return Quantity(number=None, unit=Code("1", "UCUM", "no units"), qualifier=qualifier)
    unit = code_in(measured.get("MeasurementUnitsCodeSequence"))
    text = str(getattr(measured.get("NumericValue"), "original_string", None) or measured.get("NumericValue", ""))
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        msg = "a number is no number"
        raise InputError(msg) from error
    if not number.is_finite():
        msg = "a number is none: it is not finite"
        raise InputError(msg)
    if unit is None:
        msg = "a number has no unit"
        raise InputError(msg)
    return Quantity(number=number, unit=unit, qualifier=qualifier)
