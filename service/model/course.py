"""The course of a disease: what every examination says of a lesion, or of the sum of the target lesions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

#: examinations that are told in rows: the oldest, and the newest of the others
MOST_TOLD = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CoursePoint:
    """One examination of a course; None where it says nothing, or nothing that can be compared."""

    study_instance_uid: str
    #: Study Date (DA); empty: not known
    date: str
    #: the examination that the report is about
    here: bool = False
    #: the examination that changes from baseline are counted from
    baseline: bool = False
    #: no report states the sum: it was added up from the sizes of the targets
    added_up: bool = False
    #: mm; what it is of, the course says (`Course.item`)
    length_mm: Decimal | None = None
    #: mm; of a lesion, beside the length
    short_axis_mm: Decimal | None = None
    volume_ml: Decimal | None = None
    #: mean attenuation, HU: given where the scans can be compared
    attenuation_hu: Decimal | None = None
    #: change of the length in %, from baseline and from the smallest one before
    pct_baseline: Decimal | None = None
    pct_nadir: Decimal | None = None
    #: change of the volume in % since the examination of ``volume_since`` (DA), the last before that shows the lesion
    pct_volume: Decimal | None = None
    volume_since: str = ""
    #: days in which the volume doubles; None where it did not grow
    doubling_days: Decimal | None = None
    #: False: a machine measured a size, and nobody has confirmed it
    confirmed: bool = True
    #: False: something that a change of the length was counted from is not confirmed
    changes_confirmed: bool = True
    #: False: so it is with the change of the volume
    growth_confirmed: bool = True

    @property
    def all_confirmed(self) -> bool:
        """Say whether sizes and changes are."""
        return self.confirmed and self.changes_confirmed and self.growth_confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Examinations, the oldest first, the one at hand last."""

    #: key of the lesion; empty: the sum of the target lesions
    subject: str
    #: what its lengths are: ``fu.sum``, ``sz.long_axis``, of a lymph node ``sz.short_axis``
    item: str
    points: tuple[CoursePoint, ...]

    @property
    def told(self) -> tuple[CoursePoint, ...]:
        """Return the points that are told in rows."""
        if len(self.points) <= MOST_TOLD:
            return self.points
        return (self.points[0], *self.points[-(MOST_TOLD - 1) :])

    @property
    def untold(self) -> int:
        """Return how many points are left out behind the first."""
        return len(self.points) - len(self.told)
