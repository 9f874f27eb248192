"""Open a DICOM file (PS3.10) leniently, and look at its elements without pydicom's validation.

pydicom parses; values are taken from the bytes as they stand. So a wrong value representation, an over-long value or a wrong
character set is neither an exception nor a warning, and no value ever reaches a log.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from service.errors import InputError, StoreUnavailable
from service.model.code import Code
from service.read.charset import codec_of, decode

#: what pydicom raises on bytes that are not what they should be (RecursionError: sequences nested without end)
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
)

_PREAMBLE = 128
_CHARSET = 0x00080005
#: no value that is read as text is longer (LT: 10240 characters); what is longer is not text
_LONGEST_TEXT = 1 << 16
#: a header longer than this is not inflated (PS3.5 A.5): a small file can hold gigabytes of zeros
_LONGEST_INFLATED = 16 << 20

_ONE_VALUE = frozenset({"LT", "ST", "UT", "UR"})
_TEXT = _ONE_VALUE | frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"})
_BINARY = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d", "AT": "HH"}

#: what an absent sequence holds; making one anew took a tenth of reading a segmentation
_NOTHING = Dataset()

_quiet_lock = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom parse without a word: its warnings quote values, and what is wrong with a file is said elsewhere.

    Python keeps its warning filters for the whole process, so only one thread at a time is in here.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def unreadable(name: str, error: OSError) -> InputError | StoreUnavailable:
    """Return the error to raise where a file cannot be opened or read: what is gone stays gone, all else may come back."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{name} is not there any more")
    return StoreUnavailable(f"{name} cannot be read: {error.strerror or type(error).__name__}")


class Item:
    """A data set or an item of a sequence: its elements as text and numbers, decoded leniently.

    Parameters
    ----------
    dataset:
        As pydicom parsed it.
    codec:
        The character set of the surrounding data set, inherited where the item has none of its own (PS3.5 7.5.3).
    """

    __slots__ = ("_codec", "_dataset")

    def __init__(self, dataset: Dataset, codec: str = "") -> None:
        self._dataset = dataset
        self._codec = codec
        if _CHARSET in dataset:
            self._codec = codec_of(_raw(dataset.get_item(_CHARSET)) or b"")

    def __contains__(self, keyword: str) -> bool:
        return tag_of(keyword) in self._dataset

    def __iter__(self) -> Iterator[int]:
        """Iterate over the tags."""
        return iter(self._dataset.keys())

    @property
    def codec(self) -> str:
        """Return the character set that its texts are in."""
        return self._codec

    def element(self, tag: int) -> RawDataElement | DataElement | None:
        """Return the element ``tag`` as pydicom keeps it, not converted; None where it is absent or cannot be read."""
        if tag not in self._dataset:
            return None
        try:
            return self._dataset.get_item(tag)
        except UNREADABLE:
            return None

    def is_sequence(self, tag: int) -> bool:
        """Say whether the element ``tag`` is a sequence, as it says itself or PS3.6 does."""
        found = self.element(tag)
        if found is None:
            return False
        return found.VR == "SQ" or (found.VR in {None, "UN"} and _vr(tag) == "SQ")

    def raw(self, tag: int) -> bytes:
        """Return the bytes of the element ``tag`` however long they are; none where it is absent or empty."""
        found = self.element(tag)
        return (_raw(found) or b"") if found is not None else b""

    def values_at(self, tag: int) -> tuple[str, ...]:
        """Return the values of the element ``tag`` as text; empty where it is absent, empty or not text and no number."""
        if tag not in self._dataset:
            return ()
        try:
            element = self._dataset.get_item(tag)
        except UNREADABLE:
            # an empty element is converted at once, whatever its value representation
            return ()
        raw = _raw(element)
        if not raw:
            return ()
        vr = element.VR if element.VR in _TEXT or element.VR in _BINARY else _vr(tag)
        if vr in _TEXT:
            return self._texts(raw, vr)
        if vr in _BINARY:
            little = getattr(element, "is_little_endian", True)
            return _numbers(raw, vr, "<" if little else ">")
        return ()

    def private_text(self, tag: int) -> str:
        """Return the first value of a private element, written as text or (with an unknown value representation) as bytes."""
        raw, found = self.raw(tag), self.element(tag)
        if found is not None and found.VR in _BINARY:
            return next(iter(self.values_at(tag)), "")
        return decode(raw[:_LONGEST_TEXT], self._codec).split("\\")[0].strip(" \0")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the values of ``keyword``, stripped; empty where it is absent or empty."""
        return self.values_at(tag_of(keyword))

    def text(self, keyword: str) -> str:
        """Return the first value of ``keyword``, or an empty text."""
        values = self.texts(keyword)
        return values[0] if values else ""

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values of ``keyword`` as numbers; empty where one of them is none, or not finite."""
        return as_numbers(self.texts(keyword))

    def number(self, keyword: str) -> float | None:
        """Return the first value of ``keyword`` as a number, or None."""
        values = as_numbers(self.texts(keyword)[:1])
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """Return the first value of ``keyword`` as a whole number, or None."""
        value = self.number(keyword)
        return int(value) if value is not None and value.is_integer() else None

    def items(self, keyword: str) -> tuple[Item, ...]:
        """Return the items of the sequence ``keyword``; empty where it is absent, or cannot be parsed."""
        return self.items_at(tag_of(keyword))

    def items_at(self, tag: int) -> tuple[Item, ...]:
        """Return the items of the sequence ``tag``; empty where it is absent, no sequence, or cannot be parsed."""
        if tag not in self._dataset:
            return ()
        try:
            with quiet():
                value = self._dataset[tag].value
            return tuple(Item(d, self._codec) for d in value) if isinstance(value, pydicom.Sequence) else ()
        except (*UNREADABLE, OSError):
            # the bytes are in memory: pydicom says OSError where they end too early
            return ()

    def item(self, keyword: str) -> Item:
        """Return the first item of the sequence ``keyword``, or an empty one."""
        found = self.items(keyword)
        return found[0] if found else Item(_NOTHING, self._codec)

    def codes(self, keyword: str) -> tuple[Code, ...]:
        """Return the codes of the code sequence ``keyword`` (PS3.3 Table 8.8-1), those that have a value and a scheme."""
        found = []
        for item in self.items(keyword):
            value = item.text("CodeValue") or item.text("LongCodeValue") or item.text("URNCodeValue")
            scheme = item.text("CodingSchemeDesignator") or ("URN" if item.text("URNCodeValue") else "")
            if value and scheme:
                found.append(Code(value, scheme, item.text("CodeMeaning")))
        return tuple(found)

    def code(self, keyword: str) -> Code | None:
        """Return the first code of the code sequence ``keyword``, or None."""
        found = self.codes(keyword)
        return found[0] if found else None

    def _texts(self, raw: bytes, vr: str) -> tuple[str, ...]:
        text = decode(raw[:_LONGEST_TEXT], self._codec)
        if vr in _ONE_VALUE:
            text = text.strip()
            return (text,) if text else ()
        if "\\" not in text:
            text = text.strip(" \t\r\n\f")
            return (text,) if text else ()
        values = tuple(v.strip(" \t\r\n\f") for v in text.split("\\"))
        return values if any(values) else ()


