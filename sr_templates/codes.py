"""The codes that a report may use, from ``codes.csv``: key, meaning, scheme, value, status.

``verified`` rows were found in public code lists (``verified_in`` says which), ``private`` rows are ours under the coding scheme
99LMSSR, ``unverified`` rows are kept for whoever verifies them and are never used in a report.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from service.errors import TemplateError
from service.model.code import Code

PRIVATE_SCHEME = "99LMSSR"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRow:
    """One row of ``codes.csv``."""

    key: str
    code: Code
    status: str
    verified_in: str
    note: str


class CodeTable:
    """Keys to codes; a key may carry ``#`` and a word that tells two uses of one concept apart."""

    def __init__(self, rows: Mapping[str, CodeRow]) -> None:
        self._rows = MappingProxyType(dict(rows))
        self._keys = {(r.code.scheme, r.code.value): k for k, r in reversed(list(self._rows.items()))}

    def __contains__(self, key: str) -> bool:
        return key.partition("#")[0] in self._rows

    def __iter__(self) -> Iterator[CodeRow]:
        return iter(self._rows.values())

    def row(self, key: str) -> CodeRow:
        """Return the row of ``key``.

        Raises
        ------
        TemplateError
            There is no such key, or its code is not verified.
        """
        row = self._rows.get(key.partition("#")[0])
        if row is None:
            msg = f"code '{key}' is not in sr_templates/codes.csv: add a verified row, or use one of its keys"
            raise TemplateError(msg)
        if row.status == "unverified":
            msg = f"code '{key}' is not verified: verify it in a browser of {row.code.scheme} and change its status in codes.csv"
            raise TemplateError(msg)
        return row

    def __getitem__(self, key: str) -> Code:
        return self.row(key).code

    def key_of(self, code: Code) -> str | None:
        """Return the first key that stands for ``code`` (by value and scheme), or None."""
        return self._keys.get((code.scheme, code.value))


@functools.cache
def load_codes() -> CodeTable:
    """Read ``codes.csv`` of this package, once."""
    text = resources.files("sr_templates").joinpath("codes.csv").read_text(encoding="utf-8")
    rows: dict[str, CodeRow] = {}
    for line, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        key = row["key"]
        if key in rows:
            msg = f"sr_templates/codes.csv:{line}: key '{key}' stands twice"
            raise TemplateError(msg)
        rows[key] = CodeRow(
            key=key,
            code=Code(row["value"], row["scheme"], row["meaning"]),
            status=row["status"],
            verified_in=row["verified_in"],
            note=row["note"],
        )
    return CodeTable(rows)
