"""The measurement companion: TID 1500 under the title 126000, which viewers draw on the images and can edit.

Only groups with a graphic, since a viewer stays blank when one has none: TID 1501 with the NUM that holds its SCOORD. A value and its
line always agree, because a viewer recomputes the value from the line. What has no line stays in the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from service.model.measurement import Reference
from service.model.report import Answer, Quantity, Report, Scope, Status, Subject
from service.sr import items, words
from service.sr.encode import preamble
from service.sr.items import ContentItem
from sr_templates import Item, Template

Profile = Literal["standard", "ohif"]

#: the tracking identifier that makes a two-diameter measurement editable in OHIF (cornerstone3D adapters)
OHIF_BIDIRECTIONAL = "Cornerstone3DTools@^0.1.0:Bidirectional"
_LINES = ("sz.long_axis", "sz.short_axis")
#: a measured value may differ from its line by this much, in mm, for the rounding of both
TOLERANCE_MM = 0.06
#: the comment is the title in a viewer's measurement list, which cuts it
COMMENT_LENGTH = 45


def companion(
    report: Report, template: Template, spacing: Mapping[str, tuple[float, float]], profile: Profile
) -> ContentItem | None:
    """Return the root container of the companion, or None where the report has no line to draw.

    Parameters
    ----------
    report, template:
        The report and its template.
    spacing:
        SOP Instance UID → (row, column) spacing in mm of the images that lines are drawn on.
    profile:
        How tracking identifiers are worded.
    """
    groups = [
        g for s in report.subjects_of(Scope.LESION) if (g := _group(report, template, s, spacing, profile)) is not None
    ]
    if not groups:
        return None
    root = items.container(items.key("tid.title.imaging"), relation=None, template="1500")
    items.add(root, *preamble(report, template))
    items.add(root, _library(report))
    items.add(root, items.container(items.key("tid.imaging_measurements"), groups))
    return root


def _group(
    report: Report, template: Template, subject: Subject, spacing: Mapping[str, tuple[float, float]], profile: Profile
) -> ContentItem | None:
    lines = [
        (item, answer, line)
        for name in _LINES
        if (item := template.item(name)) is not None
        for answer in report.answers_of(name, subject.key)
        if (line := _line(answer)) is not None and agrees(answer, line, spacing)
    ]
    if not lines or lines[0][0].key != _LINES[0]:
        return None
    identifier = f"{OHIF_BIDIRECTIONAL} {subject.tracking_id}" if profile == "ohif" else subject.tracking_id
    proposed = any(a.status is Status.PROPOSED for _, a, _ in lines)
    children = [
        items.text(items.key("tid.comment"), comment(report, subject, proposed=proposed)),
        items.text(items.key("tid.tracking_id"), identifier, items.HAS_OBS_CONTEXT),
        items.uid(items.key("tid.tracking_uid"), subject.tracking_uid, items.HAS_OBS_CONTEXT),
        *_coded(report, template, subject),
        *(_number(item, answer, line) for item, answer, line in lines),
    ]
    return items.container(items.key("tid.measurement_group"), children, template="1501")


def comment(report: Report, subject: Subject, *, proposed: bool) -> str:
    """Return the title of a group in a viewer's list."""
    size = " x ".join(
        words.number(v, digits=0).split(" ")[0]
        for name in _LINES
        for a in report.answers_of(name, subject.key)
        for v in a.values
        if isinstance(v, Quantity)
    )
    return f"{'DRAFT, proposed: ' if proposed else ''}{subject.key} {size} mm"[:COMMENT_LENGTH]


def _coded(report: Report, template: Template, subject: Subject) -> Iterable[ContentItem]:
    for name, relation in (("tid.finding", items.CONTAINS), ("tid.finding_site", items.HAS_CONCEPT_MOD)):
        item = template.item(name)
        for answer in report.answers_of(name, subject.key):
            for value in answer.values:
                if item is not None:
                    yield items.value(item.concept, value, relation)


def _number(item: Item, answer: Answer, line: Reference) -> ContentItem:
    number = items.value(item.concept, answer.values[0])
    items.add(number, items.graphic(items.key("tid.source_of_measurement"), line))
    return number


def _line(answer: Answer) -> Reference | None:
    lines = [e for e in answer.evidence if len(e.points) == 2]  # noqa: PLR2004 - a line has two ends
    return lines[0] if len(lines) == 1 and answer.values and isinstance(answer.values[0], Quantity) else None


def agrees(answer: Answer, line: Reference, spacing: Mapping[str, tuple[float, float]]) -> bool:
    """Say whether the value is the length of its line: a number that was changed without its line leaves the companion."""
    between = spacing.get(line.sop_instance_uid)
    value = answer.values[0]
    if between is None or not isinstance(value, Quantity) or value.number is None:
        return False
    (x0, y0), (x1, y1) = line.points
    return abs(math.hypot((x1 - x0) * between[1], (y1 - y0) * between[0]) - float(value.number)) <= TOLERANCE_MM


def _library(report: Report) -> ContentItem:
    pointed = {e.sop_instance_uid: e for a in report.answers for e in a.evidence if e.points}
    images = [
        items.image(
            items.key("tid.source"),
            Reference(sop_class_uid=e.sop_class_uid, sop_instance_uid=uid, series_instance_uid=e.series_instance_uid),
        )
        for uid, e in sorted(pointed.items())
    ]
    return items.container(
        items.key("tid.image_library"), [items.container(items.key("tid.image_library_group"), images)]
    )
