"""Choi and modified Choi criteria (Choi et al., J Clin Oncol 2007;25:1753; table 2 of PMC5658474): pure criteria, on unrounded numbers.

Attenuation means something only between scans of the same phase, tube voltage and kind of region: the caller sees to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from service.flow.recist import Response

SIZE_DOWN = Decimal("0.90")
SIZE_UP = Decimal("1.10")
DENSITY_DOWN = Decimal("0.85")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A number at baseline and now."""

    before: Decimal
    now: Decimal

    @property
    def percent(self) -> Decimal | None:
        """Return the change in % of what it was; None where that was 0 or below, so that a percentage says nothing."""
        return (self.now - self.before) / self.before * 100 if self.before > 0 else None

    def fell_to(self, part: Decimal) -> bool:
        """Say whether it is at most ``part`` of what it was."""
        return self.before > 0 and self.now <= part * self.before

    def rose_to(self, part: Decimal) -> bool:
        """Say whether it is at least ``part`` of what it was."""
        return self.before > 0 and self.now >= part * self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What is seen beside size and attenuation; None where that is not certain."""

    new_lesion: bool | None
    new_nodule: bool | None
    #: obvious progression of disease that is not measured
    non_target_progression: bool | None
    all_gone: bool = False


def choi_response(size: Change, density: Change | None, signs: Signs, *, modified: bool = False) -> Response:
    """Return the response by Choi, or by modified Choi, which needs both the size and the attenuation for a partial response.

    Parameters
    ----------
    size:
        Sum of the targets' long axes, mm.
    density:
        Mean attenuation, HU; None where it cannot be compared.
    signs:
        What else was seen.

    Returns
    -------
    NE where a baseline is 0 or below, where an uncertain sign decides, and where the criteria do not say: unmeasured disease that
    obviously progresses rules a partial response out, and is no progression of theirs either.
    """
    if signs.new_lesion or signs.new_nodule:
        return Response.PD
    certain = signs.new_lesion is not None and signs.new_nodule is not None and signs.non_target_progression is False
    if signs.all_gone:
        return Response.CR if certain else Response.NE
    if size.before <= 0 or density is None or density.before <= 0:
        return Response.NE
    smaller, darker = size.fell_to(SIZE_DOWN), density.fell_to(DENSITY_DOWN)
    if size.rose_to(SIZE_UP) and not darker:
        return Response.PD
    if not certain:
        return Response.NE
    if smaller and darker if modified else smaller or darker:
        return Response.PR
    return Response.SD
