"""Units of numbers that others measured: converted where the service has a unit of its own, refused where they are not known.

Units are UCUM codes (PS3.16 Section 7.2.2), compared by value and scheme; the meaning that stands beside a code decides nothing, and a
missing unit is never taken for millimetres.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from types import MappingProxyType

from pydicom.sr import _concepts_dict

from service.errors import InputError
from service.model.code import Code
from sr_templates import load_codes

_UCUM = "UCUM"
#: unit → the unit that it becomes (key of codes.csv), and the power of ten to multiply with
_CONVERSIONS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "mm": ("u.mm", 0),
        "cm": ("u.mm", 1),
        "dm": ("u.mm", 2),
        "m": ("u.mm", 3),
        "um": ("u.mm", -3),
        "mm2": ("u.mm2", 0),
        "cm2": ("u.mm2", 2),
        "m2": ("u.mm2", 6),
        "um2": ("u.mm2", -6),
        "cm3": ("u.cm3", 0),
        "ml": ("u.cm3", 0),
        "mL": ("u.cm3", 0),
        "mm3": ("u.cm3", -3),
        "dm3": ("u.cm3", 3),
        "l": ("u.cm3", 3),
        "L": ("u.cm3", 3),
        "um3": ("u.cm3", -12),
        "um2/s": ("u.um2s", 0),
        "10-6.mm2/s": ("u.um2s", 0),
        "um2/ms": ("u.um2s", 3),
        "10-3.mm2/s": ("u.um2s", 3),
        "mm2/s": ("u.um2s", 6),
        # the same unit with its annotation in front, as PET objects write it
        "{SUVbw}g/ml": ("u.suvbw", 0),
        "{SUVlbm}g/ml": ("u.suvlbm", 0),
    }
)
#: further units that stay as they are: masses, doses and concentrations that PS3.16 uses outside of its tables of units
_KEPT = frozenset(
    {
        "g", "kg", "mg", "ug", "ng", "Bq/mL", "kBq/ml", "kBq/mL", "mGy", "mGy.cm", "cGy", "mSv", "mL/min", "mL/s",
        "mL/g", "g/mL", "mg/mL", "mg/dl", "mg/dL", "m/s", "m/s2", "mA", "mA.s", "uA.s", "/mm", "/mm2", "/cm2", "/cm3",
        "10*6/l", "kg/m2", "{SUVibw}g/ml", "{SUVbsa}cm2/ml",
    }
)  # fmt: skip
#: an annotation alone is a UCUM unit without a dimension: {lesions}, {-1:1}
_ANNOTATION = re.compile(r"\{[!-z|~]{1,60}\}")
_EXACT = Context(prec=80)


@functools.cache
def _known() -> frozenset[str]:
    rows = {row.code.value for row in load_codes() if row.code.scheme == _UCUM and row.status == "verified"}
    # keyword → the codes that a context group gives it
    concepts: dict[str, dict[str, object]] = _concepts_dict.concepts[_UCUM]  # type: ignore[assignment]
    tables = {value for values in concepts.values() for value in values}
    return _KEPT | rows | tables


def convert(number: Decimal, unit: Code) -> tuple[Decimal, Code]:
    """Return ``number`` in the unit that the service uses for its kind, and that unit.

    Parameters
    ----------
    number:
        As received.
    unit:
        As received.

    Returns
    -------
    Decimal, Code
        Lengths in mm, areas in mm2, volumes in cm3, diffusion in um2/s, converted exactly; every other known unit as it came.

    Raises
    ------
    InputError
        The unit is not known: not UCUM, or a code of it that neither codes.csv nor the tables of PS3.16 hold.
    """
    if unit.scheme != _UCUM:
        raise InputError("its unit is not known: it is no UCUM code")
    if unit.value in _CONVERSIONS:
        key, power = _CONVERSIONS[unit.value]
        return _EXACT.multiply(number, Decimal(10) ** power), load_codes()[key]
    if unit.value in _known() or _ANNOTATION.fullmatch(unit.value):
        return number, unit
    raise InputError("its unit is not known: the UCUM code is none of those that reports use")
