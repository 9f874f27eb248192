"""A version before it is queued: what is known when it is made, what it replaces, and its objects for each node."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from service.dimse.query import Found
from service.errors import GateError
from service.flow import produce as making
from service.flow import triage
from service.flow.lifecycle import Action, State
from service.flow.objects import Wish, for_destination, needs_images
from service.flow.produce import Kind, Options, Produced, Rendition
from service.model.measurement import Reference
from service.model.prior import PriorReport
from service.model.signing import ADDENDED, PRELIMINARY, REPLACED, Predecessor
from service.model.study import Study
from service.page.pictures import KeyImages, key_images
from service.read.normalise import normalise
from service.read.predecessors import predecessors
from service.settings import Node
from service.sr.phrases import wording
from service.store import inbox, outbox, registry
from service.store.inbox import StudyRecord
from service.store.outbox import OutboxRecord
from service.store.registry import ReportRecord
from service.work import delivery, earlier
from service.work.completing import BY_HAND
from service.work.services import Services

_log = logging.getLogger("lms_sr.issue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store and the nodes know beforehand."""

    record: StudyRecord
    study: Study
    installation: str
    ours: frozenset[str]
    #: the newest version, withdrawn or not
    newest: ReportRecord | None

    @property
    def current(self) -> ReportRecord | None:
        """Return the version that stands; None: there is none, or it was withdrawn."""
        return self.newest if self.newest is not None and self.newest.current else None

    @property
    def state(self) -> State | None:
        """Return where the report stands; None: there is none."""
        return self.newest.state if self.newest is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """How a new version comes about. Without a person it is the software's, which never signs."""

    action: Action
    after: State
    who: str = ""
    why: str = ""
    #: content of SRs is in it that no version before had
    takes_in: bool = False
    #: names every document of ours that the new version takes out of use
    rejects: bool = False
    #: what others saved into our series and it replaces, without its content
    over: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A node, and the class that it gets."""

    node: Node
    sop_class_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version with its objects."""

    number: int
    created_at: dt.datetime
    #: node → its objects
    renditions: tuple[tuple[Node, tuple[Rendition, ...]], ...]


def options_of(services: Services, known: Known, decision: triage.Decision) -> Options:
    """Return what a report needs to know of this installation and of how its study was completed."""
    settings, record = services.settings, known.record
    remarks = []
    if record.forced:
        remarks.append(f"The study may be incomplete: it was taken {record.completion_reason}")
    elif record.completion_reason == BY_HAND:
        remarks.append("The study may be incomplete: its report was started by hand before it counted as complete")
    return Options(
        installation=known.installation,
        template=decision.template,
        timezone=settings.site.timezone,
        language=settings.reports.language,
        series_number=settings.reports.series_number,
        companion_series_number=settings.reports.companion_series_number,
        rejection_series_number=settings.reports.rejection_series_number,
        complete_at=making.completion_address(settings.web.public_url, known.installation, record.study_instance_uid),
        remarks=tuple(remarks),
        ours=known.ours,
    )


def replaced(
    produced: Produced,
    revision: Revision,
    rows: tuple[OutboxRecord, ...],
    states: Mapping[int, State],
    edits: Mapping[Kind, tuple[Found, ...]],
    settled: frozenset[str],
) -> Mapping[Kind, tuple[Reference, ...]]:
    """Return what the next version names as predecessors, and for what purpose (CID 7009)."""
    was = {r.sop_instance_uid: states.get(r.report_id, State.DRAFT) for r in rows}

    def purpose(uid: str) -> Predecessor:
        reference = by_uid[uid]
        if uid in was and not was[uid].is_signed and was[uid] is not State.WITHDRAWN:
            why = PRELIMINARY
        else:
            why = ADDENDED if revision.action is Action.ADDEND and uid in was else REPLACED
        return Predecessor(
            sop_class_uid=reference.sop_class_uid,
            sop_instance_uid=uid,
            series_instance_uid=reference.series_instance_uid,
            purpose=why,
        )

    found: dict[Kind, tuple[Reference, ...]] = {}
    for kind in making.KINDS:
        left = [f for f in edits.get(kind, ()) if f.sop_instance_uid not in settled]
        by_uid = {r.sop_instance_uid: r for r in delivery.replaced(rows, kind, left)}
        found[kind] = tuple(purpose(uid) for uid in sorted(by_uid))
    edited = {f.sop_instance_uid for members in edits.values() for f in members}
    taken = tuple(p for p in making.taken_in(produced) if p.sop_instance_uid not in edited)
    found["report"] = (*found["report"], *taken)
    return found


