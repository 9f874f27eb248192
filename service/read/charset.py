"""Text of DICOM files to Unicode, never raising: PS3.5 6.1, PS3.3 C.12.1.1.2.

Real files declare the wrong character set, none, or one that is misspelt. What is declared and works wins; text that cannot be
decoded keeps its readable characters, with U+FFFD for the others.
"""

from __future__ import annotations

import re
from functools import cache

from pydicom.charset import python_encoding

_ESCAPE = b"\x1b"
_FRAGMENT = re.compile(rb"[^\x1b]+|\x1b[^\x1b]*")

#: Python's codec after an escape sequence (PS3.3 Tables C.12-3 and C.12-4), and whether that codec wants to see the sequence.
#: An empty codec: back to the first value of Specific Character Set.
_SWITCHES: dict[bytes, tuple[str, bool]] = {
    b"\x1b(B": ("", False),
    b"\x1b(J": ("shift_jis", False),
    b"\x1b)I": ("shift_jis", False),
    b"\x1b$B": ("iso2022_jp", True),
    b"\x1b$@": ("iso2022_jp", True),
    b"\x1b$(D": ("iso2022_jp_2", True),
    b"\x1b$)C": ("euc_kr", False),
    b"\x1b$)A": ("gb2312", False),
    b"\x1b-A": ("latin_1", False),
    b"\x1b-B": ("iso8859_2", False),
    b"\x1b-C": ("iso8859_3", False),
    b"\x1b-D": ("iso8859_4", False),
    b"\x1b-F": ("iso8859_7", False),
    b"\x1b-G": ("iso8859_6", False),
    b"\x1b-H": ("iso8859_8", False),
    b"\x1b-L": ("iso8859_5", False),
    b"\x1b-M": ("iso8859_9", False),
    b"\x1b-T": ("iso8859_11", False),
    b"\x1b-b": ("iso8859_15", False),
}

#: what devices write instead of a defined term
_MISSPELT = {
    "UTF 8": "UTF8",
    "UTF8": "UTF8",
    "IR 192": "UTF8",
    "ISO 2022 IR 192": "UTF8",
    "ISO 8859 1": "latin_1",
    "ISO8859 1": "latin_1",
    "LATIN1": "latin_1",
    "ISO IR 203": "iso8859_15",
    "ISO 2022 IR 203": "iso8859_15",
    "GB2312": "GB2312",
    "GB 18030": "GB18030",
}

# Control characters say nothing in a name and break what is downstream (NUL in a database, escape sequences in a log); marks that
# override the direction of writing are only used to disguise. Tabulator, line feed, form feed and carriage return are text.
_UNWANTED = dict.fromkeys(
    c
    for c in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if c not in (0x09, 0x0A, 0x0C, 0x0D)
)


def _plain(term: str) -> str:
    return re.sub(r"[\s_\-]+", " ", term).strip().upper()


_CODECS = {**_MISSPELT, **{_plain(term): codec for term, codec in python_encoding.items()}}
# In the default repertoire eight-bit bytes have no meaning: `decode` guesses.
_CODECS.update({"": "", "ISO IR 6": "", "ISO 2022 IR 6": ""})


@cache
def codec_of(declared: bytes) -> str:
    """Return Python's codec for the first value of Specific Character Set (0008,0005).

    Code extensions need no further values: `decode` knows every escape sequence of the standard, declared or not.

    Parameters
    ----------
    declared:
        The element's value as it stands in the file.

    Returns
    -------
    str
        The codec; empty for the default repertoire and for what is not known.
    """
    values = [_plain(v) for v in declared.replace(b"\0", b" ").decode("latin_1").split("\\")]
    return _CODECS.get(values[0], "")


def decode(raw: bytes, codec: str) -> str:
    """Return ``raw`` as text without control characters.

    Parameters
    ----------
    raw:
        A value as it stands in the file.
    codec:
        What `codec_of` said. When it is empty, eight-bit bytes are UTF-8 where they are valid UTF-8, else Latin-1.

    Returns
    -------
    str
        The text, not stripped; U+FFFD where a byte has no meaning.
    """
    if raw.isascii() and _ESCAPE not in raw:
        text = raw.decode("ascii")
    elif _ESCAPE in raw:
        text = "".join(_fragment(f, codec) for f in _FRAGMENT.findall(raw))
    else:
        text = _bytes(raw, codec)
    return text if text.isprintable() else text.translate(_UNWANTED)


def _fragment(raw: bytes, first: str) -> str:
    if not raw.startswith(_ESCAPE):
        return _bytes(raw, first)
    for length in (4, 3):
        switch = _SWITCHES.get(raw[:length])
        if switch is not None:
            codec, wants_sequence = switch
            return _bytes(raw if wants_sequence else raw[length:], codec or first)
    return _bytes(raw[1:], first)


def _bytes(raw: bytes, codec: str) -> str:
    if codec:
        return raw.decode(codec, errors="replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin_1")
