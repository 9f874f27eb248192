"""What comes back as an SR: edits of our own reports, and what was measured in a viewer. Their content becomes part of the draft.

Pure. Of an edit of ours only what was changed is taken: against the version that it was an edit of (where the registry does not
know that version any more: what persons had confirmed in it). Of the reports of others, numbers and
coded findings about a lesion that has the same tracking UID, where a question of the template asks for exactly that concept; a new lesion
is made only where the report calls its finding a tumour. Nothing is mapped by its wording. What a person verified counts as confirmed by
that person; everything else is proposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from service.flow.carry import NUMBERED, Came, Difference, Rank, agree, difference, rank, same_segment, same_uid
from service.flow.honesty import MEASURING, lines_told
from service.flow.viewer import finding_of, on_segment, quantity_of, references_of
from service.model.code import Code
from service.model.foreign import (
    Evaluation,
    ForeignGroup,
    ForeignMeasurement,
    ForeignReport,
    Verification,
)
from service.model.measurement import Reference
from service.model.report import Answer, Provenance, Report, Scope, Status, Subject, Uid
from service.settings import Measuring
from sr_templates import Item, ItemType, Template, load_codes
from sr_templates.language.values import Fill
from sr_templates.order import canonical

_FINDING = "tid.finding"
_SITE, _SIDE = "tid.finding_site", "tid.laterality"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the study says of what came back."""

    #: SOP Instance UID and number of segments → the lesion that each is a mark of
    marks: Mapping[tuple[str, int], str] = field(default_factory=dict)
    #: Pixel Spacing (rows, columns) in mm of the images, by SOP Instance UID
    spacings: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: how far a length may differ from its own line
    measuring: Measuring = MEASURING


_NOTHING = Look()


def take(fresh: Report, returned: Iterable[Returned], template: Template, look: Look = _NOTHING) -> Taken:
    """Return the draft with the content of everything that came back; `carry` and `derive` have to follow.

    Parameters
    ----------
    fresh:
        What images and segmentations say.
    returned:
        In any order: the result does not depend on it. What a person confirmed or verified stands over what nobody did, else the later
        one of two; the other is told as a difference.
    template:
        The template of ``fresh``.
    look:
        The lesions' segments, and the images that lines are drawn on.
    """
    work = _Work(fresh, template, look)
    for one in sorted(returned, key=lambda r: (r.written, r.number or 0, r.reference.sop_instance_uid)):
        if one.report is not None:
            work.take_edit(one, one.report)
        elif one.foreign is not None:
            work.take_foreign(one, one.foreign)
    included = tuple(sorted(work.included, key=lambda r: r.sop_instance_uid))
    return Taken(
        report=canonical(work.report, template),
        included=included,
        differences=tuple(dict.fromkeys(work.differences())),
        fields=work.fields,
    )


