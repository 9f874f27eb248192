"""Which lesion is which over time: by tracking UID, else a suggestion by position and size, with its reason. Pure.

A suggestion changes nothing: viewers mint tracking UIDs freely, so that an unknown one is no new lesion and a missing one no vanished
lesion. Both are only ever asked about, and nothing follows for the response before a person has answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from service.flow.derivations.timeline import day
from service.model.measurement import SegmentMeasurements
from service.model.prior import Match, Place, PriorReport
from service.model.report import Quantity, Report, Scope, Subject, Uid
from service.model.study import Study
from sr_templates.evaluate import evaluated

#: centroids of one lesion in one frame of reference lie no further apart (breathing, growth), or half the longer axis if that is more
SAME_PLACE_MM = 20.0
#: after a shift by landmarks, which leaves rotation and breathing
ALIKE_PLACE_MM = 30.0
#: a lesion that became this many times larger or smaller is not suggested (volume): 2.5 times in diameter
MOST_CHANGE = 16.0
#: a landmark that moved against the others by more is none
_LANDMARK_MM = 40.0
_TUMOUR = "tumour"


def places(subjects: Iterable[Subject], study: Study, measured: Iterable[SegmentMeasurements]) -> tuple[Place, ...]:
    """Return where those of some lesions lie that were segmented or contoured."""
    by_mark = {m.source.mark: m for m in measured}
    found = []
    for subject in subjects:
        of = by_mark.get(subject.segment.mark) if subject.segment is not None else None
        if of is not None and of.centroid is not None:
            name = subject.tracking_id or subject.key
            found.append(_place(subject.tracking_uid, name, of, of.centroid, study))
    return tuple(found)


def landmarks(study: Study, measured: Iterable[SegmentMeasurements]) -> tuple[Place, ...]:
    """Return where the other known structures lie, each that is there once."""
    found: dict[str, list[Place]] = {}
    for m in measured:
        if m.role and m.role != _TUMOUR and m.centroid is not None:
            key = f"{m.role}/{m.laterality}" if m.laterality else m.role
            found.setdefault(key, []).append(_place(key, m.label or key, m, m.centroid, study))
    return tuple(members[0] for _, members in sorted(found.items()) if len(members) == 1)


def _place(key: str, label: str, of: SegmentMeasurements, position: tuple[float, float, float], study: Study) -> Place:
    numbers = {m.name: m.value for m in of.measurements}
    return Place(
        key=key,
        label=label,
        frame_of_reference=_frame(of, study),
        position=position,
        volume_mm3=numbers.get("sz.volume"),
        long_axis_mm=numbers.get("sz.long_axis"),
    )


def _frame(of: SegmentMeasurements, study: Study) -> str:
    for series in study.series:
        for instance in series.instances:
            if instance.sop_instance_uid == of.source.sop_instance_uid:
                return instance.header.text("FrameOfReferenceUID")
    return ""


# --- suggestions ---------------------------------------------------------------------------------------------------------


def suggest(
    now: Iterable[Place],
    here: Iterable[Place],
    lesions: Iterable[Subject],
    prior: PriorReport,
    known: frozenset[str],
) -> tuple[Match, ...]:
    """Return which lesions of today may be which of earlier time points, each once: the newest time point first, there the nearest.

    Of an earlier lesion the newest place that can be compared with a lesion of today counts: where it lay before does not bring it back.

    Parameters
    ----------
    now, here:
        Where the lesions and the other structures of today lie.
    lesions:
        Those of today.
    prior:
        The newest earlier time point, with those before it.
    known:
        Tracking UIDs that some earlier time point has (`tracked`): such a lesion is matched already.
    """
    subjects = {s.tracking_uid: s for s in lesions}
    mine = [p for p in now if p.key in subjects and p.key not in known]
    structures = tuple(here)
    found: list[Match] = []
    taken = set(subjects)
    compared: set[tuple[str, str]] = set()
    matched: set[str] = set()
    for point in prior.points:
        shift = _shift(structures, point.landmarks)
        left = [
            (one, other)
            for one in mine
            for other in point.lesions_at
            if one.key not in matched
            and other.key not in taken
            and (one.key, other.key) not in compared
            and _comparable(one, other, shift)
        ]
        compared.update((one.key, other.key) for one, other in left)
        near = [(n[0], one, other, n[1]) for one, other in left if (n := _near(one, other, shift)) is not None]
        near.sort(key=lambda p: (p[0], p[1].key, p[2].key))
        for distance, one, other, how in near:
            if one.key not in matched and other.key not in taken:
                matched.add(one.key)
                taken.add(other.key)
                match = Match(
                    subject=subjects[one.key].key,
                    tracking_uid=other.key,
                    label=other.label,
                    date=point.study_date,
                    distance_mm=distance,
                    reason=f"{how}{_sizes(one, other)}",
                )
                found.append(match)
    return tuple(found)


def tracked(prior: PriorReport) -> frozenset[str]:
    """Return the tracking UIDs that are known from a time point or before it."""
    found = {le.tracking_uid for point in prior.points for le in point.lesions}
    found |= {s.tracking_uid for p in prior.points if p.report is not None for s in p.report.subjects_of(Scope.LESION)}
    return frozenset(found - {""})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shift:
    """How far the body lies from where it lay, by structures that both time points show."""

    vector: tuple[float, float, float]
    names: tuple[str, ...]


def _shift(here: tuple[Place, ...], there: tuple[Place, ...]) -> _Shift | None:
    """Return the mean shift of the common structures; None where there are fewer than two, or they do not agree."""
    before = {p.key: p for p in there}
    common = [(before[p.key], p) for p in here if p.key in before]
    if len(common) < 2:  # noqa: PLR2004 - one structure alone may have been segmented otherwise
        return None
    moves = [tuple(b - a for a, b in zip(old.position, new.position, strict=True)) for old, new in common]
    mean = (
        sum(m[0] for m in moves) / len(moves),
        sum(m[1] for m in moves) / len(moves),
        sum(m[2] for m in moves) / len(moves),
    )
    if any(math.dist(m, mean) > _LANDMARK_MM for m in moves):
        return None
    return _Shift(vector=mean, names=tuple(new.label for _, new in common))


def _same_frame(one: Place, other: Place) -> bool:
    return bool(one.frame_of_reference) and one.frame_of_reference == other.frame_of_reference


def _comparable(one: Place, other: Place, shift: _Shift | None) -> bool:
    """Say whether anything tells how far apart two places are."""
    return shift is not None or _same_frame(one, other)


def _near(one: Place, other: Place, shift: _Shift | None) -> tuple[float, str] | None:
    """Return how far apart two lesions lie and by what, in words; None where they are not near, or not alike in size."""
    if _ratio(one, other) > MOST_CHANGE:
        return None
    reach = max(one.long_axis_mm or 0.0, other.long_axis_mm or 0.0) / 2
    if _same_frame(one, other):
        distance = math.dist(one.position, other.position)
        how = f"its centre is {distance:.0f} mm away in the same frame of reference"
        return (distance, how) if distance <= max(SAME_PLACE_MM, reach) else None
    if shift is None:
        return None
    moved = tuple(a + b for a, b in zip(other.position, shift.vector, strict=True))
    distance = math.dist(one.position, moved)
    how = f"its centre is {distance:.0f} mm away once {' and '.join(shift.names)} are laid over each other"
    return (distance, how) if distance <= max(ALIKE_PLACE_MM, reach) else None


def _ratio(one: Place, other: Place) -> float:
    """Return how many times larger the larger one is, by volume; 1 where that is not known."""
    if not one.volume_mm3 or not other.volume_mm3:
        return 1.0
    return max(one.volume_mm3 / other.volume_mm3, other.volume_mm3 / one.volume_mm3)


def _sizes(one: Place, other: Place) -> str:
    if one.volume_mm3 and other.volume_mm3:
        return f", volume {other.volume_mm3 / 1000:.1f} mL then and {one.volume_mm3 / 1000:.1f} mL now"
    if one.long_axis_mm and other.long_axis_mm:
        return f", long axis {other.long_axis_mm:.0f} mm then and {one.long_axis_mm:.0f} mm now"
    return ""


# --- what is asked -------------------------------------------------------------------------------------------------------


def questions(report: Report, prior: PriorReport | None) -> tuple[str, ...]:
    """Return what a radiologist is asked about lesions that one time point shows and another does not, in words.

    Nothing is called new or gone here. A lesion that may be an earlier one is asked about where that is suggested (``fu.same_as``).
    """
    newest = next(((p.study_date, p.report) for p in prior.points if p.report is not None), None) if prior else None
    if prior is None or newest is None:
        return ()
    known, lesions = tracked(prior), report.subjects_of(Scope.LESION)
    named = {s.key: _named(report, s.key) for s in lesions}
    asked = [
        f"{s.key} has a tracking UID that no earlier examination has: whether it is a new lesion, or a known one under another UID, is "
        "for the radiologist to say"
        for s in lesions
        if s.tracking_uid not in known and not named[s.key]
    ]
    here = {s.tracking_uid for s in lesions}.union(*named.values())
    date, before = newest
    asked += [
        f"{s.tracking_id or s.key} of {day(date)} has no measurement in this examination: whether it is gone, was not measured, or "
        "stands here under another UID, is for the radiologist to say"
        for s in before.subjects_of(Scope.LESION)
        if s.tracking_uid and s.tracking_uid not in here and _measured(before, s)
    ]
    return tuple(asked)


def _named(report: Report, lesion: str) -> set[str]:
    """Return the tracking UIDs of earlier lesions that a lesion is, or may be."""
    return {v.value for a in report.answers_of("fu.same_as", lesion) for v in a.values if isinstance(v, Uid)}


def _measured(report: Report, lesion: Subject) -> bool:
    """Say whether a lesion had a size above 0."""
    return any(
        isinstance(v, Quantity) and v.number is not None and v.number > 0
        for item in ("sz.long_axis", "sz.short_axis", "sz.volume", "sz.max3d")
        for a in report.answers_of(item, lesion.key)
        if evaluated(a)
        for v in a.values
    )
