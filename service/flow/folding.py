"""Text made comparable: case, accents, ligatures, hyphens and runs of blanks do not matter."""

from __future__ import annotations

import re
import unicodedata

_SEPARATORS = re.compile(r"[\W_]+")
_EXPANSIONS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})


def fold(text: str) -> str:
    """Return ``text`` in lower case, without accents, with single blanks between words and one at each end.

    The blanks at the ends let a search for ``" qa "`` find whole words only.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_EXPANSIONS))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return f" {_SEPARATORS.sub(' ', bare).strip()} "
