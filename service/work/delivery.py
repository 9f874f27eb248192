"""What is decided about sending: where reports go, in which class, what a version replaces, and where a study stands.

Pure decisions over rows and settings; `service.work.composing` and `service.work.sending` carry them out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from service.dimse.query import Found
from service.flow.produce import ENHANCED_SR, LADDER, SR_CLASSES, Kind
from service.model.events import StudyState
from service.model.measurement import Reference
from service.settings import Node, Settings
from service.sr.encapsulated_pdf import ENCAPSULATED_PDF
from service.store.outbox import OutboxRecord, OutboxState

#: where nobody could be asked yet: what most archives take; the sender corrects it before anything is stored
DEFAULT_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"
DELIVERED = frozenset({OutboxState.SENT, OutboxState.COMMITTED})


def destinations(settings: Settings, sender: Node | None) -> tuple[Node, ...]:
    """Return the nodes that reports go to: those with ``reports = true``, or, when none says so, the one that sent the study."""
    named = tuple(n for n in settings.nodes if n.reports)
    if named:
        return named
    return (sender,) if sender is not None and sender.port else ()


def choose_class(accepted: Collection[str] | None) -> str | None:
    """Return the best class that a destination takes for a report; None where it takes none.

    ``accepted`` is None while the destination has not been asked.
    """
    if accepted is None:
        return DEFAULT_CLASS
    return next((c for c in LADDER if c in accepted), None)


def lesser_class(accepted: Collection[str], refused: str, kind: Kind) -> str | None:
    """Return the first class that a destination takes beside the one that it has just refused; None where there is none.

    Where it says that it takes that one all the same, only lesser ones come next: else two classes could take turns for ever. Lines on
    images need an SR; pictures, pages and notes have no other class.
    """
    ladder: tuple[str, ...] = {"report": LADDER, "companion": SR_CLASSES}.get(kind, ())
    if refused not in ladder:
        return None
    lesser = ladder[ladder.index(refused) + 1 :]
    return next(
        (c for c in ladder if c in accepted and (c in lesser or refused not in accepted) and c != refused), None
    )


def is_step_up(old: str, new: str) -> bool:
    """Say whether a class can hold more than another."""
    return LADDER.index(new) < LADDER.index(old)


def replaced(rows: Iterable[OutboxRecord], kind: Kind, edits: Iterable[Found]) -> tuple[Reference, ...]:
    """Return the documents that the next version of ``kind`` replaces.

    For each node: the newest version that is there, and whatever newer one may be there without our knowing (an answer was lost). A
    version that never left this house replaces nothing and is not named. ``edits``: what others saved into our series.
    """
    found: dict[str, Reference] = {}
    by_node: dict[str, list[OutboxRecord]] = {}
    for row in rows:
        # a page that stood for the report is no SR document, and none that an SR may name (PS3.3 C.17.2)
        if row.kind == kind and row.may_be_there and row.sop_class_uid != ENCAPSULATED_PDF:
            by_node.setdefault(row.node, []).append(row)
    for members in by_node.values():
        for row in sorted(members, key=lambda r: r.version, reverse=True):
            found[row.sop_instance_uid] = _reference(row)
            if row.state in DELIVERED:
                break
    for edit in edits:
        found.setdefault(edit.sop_instance_uid, _reference(edit))
    return tuple(found[uid] for uid in sorted(found))


def _reference(of: OutboxRecord | Found) -> Reference:
    return Reference(
        # a node need not say the class of what it names
        sop_class_uid=of.sop_class_uid or ENHANCED_SR,
        sop_instance_uid=of.sop_instance_uid,
        series_instance_uid=of.series_instance_uid,
    )


def standing(rows: Sequence[OutboxRecord]) -> StudyState | None:
    """Return where a study with these rows stands, judged by its newest version; None where it has none."""
    current = [r for r in rows if r.version == max(row.version for row in rows)]
    states = {r.state for r in current} - {OutboxState.SUPERSEDED}
    if not states:
        return None
    if OutboxState.PARKED in states:
        return StudyState.PARKED
    if OutboxState.QUEUED in states:
        return StudyState.COMPOSED
    return StudyState.COMMITTED if states == {OutboxState.COMMITTED} else StudyState.SENT
