"""``lms-sr measure``: what was measured in a folder, and each study beside the earlier ones of its patient, in words or as JSON."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import AsJson, Config, complain, load, plain, say, say_json, table
from service.errors import InputError

if TYPE_CHECKING:
    from decimal import Decimal

    from service.flow.declared import Declared
    from service.model.comparison import Change, LesionOverTime, ResponseOverTime, StudyOverTime
    from service.model.measurement import SegmentMeasurements
    from service.model.relation import Relation

_DAY = len("YYYYMMDD")


class YesNo(enum.StrEnum):
    """What a question takes."""

    YES = "yes"
    NO = "no"


class ByMethod(enum.StrEnum):
    """What ``--method`` takes."""

    RECIST = "recist"
    CHOI = "choi"
    MCHOI = "mchoi"


class Others(enum.StrEnum):
    """What ``--non-targets`` takes."""

    GONE = "gone"
    STABLE = "stable"
    PROGRESSING = "progressing"


def measure(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files, at any depth.", show_default=False)],
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="LESION",
            help="A target lesion: its key in the newest study (LMS-T1) or its tracking UID; may be given several times. What it measured "
            "in the oldest study is the baseline, unless a report says otherwise; all other known lesions are non-targets.",
            show_default=False,
        ),
    ] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(
            "--same-as",
            metavar="LESION=UID",
            help="A lesion is the one that goes by this tracking UID in an earlier study; may be given several times.",
            show_default=False,
        ),
    ] = None,
    new_lesion: Annotated[
        YesNo | None,
        typer.Option("--new-lesion", help="Whether the newest study shows a new lesion.", show_default=False),
    ] = None,
    new_nodule: Annotated[
        YesNo | None,
        typer.Option(
            "--new-nodule",
            help="Whether a nodule in the tumour is new or grows in the newest study (Choi).",
            show_default=False,
        ),
    ] = None,
    non_targets: Annotated[
        Others | None,
        typer.Option("--non-targets", help="What all non-targets together do in the newest study.", show_default=False),
    ] = None,
    method: Annotated[
        ByMethod | None,
        typer.Option(
            "--method", help="Response by RECIST 1.1 (the default), Choi or modified Choi.", show_default=False
        ),
    ] = None,
    phases: Annotated[
        bool, typer.Option("--confirm-phases", help="The phases of contrast that the headers propose are right.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Measure every segment and every contoured ROI in a folder, and how tumours lie to vessels and organs: mm, mm2, mm3, degrees.

    Axes, diameters, extents and volumes; attenuation on CT, uptake on PET, diffusion on ADC maps, signal on other MR images; of vessels
    and organs in the same space distance, contact, and for the vena cava the level. What could not be measured says why.

    Several studies of one patient are compared, each with all earlier ones: which lesion is which and why, volumes, doubling times, the
    course, and the response as far as it follows. What you say with an option counts for this listing alone, and nothing is kept.

    Example: lms-sr measure ./patient --target LMS-T1 --new-lesion no
    """
    from service import offline
    from service.measure import listing

    declared = _declared(targets, same, new_lesion, new_nodule, non_targets, method, phases=phases)
    found = offline.measure(load(config), folder, declared)
    if as_json:
        say_json(
            {
                "segments": listing.segments(found.segments),
                "studies": plain(found.studies),
                "left_out": plain(found.left_out),
            }
        )
        return
    for _, segment in found.segments:
        _say_segment(segment)
    if not found.segments:
        say("no segmentation and no structure set in this folder")
    for study in found.studies:
        _say_study(study)
    for reason in (*found.left_out, *(r for s in found.studies for r in s.left_out)):
        complain(f"left out: {reason}")


def _declared(
    targets: list[str] | None,
    same: list[str] | None,
    new_lesion: YesNo | None,
    new_nodule: YesNo | None,
    non_targets: Others | None,
    method: ByMethod | None,
    *,
    phases: bool,
) -> Declared:
    from service.flow.declared import Declared, Method, NonTargets

    pairs = []
    for text in same or ():
        lesion, sign, uid = (part.strip() for part in text.partition("="))
        if not (lesion and sign and uid):
            msg = f"--same-as '{text}': write LESION=UID, a lesion's key or tracking UID and the UID that it goes by in an earlier study"
            raise InputError(msg)
        pairs.append((lesion, uid))
    return Declared(
        targets=tuple(targets or ()),
        same=tuple(pairs),
        new_lesion=_said(new_lesion),
        new_nodule=_said(new_nodule),
        non_targets=NonTargets(non_targets.value) if non_targets is not None else None,
        method=Method(method.value) if method is not None else None,
        phases=phases,
    )


def _said(word: YesNo | None) -> bool | None:
    return None if word is None else word is YesNo.YES


# --- segments --------------------------------------------------------------------------------------------------------------


def _say_segment(segment: SegmentMeasurements) -> None:
    role = f" ({segment.role})" if segment.role else ""
    say(f"{segment.kind.value} {segment.segment} '{segment.label}'{role} of {segment.source.sop_instance_uid}")
    numbers = (*segment.measurements, *segment.on_other_series)
    rows = [(f"  {m.name}", f"{m.value:.2f}", m.unit, m.derivation, m.method) for m in numbers]
    if rows:
        say(table(("  what", "value", "unit", "derivation", "method"), rows))
    for remark in (*segment.remarks, *segment.refusals):
        say(f"  {remark}")
    for relation in segment.relations:
        _say_relation(relation)


