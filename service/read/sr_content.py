"""The elements of a structured report's content items, read leniently: what cannot be read is an `InputError` that names the attribute.

The values are those of `service.read.part10`, for data sets of every origin: from a file, parsed already, or built by a program.
"""

from __future__ import annotations

import functools
import re
import struct
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr._snomed_dict import mapping
from pydicom.tag import BaseTag, Tag

from service.errors import InputError
from service.model.code import Code
from service.model.foreign import Coded
from service.read.charset import codec_of, decode
from service.read.part10 import UNREADABLE, Item, quiet

#: more is no report that a person reads: a thousand images in a library and five hundred groups stay below
MOST_ITEMS = 50_000
#: bytes of one text; LT has at most 10240 characters
_LONGEST = 1 << 15
#: characters of a code's value, scheme and meaning; the standard allows 16 and 64, UC and UR more
_LONGEST_CODE = 1024
#: numbers of one drawing
_MOST_NUMBERS = 200_000

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UID = re.compile(r"[0-9]+(\.[0-9]+){1,31}")
_LONGEST_UID = 64


def coded(code: Code) -> Coded:
    """Return ``code`` beside its SNOMED CT equivalent where it is a SNOMED-RT code that has one (PS3.16 Annex O)."""
    value = mapping["SRT"].get(code.value) if code.scheme == "SRT" else None
    return Coded(code=Code(value, "SCT", code.meaning) if value else code, received=code)


