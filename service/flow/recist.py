"""RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009;45:228, with the EORTC's clarifications): pure criteria, on unrounded millimetres."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

MAX_TARGETS = 5
MAX_PER_ORGAN = 2
#: least long axis of a target that is no node, and short axis of a node, at baseline, in mm
MIN_LONG_AXIS_MM = Decimal(10)
MIN_NODE_MM = Decimal(15)
#: a node below is none of a disease any more
NORMAL_NODE_MM = Decimal(10)
#: what a target counts that is there and too small to measure
TOO_SMALL_MM = Decimal(5)
#: slices thicker than this double the least measurable size
THIN_SLICE_MM = Decimal(5)

PARTIAL = Decimal("0.70")
PROGRESSIVE = Decimal("1.20")
PROGRESSIVE_MM = Decimal(5)


class Response(enum.StrEnum):
    """A response at a time point; ``NOT_CR_NOT_PD`` is for disease without targets, or of the non-targets alone."""

    CR = "CR"
    PR = "PR"
    SD = "SD"
    PD = "PD"
    NE = "NE"
    NOT_CR_NOT_PD = "non-CR/non-PD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target lesion now: its long axis, or its short axis where it is a node, in mm.

    0 where it is gone, `TOO_SMALL_MM` where it is there and nobody can give a size.
    """

    diameter_mm: Decimal
    node: bool = False
    #: key of its organ; nodes are one organ wherever they are; empty: not said
    organ: str = ""

    @property
    def gone(self) -> bool:
        """Say whether it counts as disappeared: absent, or a node of normal size."""
        return self.diameter_mm < NORMAL_NODE_MM if self.node else self.diameter_mm == 0


def total(targets: Sequence[Target]) -> Decimal:
    """Return the sum of diameters in mm; nodes of normal size still count with their short axis."""
    return sum((t.diameter_mm for t in targets), Decimal(0))


def target_response(sum_mm: Decimal, baseline_mm: Decimal, nadir_mm: Decimal, *, all_gone: bool) -> Response:
    """Return the response of the set of targets.

    Parameters
    ----------
    sum_mm, baseline_mm, nadir_mm:
        Sum of diameters now, at baseline, and the smallest so far (not counting now); a nadir above the baseline counts as the baseline.
    all_gone:
        Every target has disappeared and every target node is below 10 mm.

    Raises
    ------
    ValueError
        There is no baseline to compare with.
    """
    if baseline_mm <= 0:
        msg = "a response needs a baseline sum above 0 mm"
        raise ValueError(msg)
    if all_gone:
        return Response.CR
    if progressed(sum_mm, min(nadir_mm, baseline_mm)):
        return Response.PD
    return Response.PR if sum_mm <= PARTIAL * baseline_mm else Response.SD


def progressed(sum_mm: Decimal, nadir_mm: Decimal) -> bool:
    """Say whether a sum has grown by 20 % of the smallest one and by 5 mm: both, equality included."""
    return sum_mm >= PROGRESSIVE * nadir_mm and sum_mm - nadir_mm >= PROGRESSIVE_MM


#: target x (non-target is CR, or there is none; non-target is not) without a new lesion and without progression: table 1 of the paper
_OVERALL: Mapping[Response, tuple[Response, Response]] = MappingProxyType(
    {
        Response.CR: (Response.CR, Response.PR),
        Response.PR: (Response.PR, Response.PR),
        Response.SD: (Response.SD, Response.SD),
        Response.NE: (Response.NE, Response.NE),
    }
)


def overall_response(target: Response | None, non_target: Response | None, *, new_lesion: bool | None) -> Response:
    """Return the overall response at a time point: tables 1 and 2 of the paper.

    Parameters
    ----------
    target:
        Response of the targets; None where there are none.
    non_target:
        CR, NOT_CR_NOT_PD, PD, or NE where they were not all evaluated; None where there are none.
    new_lesion:
        None where that is undetermined: then only progression is certain.

    Raises
    ------
    ValueError
        There is neither a target nor a non-target, so there is nothing to evaluate but a new lesion, and that is not certain.
    """
    if new_lesion or Response.PD in {target, non_target}:
        return Response.PD
    if target is None and non_target is None:
        msg = "there is no lesion to evaluate"
        raise ValueError(msg)
    if new_lesion is None:
        return Response.NE
    if target is None:
        return non_target if non_target in {Response.CR, Response.NOT_CR_NOT_PD} else Response.NE
    return _OVERALL[target][0 if non_target in {Response.CR, None} else 1]


def unfit_targets(targets: Sequence[Target], *, baseline: bool, slice_mm: Decimal | None = None) -> tuple[str, ...]:
    """Return what is wrong with a choice of targets, in words; empty where nothing is.

    Parameters
    ----------
    targets:
        The targets that were chosen.
    baseline:
        The sizes are those of the baseline, so that they have to be measurable.
    slice_mm:
        Slice thickness, where it is known: above 5 mm a target that is no node has to be twice as large as a slice is thick.
    """
    faults = []
    if len(targets) > MAX_TARGETS:
        faults.append(f"{len(targets)} target lesions, at most {MAX_TARGETS}")
    organs = ["nodes" if t.node else t.organ for t in targets]
    faults += [
        f"{organs.count(organ)} of them in one organ, at most {MAX_PER_ORGAN}; nodes are one organ"
        for organ in dict.fromkeys(o for o in organs if o)
        if organs.count(organ) > MAX_PER_ORGAN
    ]
    return (*faults, *(unmeasurable(targets, slice_mm=slice_mm) if baseline else ()))


def unmeasurable(targets: Sequence[Target], *, slice_mm: Decimal | None = None) -> tuple[str, ...]:
    """Return which targets are too small at baseline, in words; targets have the size that they had there.

    Parameters
    ----------
    targets:
        The targets, with their size at baseline.
    slice_mm:
        As for `unfit_targets`.
    """
    faults = []
    least = (
        max(MIN_LONG_AXIS_MM, 2 * slice_mm) if slice_mm is not None and slice_mm > THIN_SLICE_MM else MIN_LONG_AXIS_MM
    )
    for t in targets:
        limit, axis = (MIN_NODE_MM, "short axis of a node") if t.node else (least, "long axis")
        if t.diameter_mm < limit:
            faults.append(f"{axis} {t.diameter_mm:f} mm, at least {limit:f} mm at baseline")
    return tuple(faults)