def _say_relation(relation: Relation) -> None:
    """Print how a tumour lies to one structure."""
    side = f", {relation.laterality.removeprefix('v.')}" if relation.laterality else ""
    mark = "segment" if relation.structure.roi is None else "ROI"
    say(f"  to {mark} {relation.structure.number} '{relation.label}' ({relation.role}{side})")
    rows = [(f"    {m.name}", f"{m.value:.2f}", m.unit, m.method) for m in relation.measurements]
    rows += [(f"    {s.item}", ", ".join(s.values), "", s.basis) for s in relation.suggestions]
    if (inside := relation.intravascular) is not None:
        rows.append(("    within the outline", f"{inside.volume:.2f}", "mm3", f"up to {inside.depth:.1f} mm deep"))
    if rows:
        say(table(("    what", "value", "unit", "method"), rows))
    for remark in (*relation.remarks, *relation.refusals):
        say(f"    {remark}")


# --- studies ---------------------------------------------------------------------------------------------------------------


def _say_study(study: StudyOverTime) -> None:
    say()
    say(f"study {study.study_instance_uid} of {_day(study.study_date)}")
    for one in study.compared_with:
        say(f"  compared with {_day(one.study_date)} ({one.by}), {one.study_instance_uid}")
    if not study.compared_with:
        why = "" if study.not_compared else ": no study of its patient in this folder is earlier"
        say(f"  compared with nothing{why}")
    for reason in study.not_compared:
        say(f"  not compared: {reason}")
    for lesion in study.lesions:
        _say_lesion(lesion)
    for number in study.taken_in:
        maker = number.maker or "a maker that it does not name"
        doubt = "" if number.status.value == "confirmed" else ", nobody verified it"
        say(
            f"  taken in for {number.lesion}: {number.label} {number.value:f} {number.unit}, from a structured report of {maker} "
            f"({number.source_sop_instance_uid}{doubt})"
        )
    if study.response is not None:
        _say_response(study.response)
    for question in study.questions:
        say(f"  to be answered: {question}")
    for remark in study.remarks:
        say(f"  {remark}")


def _say_lesion(lesion: LesionOverTime) -> None:
    called = f" '{lesion.tracking_id}'" if lesion.tracking_id not in {"", lesion.key} else ""
    say(f"  {lesion.key}{called}, tracking UID {lesion.tracking_uid}")
    for size in lesion.sizes:
        doubt = "" if size.status.value == "confirmed" else "proposed, "
        say(f"    {size.label}: {size.value:f} {size.unit} ({doubt}{size.provenance.value}: {size.basis})")
    if (match := lesion.match) is not None:
        if match.how.value == "suggested":
            say(
                f"    may be {match.reason}; compared once you say so: --same-as {lesion.tracking_uid}={match.tracking_uid}"
            )
        else:
            say(f"    is {match.label} of {_day(match.study_date)}: {match.reason}")
    for row in lesion.course:
        say(f"    course: {row}")
    if lesion.change is not None:
        for line in _changes(lesion.change):
            say(f"    {line}")
    for remark in lesion.remarks:
        say(f"    {remark}")


def _changes(change: Change) -> Iterator[str]:
    days = f", {change.days:f} days" if change.days is not None else ""
    since = f"since {_day(change.since)}{days}"
    if change.volume_change_percent is not None:
        yield (
            f"volume {change.volume_before_ml:f} mL then, {change.volume_ml:f} mL now: {change.volume_change_percent:+f} % {since}"
        )
    if change.long_axis_change_percent is not None:
        yield (
            f"long axis {change.long_axis_before_mm:f} mm then, {change.long_axis_mm:f} mm now: "
            f"{change.long_axis_change_percent:+f} % {since}"
        )
    if change.doubling_time_days is not None:
        yield f"volume doubling time {change.doubling_time_days:f} days"
    if change.growth_percent_per_day is not None:
        yield f"specific growth rate {change.growth_percent_per_day:+f} % a day"
    if change.attenuation_change_hu is not None:
        yield (
            f"mean attenuation {change.attenuation_before_hu:f} HU then, {change.attenuation_hu:f} HU now: "
            f"{change.attenuation_change_hu:+f} HU"
        )
    yield from change.not_given


def _say_response(response: ResponseOverTime) -> None:
    say(f"  response by {response.method} (proposed)")
    if response.targets:
        base = f", baseline of {_day(response.baseline_date)}" if response.baseline_date else ""
        say(f"    targets: {', '.join(response.targets)}{base}")
    for label, value, unit in (
        ("sum of target diameters", response.sum_mm, "mm"),
        ("baseline sum", response.baseline_sum_mm, "mm"),
        ("nadir", response.nadir_mm, "mm"),
        ("change from baseline", response.change_from_baseline_percent, "%"),
        ("change from nadir", response.change_from_nadir_percent, "%"),
        ("change from nadir", response.change_from_nadir_mm, "mm"),
        ("change of mean attenuation from baseline", response.attenuation_change_percent, "%"),
    ):
        if value is not None:
            say(f"    {label}: {_number(label, value)} {unit}{_nadir(label, response)}")
    for row in response.course:
        say(f"    course: {row}")
    for label, word in (
        ("target response", response.target_response),
        ("overall response", response.overall_response),
        (f"response by {response.method}", response.choi_response),
    ):
        if word is not None:
            say(f"    {label}: {word}")
    for line in (*response.remarks, *response.not_given):
        say(f"    {line}")


def _number(label: str, value: Decimal) -> str:
    return f"{value:+f}" if label.startswith("change") else f"{value:f}"


def _nadir(label: str, response: ResponseOverTime) -> str:
    return f" ({response.nadir_basis})" if label == "nadir" and response.nadir_basis else ""


def _day(date: str) -> str:
    """Return a Study Date (DA) as it is read."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == _DAY else "an unknown date"
