"""What follows from sizes and attenuation: the necrotic fraction, the number of lesions, the rise in attenuation, the ellipsoid."""

from __future__ import annotations

import math
from decimal import Decimal

from service.flow.derivations.asked import Asked, Derived, Look, key_in, numeric
from service.model.code import Code
from service.model.report import Answer, Quantity, Scope
from sr_templates import load_codes

_MM3_PER_CM3 = Decimal(1000)
EXTENTS = ("sz.height", "sz.width", "sz.depth")


def necrosis_pct(asked: Asked) -> Derived | None:
    """Give the non-enhancing part of the volume in %; none where the part is larger than the whole."""
    part, whole = asked.number("sz.necrosis_volume"), asked.number("sz.volume")
    if part is None or not whole or part > whole:
        return None
    used = asked.used("sz.necrosis_volume", "sz.volume")
    return numeric(asked, part / whole * 100, "non-enhancing volume / volume", used)


def lesion_count(asked: Asked) -> Derived | None:
    """Count the lesions of this report.

    One lesion proves no solitary one, so 1 stands only beside a stated "solitary lesion"; masks of different segmentation objects may
    show one lesion, so the object with the most counts, and lesions without a mask beside it.
    """
    lesions = asked.report.subjects_of(Scope.LESION)
    if "load.solitary" in asked.stated("tum.lesion_load"):
        return numeric(asked, Decimal(1), "solitary lesion as stated", asked.used("tum.lesion_load"))
    sources = [s.segment.sop_instance_uid for s in lesions if s.segment]
    count = max((sources.count(s) for s in sources), default=0) + sum(s.segment is None for s in lesions)
    if count <= 1:
        return None
    used = tuple(p for s in lesions for p in asked.used("tid.finding", row=s.key))
    return numeric(asked, Decimal(count), f"{count} lesions in this report", used)


_UNENHANCED = "phase.unenhanced"


def delta_hu(asked: Asked) -> Derived | None:
    """Give the rise of the mean attenuation from the unenhanced to the portal venous phase, in HU.

    Needs two means of the lesion, each from a series whose phase is known. Where there is no portal venous one, a single other phase
    after contrast counts.
    """
    before: list[Decimal] = []
    portal: list[Decimal] = []
    after: list[Decimal] = []
    series = {s.tracking_uid: s.key for s in asked.report.subjects_of(Scope.SERIES)}
    used = list(asked.used("ct.hu"))
    for answer in means(asked.answers("ct.hu")):
        keys = {series[e.series_instance_uid] for e in answer.evidence if e.series_instance_uid in series}
        numbers = [v.number for v in answer.values if isinstance(v, Quantity) and v.number is not None]
        if len(keys) != 1 or not numbers:
            continue
        where = keys.pop()
        phase = asked.key("tech.phase", where)
        if not phase:
            continue
        used.extend(asked.used("tech.phase", row=where))
        (before if phase == _UNENHANCED else portal if phase == "phase.portal" else after).append(numbers[0])
    enhanced = portal or after
    if len(before) != 1 or len(enhanced) != 1:
        return None
    return numeric(asked, enhanced[0] - before[0], "mean attenuation after contrast - unenhanced", tuple(used))


def means(answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """Return the answers that are means; a number without a derivation counts as one."""
    mean = load_codes()["deriv.mean"]
    return tuple(a for a in answers if a.derivation is None or a.derivation.same(mean))


def ellipsoid_cm3(height_mm: Decimal, width_mm: Decimal, depth_mm: Decimal) -> Decimal:
    """Return the volume of the ellipsoid of three orthogonal extents: pi/6 x CC x TR x AP, in cm3."""
    return Decimal(str(math.pi)) / 6 * height_mm * width_mm * depth_mm / _MM3_PER_CM3


def ellipsoid_of(asked: Look) -> Decimal | None:
    """Return the ellipsoid of the lesion's three extents, in cm3; None where one is missing."""
    extents = [n for n in (asked.number(i) for i in EXTENTS) if n is not None]
    return ellipsoid_cm3(*extents) if len(extents) == len(EXTENTS) else None


def volume_method(asked: Look) -> str:
    """Return the key of the method that the volume was found by; empty: not said."""
    item = asked.template.item("tid.method")
    found: list[Code] = [a.method for a in asked.answers("sz.volume") if a.method]
    return key_in(item, found[0]) if found else asked.key("tid.method")