class _Work:
    """Puts one SR after the other into a report."""

    def __init__(self, report: Report, template: Template, look: Look) -> None:
        self.report = report
        self._look = look
        self.template = template
        self.included: list[Reference] = []
        self.fields = 0
        #: (item, subject) → everything that was said there, in its order: the facts first
        self._told: dict[tuple[str, str], list[tuple[Answer, ...]]] = {}
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
                self._put([self._as_taken(replace(a, subject=subject), one, Came.EDITED) for a in now])
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
        alike = [s for s in self.report.subjects if s.scope is subject.scope]
        named = [s for s in alike if s.key == subject.key]
        # two masks may share a tracking UID: the one of that segment or name comes first
        candidates = (
            *(s for s in alike if same_segment(s, subject)),
            *(s for s in named if s.tracking_uid == subject.tracking_uid or subject.structure is not None),
            *(s for s in alike if same_uid(s, subject)),
        )
        if candidates:
            return candidates[0].key
        if subject.scope is Scope.SERIES:
            return None
        return self._add(subject)

    def _add(self, subject: Subject) -> str:
        used = {s.key for s in self.report.subjects}
        if subject.key in used:
            prefix = NUMBERED.get(subject.scope, subject.key)
            subject = replace(
                subject, key=next(k for n in range(1, len(used) + 2) if (k := f"{prefix}{n}") not in used)
            )
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
        tracked = [s for s in lesions if group.tracking_uid and s.tracking_uid == group.tracking_uid]
        measured = [s for s in lesions if any(on_segment(s, r) or self._marks(s, r) for r in group.segments)]
        # two masks may share a tracking UID; and whoever measured a segment need not have kept it
        known = next((s for s in (*(s for s in tracked if s in measured), *tracked, *measured)), None)
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

    def _marks(self, subject: Subject, reference: Reference) -> bool:
        """Say whether a segment is a further mark of a lesion."""
        return self._look.marks.get((reference.sop_instance_uid, reference.segment or 0)) == subject.key

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
                quantity = quantity_of(item, measurement)
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
                    evidence=tuple(references_of(measurement.evidence or group.evidence, drawn=one.edit)),
                )
                told = lines_told(measurement, group.evidence, self._look.spacings, self._look.measuring)
                if told:
                    self._remark(subject, told)
                yield self._as_taken(answer, one, Came.MEASURED)
                break

    def _remark(self, key: str, remark: str) -> None:
        """Say something beside the numbers of a lesion."""
        subjects = tuple(
            replace(s, remarks=(*s.remarks, remark)) if s.key == key and remark not in s.remarks else s
            for s in self.report.subjects
        )
        self.report = replace(self.report, subjects=subjects)

    def _findings(self, group: ForeignGroup, subject: str, one: Returned) -> Iterator[Answer]:
        coded: list[tuple[str, Code]] = []
        if group.finding is not None:
            coded.append((_FINDING, finding_of(group.finding.code, one.verifier)))
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
                yield self._as_taken(answer, one, Came.STATED)

    def _evaluated(self, evaluation: Evaluation) -> Iterator[tuple[Item, Code]]:
        if isinstance(evaluation.value, str):
            return
        for item in self._items:
            if item.type in {ItemType.CODE, ItemType.CODES} and evaluation.concept.same(item.concept):
                yield item, evaluation.value.code

    # --- both --------------------------------------------------------------------------------------------------------------

    def _as_taken(self, answer: Answer, one: Returned, how: Came) -> Answer:
        """Return an answer with where it comes from: confirmed by whoever verified the SR, else proposed."""
        if one.verifier:
            return replace(
                answer,
                status=Status.CONFIRMED,
                provenance=Provenance.RADIOLOGIST,
                observer=one.verifier,
                evidence=answer.evidence if one.report is None else (),
                basis=how.value,
            )
        return replace(
            answer,
            status=Status.PROPOSED,
            provenance=Provenance.MEASUREMENT_SR,
            observer="",
            evidence=answer.evidence if one.report is None else (),
            basis=how.value,
        )

    def _put(self, answers: list[Answer]) -> None:
        """Put answers to one question in the place of what was said before, unless that is a person's word and these are not."""
        first = answers[0]
        before = self.report.answers_of(first.item, first.subject)
        told = self._told.setdefault((first.item, first.subject), [before] if before else [])
        told.append(tuple(answers))
        if rank(answers) < rank(before):
            return
        if before and agree(answers, before) and rank(answers) is Rank.PROPOSED:
            return
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

    def differences(self) -> Iterator[Difference]:
        """Yield what was said and does not stand."""
        for (item, subject), told in self._told.items():
            stands = self.report.answers_of(item, subject)
            for one in told:
                if not agree(stands, one):
                    yield difference(stands, one)


def _statistic(answer: Answer) -> str:
    return answer.derivation.value if answer.derivation else ""


def _mean() -> Code:
    """Return the one statistic that a question for a number asks for."""
    return load_codes()["deriv.mean"]


def verifier_of(foreign: ForeignReport) -> str:
    """Return who verified a report of somebody else (PN); empty where nobody did."""
    if foreign.verification is not Verification.VERIFIED:
        return ""
    return next((v.name for v in foreign.verifiers if v.name.strip()), "")