class Content:
    """The elements of a content item, or of an item of one of its sequences; nothing that pydicom raises gets out.

    Parameters
    ----------
    dataset:
        As pydicom parsed it, or as a program built it.
    codec:
        The character set of the surrounding data set, inherited where the item has none of its own (PS3.5 7.5.3).
    """

    __slots__ = ("_codec", "_dataset", "_item")

    def __init__(self, dataset: Dataset, codec: str = "") -> None:
        self._dataset = dataset
        if self._element("SpecificCharacterSet") is not None:
            codec = codec_of("\\".join(Item(dataset).texts("SpecificCharacterSet")).encode("ascii", "replace"))
        self._codec = codec
        self._item = Item(dataset, codec)

    def __contains__(self, keyword: str) -> bool:
        return self._element(keyword) is not None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the values of ``keyword`` as text without blanks around it; empty where it is absent or empty.

        Raises
        ------
        InputError
            The text is absurdly long.
        """
        element = self._element(keyword)
        if element is None or element.value is None:
            return ()
        value = element.value
        if isinstance(element, RawDataElement) or isinstance(value, bytes):
            if isinstance(value, (bytes, str)) and len(value) > _LONGEST:
                msg = f"{keyword} has {len(value)} bytes"
                raise InputError(msg)
            return self._item.texts(keyword)
        values = list(value) if isinstance(value, (list, tuple, MultiValue)) else [value]
        texts = tuple(decode(str(v).encode("utf-8", "replace"), "utf_8").strip() for v in values[:_LONGEST])
        if sum(map(len, texts)) > _LONGEST or len(values) > _LONGEST:
            msg = f"{keyword} has more than {_LONGEST} characters"
            raise InputError(msg)
        return texts if any(texts) else ()

    def text(self, keyword: str) -> str:
        """Return the first value of ``keyword``, or an empty text; errors as in `texts`."""
        return next(iter(self.texts(keyword)), "")

    def uid(self, keyword: str) -> str:
        """Return the UID in ``keyword``.

        Raises
        ------
        InputError
            It is missing, or no UID (PS3.5 9.1; zeros in front of a component are let pass).
        """
        text = self.text(keyword)
        if not text:
            msg = f"{keyword} is missing"
            raise InputError(msg)
        if len(text) > _LONGEST_UID or not _UID.fullmatch(text):
            msg = f"{keyword} holds no UID"
            raise InputError(msg)
        return text

    def whole_numbers(self, keyword: str) -> tuple[int, ...]:
        """Return the values of ``keyword``; empty where it is absent or empty.

        Raises
        ------
        InputError
            One of them is no whole number of at most ten digits.
        """
        texts = self.texts(keyword)
        if not all(re.fullmatch(r"[+-]?[0-9]{1,10}", t) for t in texts):
            msg = f"{keyword} holds something else than whole numbers"
            raise InputError(msg)
        return tuple(int(t) for t in texts)

    def floats(self, keyword: str) -> tuple[float, ...]:
        """Return the values of ``keyword``, an FL element: the shortest decimal that stands for each single precision number.

        Raises
        ------
        InputError
            One of them is no finite number, or there are too many.
        """
        element = self._element(keyword)
        if element is None or element.value is None:
            return ()
        value: Any = element.value
        little = getattr(element, "is_little_endian", True)
        if not isinstance(value, bytes):
            little, value = True, _single(value, keyword)
        elif element.VR not in {None, "FL", "UN"}:
            msg = f"{keyword} holds something else than numbers"
            raise InputError(msg)
        if len(value) % 4 or len(value) > 4 * _MOST_NUMBERS:
            msg = f"{keyword} holds half a number, or more than {_MOST_NUMBERS} numbers"
            raise InputError(msg)
        numbers = np.frombuffer(value, "<f4" if little else ">f4")
        if not np.isfinite(numbers).all():
            msg = f"{keyword} holds a number that is not finite"
            raise InputError(msg)
        return tuple(float(str(v)) for v in numbers)

    def items(self, keyword: str) -> tuple[Content, ...]:
        """Return the items of the sequence ``keyword``; empty where it is absent or empty.

        Raises
        ------
        InputError
            It cannot be parsed, or is no sequence.
        """
        element = self._element(keyword)
        if element is None:
            return ()
        if isinstance(element, RawDataElement) and element.value:
            _look_over(element, keyword)
        try:
            with quiet():
                value = self._dataset[element.tag].value
        except (*UNREADABLE, OSError) as error:
            # the text of an exception may quote a value, its kind does not
            msg = f"{keyword} cannot be parsed ({type(error).__name__})"
            raise InputError(msg) from error
        if not value:
            return ()
        if not isinstance(value, pydicom.Sequence):
            msg = f"{keyword} is no sequence"
            raise InputError(msg)
        return tuple(Content(d, self._codec) for d in value)

    def code(self, keyword: str) -> Coded | None:
        """Return the code in the code sequence ``keyword`` (PS3.3 Table 8.8-1), or None where it is absent or empty.

        Raises
        ------
        InputError
            There are several, or the code has no value or no scheme, or is absurdly long.
        """
        found = self.items(keyword)
        if not found:
            return None
        if len(found) > 1:
            msg = f"{keyword} holds {len(found)} codes where one belongs"
            raise InputError(msg)
        return found[0].as_code(keyword)

    def as_code(self, keyword: str) -> Coded:
        """Return this item of the code sequence ``keyword``; errors as in `code`."""
        value = self.text("CodeValue") or self.text("LongCodeValue") or self.text("URNCodeValue")
        scheme = self.text("CodingSchemeDesignator") or ("URN" if self.text("URNCodeValue") else "")
        meaning = self.text("CodeMeaning")
        if not value or not scheme:
            msg = f"{keyword} holds a code without a {'scheme' if value else 'value'}"
            raise InputError(msg)
        if max(len(value), len(scheme), len(meaning)) > _LONGEST_CODE:
            msg = f"{keyword} holds a code of more than {_LONGEST_CODE} characters"
            raise InputError(msg)
        return coded(Code(value, scheme, meaning))

    def _element(self, keyword: str) -> Any:
        tag = _tag(keyword)
        if tag not in self._dataset:
            return None
        try:
            element: Any = self._dataset.get_item(tag)
        except (*UNREADABLE, OSError) as error:
            # pydicom parses an empty element at once, and knows no value representation that the standard does not
            msg = f"{keyword} cannot be parsed ({type(error).__name__})"
            raise InputError(msg) from error
        value = element.value
        if isinstance(element, RawDataElement) and element.length not in {len(value) if value else 0, _UNDEFINED}:
            # pydicom takes what is left of a file for the whole value
            msg = f"{keyword} is cut short"
            raise InputError(msg)
        return element


@functools.cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _look_over(element: RawDataElement, keyword: str) -> None:
    """Raise where the items of a sequence that is not parsed yet do not fill it, or are too many to parse (PS3.5 7.5).

    pydicom passes over what is cut short, and takes its time over many items.
    """
    if element.VR not in {None, "SQ", "UN"}:
        # something else than a sequence: `Content.items` says so
        return
    value, head = element.value or b"", struct.Struct("<HHL" if element.is_little_endian else ">HHL")
    at, count, whole = 0, 0, True
    while whole and at + head.size <= len(value):
        group, number, length = head.unpack_from(value, at)
        if (group, number) == _SEQUENCE_END:
            length, at = 0, len(value) - head.size
        elif length == _UNDEFINED:
            # its end can only be found by parsing; that of the last must be the end of all
            length, whole = len(value) - at - head.size, value.endswith(head.pack(*_ITEM_END, 0))
        whole = whole and (group, number) in {_ITEM, _SEQUENCE_END}
        at += head.size + length
        count += 1
    if not whole or at != len(value):
        msg = f"{keyword} cannot be parsed (its items do not add up)"
        raise InputError(msg)
    if count > MOST_ITEMS:
        msg = f"{keyword} has more than {MOST_ITEMS} items"
        raise InputError(msg)


def _single(value: object, keyword: str) -> bytes:
    """Return numbers that pydicom or a program has parsed already as an FL element holds them."""
    values = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    try:
        return struct.pack(f"<{len(values)}f", *values)
    except (struct.error, OverflowError) as error:
        msg = f"{keyword} holds something else than numbers"
        raise InputError(msg) from error