def render(
    services: Services,
    known: Known,
    produced: Produced,
    targets: tuple[Target, ...],
    rows: tuple[OutboxRecord, ...],
    edits: Mapping[Kind, tuple[Found, ...]],
    older: Mapping[Kind, tuple[Reference, ...]],
) -> Version:
    """Return the next version with its objects for each destination; nodes of one class and profile share them."""
    numbers = [f.instance_number or 0 for members in edits.values() for f in members]
    last = max([0, *(r.version for r in rows), *numbers, known.newest.version if known.newest else 0])
    now = services.now()
    wishes = {t.node.name: wish_of(t.node, t.sop_class_uid) for t in targets}
    shown = shown_of(services, produced, wishes.values())
    made: dict[Wish, tuple[Rendition, ...]] = {}
    for wish in wishes.values():
        if wish not in made:
            made[wish] = for_destination(
                produced,
                wish,
                shown.images,
                version=last + 1,
                predecessors=older,
                created_at=now,
                prior=shown.prior,
                clinical=services.settings.clinical,
            )
    return Version(
        number=last + 1,
        created_at=now,
        renditions=tuple((t.node, made[wishes[t.node.name]]) for t in targets),
    )


def wish_of(node: Node, sop_class_uid: str) -> Wish:
    """Return what a node gets."""
    return Wish(sop_class_uid=sop_class_uid, profile=node.profile, objects=frozenset(node.objects))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What pages and pictures show beside the report."""

    images: KeyImages = field(default_factory=KeyImages)
    #: the newest earlier time point, with those before it
    prior: PriorReport | None = None


def shown_of(services: Services, produced: Produced, wishes: Iterable[Wish]) -> Shown:
    """Return the measured slices and the earlier time points where some destination gets to see them.

    A slice that cannot be shown (its pixels were removed, say) is logged; the numbers stand without it.
    """
    if not any(needs_images(w) for w in wishes):
        return Shown()
    study = produced.study
    said = wording(produced.options.language)
    images = key_images(produced.report, study, lambda instance: services.spool.root / instance.path, said)
    for problem in images.problems:
        _log.warning("key_image_left_out", extra={"ids": {"study": study.study_instance_uid, "reason": problem}})
    with services.reading() as session:
        return Shown(images=images, prior=earlier.prior_of(session, study))


def with_notes(
    produced: Produced,
    revision: Revision,
    rows: tuple[OutboxRecord, ...],
    made: Version,
    takes_notes: Callable[[Node], bool],
) -> Version:
    """Add a rejection note for each node that takes one and may hold something to reject.

    Whether a node that takes it also acts on it nobody can ask: the last version says it to readers all the same.
    """
    found: list[tuple[Node, tuple[Rendition, ...]]] = []
    for node, renditions in made.renditions:
        there = [r for r in rows if r.node == node.name and r.may_be_there and r.kind != "rejection"]
        if there and takes_notes(node):
            rejected = tuple(
                Reference(
                    sop_class_uid=r.sop_class_uid,
                    sop_instance_uid=r.sop_instance_uid,
                    series_instance_uid=r.series_instance_uid,
                )
                for r in there
            )
            said = f"Report withdrawn: {revision.why}"
            note = making.rejection_note(
                produced, rejected, version=made.number, description=said, created_at=made.created_at
            )
            found.append((node, (*renditions, note)))
        else:
            found.append((node, renditions))
    return Version(number=made.number, created_at=made.created_at, renditions=tuple(found))


def render_again(services: Services, row: OutboxRecord, sop_class_uid: str) -> Rendition:
    """Return the object of a row in another SOP class: the same version of the same report.

    Raises
    ------
    Permanent
        It cannot be made, or does not pass the gate.
    """
    uid = row.study_instance_uid
    with services.reading() as session:
        frozen = outbox.frozen(session, row, sop_class_uid)
        report = registry.read_content(session, row.report_id)
        record = registry.get(session, row.report_id)
        instances = inbox.load_instances(session, uid)
        ours = outbox.sent_uids(session, uid)
        old = outbox.content(session, row.id)
        study_record = inbox.get_study(session, uid)
    if frozen is not None:
        # another node has this very object already: one UID, one content
        return frozen
    with services.transaction() as session:
        installation = inbox.installation(session, services.now())
    if record is None or study_record is None:
        raise GateError((f"report {row.report_id} is not in the registry",))
    study = making.without(normalise(instances, default_issuer=services.settings.site.issuer), ours)
    known = Known(record=study_record, study=study, installation=installation, ours=ours, newest=record)
    decision = triage.Decision(report=True, rule="", reason="", template=report.template)
    options = options_of(services, known, decision)
    produced = making.reproduce(report, study, options, state=record.state, signature=record.signature)
    # what a version replaces was decided when it was made, what a reader had saved among it
    older = {row.kind: predecessors(old)} if row.sop_class_uid in making.SR_CLASSES else {}
    wish = Wish(sop_class_uid=sop_class_uid, profile=row.profile)
    shown = shown_of(services, produced, (wish,))
    made = for_destination(
        produced,
        wish,
        shown.images,
        version=row.version,
        predecessors=older,
        created_at=row.created_at,
        prior=shown.prior,
        clinical=services.settings.clinical,
    )
    found = next((r for r in made if r.kind == row.kind), None)
    if found is None:
        raise GateError((f"the report has no {row.kind} any more",))
    return found
