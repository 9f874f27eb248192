"""Which characters a page can show: the fonts it carries, and what stands in place of a character that none of them has.

A PDF for archiving (PDF/A) must embed every glyph, and the layout stops at one that it cannot find. So text is gone through before:
what no font has is written as its code point, ``‹U+1208›``, where a reader sees that something is missing and a program can take it
back. The same is done with characters that would hide or reorder others.
"""

from __future__ import annotations

import functools
import itertools
import struct
import unicodedata
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from service.page.content import Captions

#: in the order in which a glyph is looked for; Inter is the page's face
FONT_FILES = (
    "Inter-Regular.otf",
    "Inter-SemiBold.otf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "HanFallback1.ttf",
    "HanFallback2.ttf",
    "HanFallback3.ttf",
    "HanFallback4.ttf",
    "HanFallback5.ttf",
    "NanumSquareR.ttf",
)
_BOTH_WEIGHTS = FONT_FILES[:2]
#: what the layout asks a font for, where that is not everything (`layout.typ` says the same)
_ONLY_FOR = {"NanumSquareR.ttf": (range(0x3130, 0x3190), range(0xAC00, 0xD7B0))}
_NO_GLYPH = frozenset({"Cc", "Cs", "Co", "Cn"})
#: joiners and variation selectors: without a glyph of their own, and needed by some scripts
_JOINERS = frozenset("\u200c\u200d")
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_MOST_MARKS = 8
#: characters of "… (n characters more in the report)", about
_SAYING_SO = 36
#: says how many characters are missing
More = Callable[[int], str]
_MORE: More = Captions().characters
#: categories that are seen by what they do to others
_NO_OUTLINE = frozenset({"Zs", "Cf", "Mn"})
_BLANK = frozenset("\t\v\f\r\x85\u2028\u2029")


def fonts_folder() -> Path:
    """Return the folder of the fonts."""
    return Path(str(resources.files("service.page").joinpath("fonts")))


def legible(text: str, limit: int = 0, more: More = _MORE) -> str:
    """Return ``text`` with nothing in it that the page's fonts cannot show.

    Line breaks stay; other blanks become one. With ``limit``, a longer text is cut there and says how much is missing, in
    the words of ``more``.
    """
    cut = _cut(text, limit)
    kept = text[:limit] if cut else text
    plain = kept.isascii() and kept.isprintable()
    shown = kept if plain else "".join(_shown(c) for c in _clusters(unicodedata.normalize("NFC", _spaced(kept))))
    return f"{shown.rstrip()} … ({more(cut)})" if cut else shown


def ascii_only(text: str) -> str:
    """Return ``text`` with everything beyond ASCII as code points: what is left when a layout fails for a reason unforeseen."""
    return "".join(c if c == "\n" or " " <= c <= "~" else _code_point(c) for c in text)


def one_line(text: str, limit: int = 0) -> str:
    """Return `legible` text without line breaks."""
    return legible(" ".join(text.split("\n")), limit)


def visible(text: str, limit: int = 0, more: More = _MORE) -> str:
    """Return ``text`` for a web page, whose reader's own fonts show it: only what hides or reorders other characters is replaced."""
    cut = _cut(text, limit)
    kept = _spaced(text[:limit] if cut else text)
    shown = "".join(_code_point(c) if c != "\n" and _hides(c) else c for c in kept)
    return f"{shown.rstrip()} … ({more(cut)})" if cut else shown


def _cut(text: str, limit: int) -> int:
    """Return how many characters to leave out: none where saying so would take as much room."""
    over = len(text) - limit
    return over if limit and over > _SAYING_SO else 0


def _spaced(text: str) -> str:
    return "".join(" " if c in _BLANK else c for c in text.replace("\r\n", "\n"))