def as_numbers(texts: tuple[str, ...]) -> tuple[float, ...]:
    """Return ``texts`` (DS, IS or numbers written out) as numbers; empty where one of them is none, or not finite."""
    try:
        values = tuple(float(t) for t in texts)
    except ValueError:
        return ()
    return values if all(abs(v) < float("inf") for v in values) else ()


def open_part10(source: Path | BinaryIO, *, name: str, tags: Collection[int] = ()) -> tuple[Item, Item]:
    """Parse a DICOM file up to its pixel data.

    Parameters
    ----------
    source:
        A path, or a seekable binary stream at its beginning. A stream stays open, and at the beginning of Pixel Data where there
        is one.
    name:
        What error messages call it.
    tags:
        The elements that are wanted; empty: all.

    Returns
    -------
    meta, dataset:
        File Meta Information (PS3.10 7.1) and the data set. A deflated data set (PS3.5 A.5) loses its meta information but for the
        transfer syntax.

    Raises
    ------
    InputError
        No Part 10 file, or one that cannot be parsed.
    StoreUnavailable
        The file cannot be opened or read.
    """
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                return _open(stream, name, list(tags))
        return _open(source, name, list(tags))
    except OSError as error:
        raise unreadable(name, error) from error


def _open(stream: BinaryIO, name: str, tags: list[int]) -> tuple[Item, Item]:
    start = stream.tell()
    head = stream.read(4096)
    if head[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        msg = f"{name} is no DICOM file: 'DICM' is not at byte 128 (PS3.10 7.1)"
        raise InputError(msg)
    stream.seek(start)
    deflated = _syntax_in(head) == DeflatedExplicitVRLittleEndian
    try:
        with quiet():
            if deflated:
                stream = io.BytesIO(bytes(_PREAMBLE) + b"DICM" + _inflate(stream.read(_LONGEST_INFLATED), head))
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(tags) or None)
    except (*UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # the text of an exception may quote a value, its kind does not; pydicom says OSError, too, where a sequence has no end
        depth = isinstance(error, (OSError, RecursionError))
        reason = "sequences end too early or are nested too deeply" if depth else type(error).__name__
        msg = f"{name} cannot be parsed as DICOM: {reason}"
        raise InputError(msg) from error
    meta: Dataset = dataset.file_meta
    if deflated:
        meta = Dataset()
        meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return Item(meta), Item(dataset)


def _syntax_in(head: bytes) -> str:
    at = head.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return ""
    (length,) = struct.unpack_from("<H", head.ljust(at + 8, b"\0"), at + 6)
    return head[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("latin_1")


def _inflate(data: bytes, head: bytes) -> bytes:
    at = head.find(b"\x02\x00\x00\x00UL\x04\x00")
    if at < 0:
        raise ValueError("no group length")
    (length,) = struct.unpack_from("<L", head, at + 8)
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[at + 12 + length :], _LONGEST_INFLATED)


def tag_of(keyword: str) -> int:
    """Return the tag of a keyword of PS3.6."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        msg = f"'{keyword}' is no keyword of PS3.6"
        raise KeyError(msg)
    return tag


def _vr(tag: int) -> str:
    try:
        # "US or SS" and the like: the sign is the caller's affair
        return dictionary_VR(tag)[:2]
    except KeyError:
        return ""


def _raw(element: RawDataElement | DataElement) -> bytes | None:
    """Return the bytes of an element; of text that pydicom has parsed already (the transfer syntax), as it would be written."""
    if isinstance(element, RawDataElement):
        return element.value
    value = element.value
    if isinstance(value, bytes):
        return value
    if element.VR in _TEXT and value is not None:
        values = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
        return "\\".join(str(v) for v in values).encode()
    return None


def _numbers(raw: bytes, vr: str, endian: str) -> tuple[str, ...]:
    kind = _BINARY[vr]
    size = struct.calcsize("<" + kind)
    count = min(len(raw), _LONGEST_TEXT) // size
    values = struct.unpack_from(f"{endian}{kind * count}", raw)
    if vr == "AT":
        return tuple(f"{g:04X}{e:04X}" for g, e in zip(values[::2], values[1::2], strict=True))
    if vr == "FL":
        return tuple(format(v, ".9g") for v in values)
    return tuple(repr(v) for v in values)
