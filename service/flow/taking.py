"""What comes back as an SR: edits of our own reports, and what was measured in a viewer. Their content becomes part of the draft.

Pure. Of an edit of ours only what was changed is taken: against the version that it was an edit of (where the registry does not
know that version any more: what persons had confirmed in it). Of the reports of others, numbers and
coded findings about a lesion that has the same tracking UID, where a question of the template asks for exactly that concept; a new lesion
is made only where the report calls its finding a tumour. Nothing is mapped by its wording. What a person verified counts as confirmed by
that person; everything else is proposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from service.flow.carry import Difference, agree, difference
from service.model.code import Code
from service.model.foreign import (
    Evaluation,
    Evidence,
    ForeignGroup,
    ForeignMeasurement,
    ForeignReport,
    GraphicType,
    Verification,
)
from service.model.measurement import Reference
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject, Uid
from sr_templates import Item, ItemType, Template, load_codes
from sr_templates.language.values import Fill
from sr_templates.order import canonical

_FINDING = "tid.finding"
#: Neoplasm; Neoplasm, Primary; Malignant neoplasm, primary (as 3D Slicer has it): what makers of segmentations and viewers call a mass
_NEOPLASMS = frozenset({"108369006", "372087000", "86049000"})
_SITE, _SIDE = "tid.finding_site", "tid.laterality"
_LINE_ENDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """One SR that is in the study and did not come from our outbox."""

    reference: Reference
    #: Instance Number (0020,0013)
    number: int | None = None
    #: it stands in a series of ours: somebody edited a document of ours
    edit: bool = False
    #: Content Date and Time, as written: the later one counts
    written: str = ""
    #: read as a report of ours
    report: Report | None = None
    #: the version that it is an edit of
    base: Report | None = None
    #: read as a report of somebody else
    foreign: ForeignReport | None = None
    #: PN of who verified it; empty: nobody
    verifier: str = ""


def of_foreign(foreign: ForeignReport, reference: Reference, *, edit: bool = False) -> Returned:
    """Return somebody else's report as something to take in."""
    return Returned(
        reference=reference,
        number=foreign.instance_number,
        edit=edit,
        written=foreign.content_date + foreign.content_time,
        foreign=foreign,
        verifier=verifier_of(foreign),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A draft with what came back."""

    report: Report
    #: the SRs whose content is in it, in order of their UIDs
    included: tuple[Reference, ...] = ()
    differences: tuple[Difference, ...] = ()
    #: how many fields were taken
    fields: int = 0


def take(fresh: Report, returned: Iterable[Returned], template: Template) -> Taken:
    """Return the draft with the content of everything that came back; `carry` and `derive` have to follow.

    Parameters
    ----------
    fresh:
        What images and segmentations say.
    returned:
        In any order: the result does not depend on it. The later one of two counts, and the earlier one is told as a difference.
    template:
        The template of ``fresh``.
    """
    work = _Work(fresh, template)
    for one in sorted(returned, key=lambda r: (r.written, r.number or 0, r.reference.sop_instance_uid)):
        if one.report is not None:
            work.take_edit(one, one.report)
        elif one.foreign is not None:
            work.take_foreign(one, one.foreign)
    included = tuple(sorted(work.included, key=lambda r: r.sop_instance_uid))
    return Taken(
        report=canonical(work.report, template),
        included=included,
        differences=tuple(dict.fromkeys(work.differences)),
        fields=work.fields,
    )


class _Work:
    """Puts one SR after the other into a report."""

    def __init__(self, report: Report, template: Template) -> None:
        self.report = report
        self.template = template
        self.included: list[Reference] = []
        self.differences: list[Difference] = []
        self.fields = 0
        self._items = tuple(i for i in template if i.scope is Scope.LESION)

    # --- an edit of ours ---------------------------------------------------------------------------------------------------

    def take_edit(self, one: Returned, edited: Report) -> None:
        """Take what an edit changed."""
        if one.base is None:
            self._restore(one, edited)
            return
        base = one.base
        places = dict.fromkeys((a.item, a.subject) for a in (*edited.answers, *base.answers))
        for item_key, key in places:
            item = self.template.item(item_key)
            if item is None or item.fill in {Fill.AUTOMATIC, Fill.DERIVED, Fill.SIGNING}:
                continue
            now, then = edited.answers_of(item_key, key), base.answers_of(item_key, key)
            if not now or agree(now, then):
                # what somebody left out is no statement that it is not so
                continue
            subject = self._subject_of_edit(edited, key)
            if subject is not None:
                self._put(
                    [self._as_taken(replace(a, subject=subject), one, "changed in an edited report") for a in now]
                )
        self.included.append(one.reference)

    def _restore(self, one: Returned, edited: Report) -> None:
        """Take what persons confirmed in a report of ours that the registry does not know any more, as it stands."""
        places = dict.fromkeys((a.item, a.subject) for a in edited.answers if a.status is Status.CONFIRMED)
        for item_key, key in places:
            item = self.template.item(item_key)
            if item is None or item.fill is Fill.SIGNING:
                continue
            subject = self._subject_of_edit(edited, key)
            if subject is not None:
                self._put([replace(a, subject=subject) for a in edited.answers_of(item_key, key)])
        self.included.append(one.reference)

    def _subject_of_edit(self, edited: Report, key: str) -> str | None:
        if not key:
            return ""
        subject = edited.subject(key)
        if subject is None:
            return None
        for there in self.report.subjects:
            same_place = there.scope is subject.scope and there.key == subject.key
            if same_place and (there.tracking_uid == subject.tracking_uid or subject.structure is not None):
                return there.key
            if there.scope is subject.scope and subject.tracking_uid and there.tracking_uid == subject.tracking_uid:
                return there.key
        if subject.scope is Scope.SERIES:
            return None
        return self._add(subject)

    def _add(self, subject: Subject) -> str:
        used = {s.key for s in self.report.subjects}
        if subject.key in used:
            subject = replace(subject, key=next(k for n in range(1, len(used) + 2) if (k := f"LMS-T{n}") not in used))
        self.report = replace(self.report, subjects=(*self.report.subjects, subject))
        if subject.scope is Scope.LESION:
            identity: tuple[tuple[str, str | Uid], ...] = (
                ("tid.tracking_id", subject.tracking_id),
                ("tid.tracking_uid", Uid(subject.tracking_uid)),
            )
            rows = tuple(
                Answer(item=k, subject=subject.key, values=(v,), status=Status.AUTOMATIC, provenance=Provenance.RULE)
                for k, v in identity
                if self.template.item(k) is not None
            )
            self.report = replace(self.report, answers=(*self.report.answers, *rows))
        return subject.key

    # --- a report of somebody else -----------------------------------------------------------------------------------------

    def take_foreign(self, one: Returned, foreign: ForeignReport) -> None:
        """Take what the groups of a viewer's report say about our lesions."""
        before, understood, left = self.fields, 0, 0
        for group in foreign.groups:
            subject = self._lesion(group)
            numbers = [] if subject is None else list(self._numbers(group, subject, one))
            understood += bool(numbers)
            # a line that no question asks for would be hidden by the next version of ours
            left += len(group.measurements) > len(numbers)
            if subject is None:
                continue
            by_item: dict[str, list[Answer]] = {}
            for answer in (*numbers, *self._findings(group, subject, one)):
                by_item.setdefault(answer.item, []).append(answer)
            for found in by_item.values():
                self._put(found)
        if (understood and not left) if one.edit else self.fields > before:
            self.included.append(one.reference)

    def _lesion(self, group: ForeignGroup) -> str | None:
        lesions = self.report.subjects_of(Scope.LESION)
        known = next((s for s in lesions if group.tracking_uid and s.tracking_uid == group.tracking_uid), None)
        # whoever measured a segment need not have kept its tracking UID
        known = known or next((s for s in lesions if any(_same_segment(s, r) for r in group.segments)), None)
        if known is not None:
            return known.key
        finding = self.template.item(_FINDING)
        tumour = (
            group.finding is not None and finding is not None and any(group.finding.same(v) for v in finding.values)
        )
        if not tumour or not group.tracking_uid or not any(True for m in group.measurements for _ in self._asking(m)):
            return None
        key = f"LMS-T{len(lesions) + 1}"
        identifier = (group.tracking_id or key)[:64].strip() or key
        return self._add(Subject(key=key, scope=Scope.LESION, tracking_id=identifier, tracking_uid=group.tracking_uid))

    def _asking(self, measurement: ForeignMeasurement) -> Iterator[Item]:
        """Yield the questions that ask for a number of this concept and unit."""
        for item in self._items:
            right = item.type is ItemType.NUMBER and item.unit is not None and measurement.concept.same(item.concept)
            if right and item.unit is not None and measurement.unit is not None and item.unit.same(measurement.unit):
                yield item

    def _numbers(self, group: ForeignGroup, subject: str, one: Returned) -> Iterator[Answer]:
        taken: set[tuple[str, str]] = set()
        for measurement in group.measurements:
            for item in self._asking(measurement):
                quantity = _quantity(item, measurement)
                derivation = measurement.derivation.code if measurement.derivation else None
                place = (item.key, derivation.value if derivation else "")
                if derivation is not None and not derivation.same(_mean()):
                    continue
                if quantity is None or place in taken or not item.applies_to(self.report.modalities):
                    continue
                taken.add(place)
                answer = Answer(
                    item=item.key,
                    subject=subject,
                    values=(quantity,),
                    status=Status.PROPOSED,
                    provenance=Provenance.MEASUREMENT_SR,
                    derivation=derivation,
                    evidence=tuple(_references(measurement.evidence or group.evidence, drawn=one.edit)),
                )
                yield self._as_taken(answer, one, "measured in a viewer")
                break

    def _findings(self, group: ForeignGroup, subject: str, one: Returned) -> Iterator[Answer]:
        coded: list[tuple[str, Code]] = []
        if group.finding is not None:
            coded.append((_FINDING, _finding(group.finding.code, one)))
        if group.sites:
            coded.append((_SITE, group.sites[0].site.code))
            if group.sites[0].laterality is not None:
                coded.append((_SIDE, group.sites[0].laterality.code))
        coded += [(i.key, v) for e in group.evaluations for i, v in self._evaluated(e)]
        for key, value in coded:
            item = self.template.item(key)
            if item is None or item.fill is not Fill.PERSON:
                continue
            allowed = next((v for v in item.values if v.same(value)), value if item.extensible else None)
            if allowed is not None:
                answer = Answer(
                    item=key,
                    subject=subject,
                    values=(allowed,),
                    status=Status.PROPOSED,
                    provenance=Provenance.MEASUREMENT_SR,
                )
                yield self._as_taken(answer, one, "stated in a viewer")

    def _evaluated(self, evaluation: Evaluation) -> Iterator[tuple[Item, Code]]:
        if isinstance(evaluation.value, str):
            return
        for item in self._items:
            if item.type in {ItemType.CODE, ItemType.CODES} and evaluation.concept.same(item.concept):
                yield item, evaluation.value.code

    # --- both --------------------------------------------------------------------------------------------------------------

    def _as_taken(self, answer: Answer, one: Returned, how: str) -> Answer:
        """Return an answer with where it comes from: confirmed by whoever verified the SR, else proposed."""
        if one.verifier:
            return replace(
                answer,
                status=Status.CONFIRMED,
                provenance=Provenance.RADIOLOGIST,
                observer=one.verifier,
                evidence=answer.evidence if one.report is None else (),
                basis=how,
            )
        return replace(
            answer,
            status=Status.PROPOSED,
            provenance=Provenance.MEASUREMENT_SR,
            observer="",
            evidence=answer.evidence if one.report is None else (),
            basis=how,
        )

    def _put(self, answers: list[Answer]) -> None:
        """Put answers to one question in the place of what the facts said before."""
        first = answers[0]
        before = self.report.answers_of(first.item, first.subject)
        if before and agree(answers, before) and answers[0].status is not Status.CONFIRMED:
            return
        if before and not agree(answers, before):
            self.differences.append(difference(answers, before))
        statistics = {_statistic(a) for a in answers}
        # another statistic of the same number stays, but not beside a value that says something else altogether
        kept = tuple(
            a
            for a in self.report.answers
            if (a.item, a.subject) != (first.item, first.subject)
            or (all(statistics) and _statistic(a) and _statistic(a) not in statistics)
        )
        self.report = replace(self.report, answers=(*kept, *answers))
        self.fields += 1


def _statistic(answer: Answer) -> str:
    return answer.derivation.value if answer.derivation else ""


def _mean() -> Code:
    """Return the one statistic that a question for a number asks for."""
    return load_codes()["deriv.mean"]


def _same_segment(subject: Subject, reference: Reference) -> bool:
    mine = subject.segment
    return mine is not None and (mine.sop_instance_uid, mine.segment) == (reference.sop_instance_uid, reference.segment)


def _quantity(item: Item, measurement: ForeignMeasurement) -> Quantity | None:
    if measurement.value is None or item.unit is None or not measurement.value.is_finite():
        return None
    if (item.low is not None and measurement.value < item.low) or (
        item.high is not None and measurement.value > item.high
    ):
        return None
    return Quantity(number=measurement.value.quantize(Decimal(1).scaleb(-item.decimals), ROUND_HALF_UP), unit=item.unit)


def _references(evidence: Iterable[Evidence], *, drawn: bool) -> Iterator[Reference]:
    """Yield the images that something was measured on.

    ``drawn``: with the line, since the next version of our measurements replaces the one it stands in. A line that stands in a
    viewer's own report is not drawn a second time.
    """
    for one in evidence:
        for image in one.images:
            if image.segment is not None:
                continue
            line = one.graphic
            points: tuple[tuple[float, float], ...] = ()
            if drawn and line is not None and line.kind is GraphicType.POLYLINE and len(line.points) == _LINE_ENDS:
                points = tuple((round(p[0], 2), round(p[1], 2)) for p in line.points if len(p) == _LINE_ENDS)
            yield Reference(
                sop_class_uid=image.sop_class_uid,
                sop_instance_uid=image.sop_instance_uid,
                series_instance_uid=image.series_instance_uid,
                frames=image.frames,
                points=points if len(points) == _LINE_ENDS else (),
            )


def verifier_of(foreign: ForeignReport) -> str:
    """Return who verified a report of somebody else (PN); empty where nobody did."""
    if foreign.verification is not Verification.VERIFIED:
        return ""
    return next((v.name for v in foreign.verifiers if v.name.strip()), "")


def _finding(code: Code, one: Returned) -> Code:
    """Return a finding as it may be proposed: before tissue diagnosis a tumour is a mass, unless a person has signed for more."""
    neoplasm = code.scheme == "SCT" and code.value in _NEOPLASMS
    return load_codes()["tum.mass"] if neoplasm and not one.verifier else code