def _hides(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in _NO_GLYPH or (kind == "Cf" and character not in _JOINERS)


def _clusters(text: str) -> Iterator[str]:
    """Yield base characters, each with the marks that stand on it, of which no script needs more than `_MOST_MARKS`."""
    cluster = ""
    for character in text:
        if (
            0 < len(cluster) <= _MOST_MARKS
            and cluster != "\n"
            and (unicodedata.category(character)[0] == "M" or character in _JOINERS)
        ):
            cluster += character
            continue
        if cluster:
            yield cluster
        cluster = character
    if cluster:
        yield cluster


@functools.lru_cache(maxsize=4096)
def _shown(cluster: str) -> str:
    base = cluster[0]
    if base == "\n":
        return base
    # a mark without a base is one too many, or would stand on what is before it
    alone = unicodedata.category(base)[0] == "M" or base in _JOINERS
    if alone or _hides(base) or not (faces := _faces(base)):
        return _code_point(base) + "".join(_shown(c) for c in cluster[1:] if not _is_selector(c) and c not in _JOINERS)
    # a mark from another font than its base's would be a mark that is not shown
    marks = [c for c in cluster[1:] if not _is_selector(c)]
    foreign = [c for c in marks if c not in _JOINERS and not faces & _faces(c)]
    return base + "".join(_code_point(c) if c in foreign else c for c in marks)


def _is_selector(character: str) -> bool:
    return any(ord(character) in r for r in _VARIATION_SELECTORS)


def _code_point(character: str) -> str:
    return f"‹U+{ord(character):04X}›"


def _faces(character: str) -> frozenset[int]:
    """Return which faces have a glyph; Inter counts once, and only where both of its weights have it."""
    point = ord(character)
    tables = coverage()
    return frozenset(i for i, table in enumerate(tables) if point in table)


@functools.cache
def coverage() -> tuple[frozenset[int], ...]:
    """Return the code points of each face that the page carries, the page's own first."""
    folder = fonts_folder()
    tables = {name: code_points((folder / name).read_bytes()) for name in FONT_FILES}
    own = frozenset.intersection(*(tables[name] for name in _BOTH_WEIGHTS))
    return (own, *(_asked(name, tables[name]) for name in FONT_FILES if name not in _BOTH_WEIGHTS))


def _asked(name: str, points: frozenset[int]) -> frozenset[int]:
    ranges = _ONLY_FOR.get(name)
    return points if ranges is None else frozenset(p for p in points if any(p in r for r in ranges))


def code_points(font: bytes) -> frozenset[int]:
    """Return the code points for which a TrueType or OpenType font has a glyph with an outline (OpenType, ``cmap``: formats 4 and 12).

    Some fonts map characters to empty glyphs, which would be a name with holes: those count as absent. Blanks have no outline anyway.

    Raises
    ------
    ValueError
        ``font`` has no table that maps Unicode.
    """
    tables = _tables(font)
    if "cmap" not in tables:
        raise ValueError("the font has no cmap table")
    empty = _empty_glyphs(font, tables)
    mapped = _mapped(font, tables["cmap"])
    return frozenset(p for p, glyph in mapped if glyph not in empty or unicodedata.category(chr(p)) in _NO_OUTLINE)


def _tables(font: bytes) -> dict[str, int]:
    """Return the tables of a font and where they begin."""
    (count,) = struct.unpack_from(">H", font, 4)
    records = (struct.unpack_from(">4sLLL", font, 12 + 16 * i) for i in range(count))
    return {tag.decode("latin-1"): offset for tag, _, offset, _ in records}


def _empty_glyphs(font: bytes, tables: dict[str, int]) -> frozenset[int]:
    """Return the glyphs without an outline, from ``loca``; PostScript outlines have none."""
    if "loca" not in tables:
        return frozenset()
    (long,) = struct.unpack_from(">h", font, tables["head"] + 50)
    (count,) = struct.unpack_from(">H", font, tables["maxp"] + 4)
    offsets = struct.unpack_from(f">{count + 1}{'L' if long else 'H'}", font, tables["loca"])
    return frozenset(i for i, (start, end) in enumerate(itertools.pairwise(offsets)) if start == end)


def _mapped(font: bytes, cmap: int) -> Iterator[tuple[int, int]]:
    """Yield code points and their glyphs."""
    (count,) = struct.unpack_from(">H", font, cmap + 2)
    for index in range(count):
        platform, _, offset = struct.unpack_from(">HHL", font, cmap + 4 + 8 * index)
        (form,) = struct.unpack_from(">H", font, cmap + offset)
        if platform in {0, 3} and form == 4:  # noqa: PLR2004 - the format's name
            yield from _format_4(font, cmap + offset)
        elif platform in {0, 3} and form == 12:  # noqa: PLR2004 - as above
            yield from _format_12(font, cmap + offset)


def _format_4(font: bytes, at: int) -> Iterator[tuple[int, int]]:
    (doubled,) = struct.unpack_from(">H", font, at + 6)
    count = doubled // 2
    ends, starts, deltas, ranges = (
        struct.unpack_from(f">{count}H", font, at + place)
        for place in (14, 16 + doubled, 16 + 2 * doubled, 16 + 3 * doubled)
    )
    for segment, (start, end) in enumerate(zip(starts, ends, strict=True)):
        # where a segment's offset counts from
        here = at + 16 + 3 * doubled + 2 * segment
        for point in range(start, min(end, 0xFFFE) + 1):
            glyph = point
            if ranges[segment]:
                (glyph,) = struct.unpack_from(">H", font, here + ranges[segment] + 2 * (point - start))
                if not glyph:
                    continue
            if glyph := (glyph + deltas[segment]) & 0xFFFF:
                yield point, glyph


def _format_12(font: bytes, at: int) -> Iterator[tuple[int, int]]:
    (count,) = struct.unpack_from(">L", font, at + 12)
    for group in range(count):
        start, end, glyph = struct.unpack_from(">LLL", font, at + 16 + 12 * group)
        yield from ((point, glyph + point - start) for point in range(start, end + 1) if glyph + point - start)
