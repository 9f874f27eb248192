"""What others saved into the series of our reports: viewers put a reader's edit there, with the next Instance Number."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.dimse.query import Found
from service.errors import LmsSrError
from service.flow import produce as making
from service.flow.produce import Kind, Options
from service.model.measurement import Reference
from service.model.study import Instance, Study
from service.read.predecessors import predecessors
from service.settings import Node
from service.store import life, outbox
from service.work import delivery
from service.work.services import Services

_log = logging.getLogger("lms_sr.issue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What others saved into the series of our reports, and what was decided about it."""

    edits: Mapping[Kind, tuple[Found, ...]]
    #: SOP Instance UIDs that a version of ours took in, or replaced because a person asked for it
    decided: frozenset[str]
    #: what a version names that has arrived wherever it was to go
    settled: frozenset[str]

    def undecided(self, included: Iterable[Reference] = ()) -> tuple[Reference, ...]:
        """Return what the next version would hide, in order of UIDs; ``included``: what it has the content of."""
        known = self.decided | {r.sop_instance_uid for r in included}
        left = {f.sop_instance_uid: f for members in self.edits.values() for f in members}
        return tuple(
            Reference(sop_class_uid=f.sop_class_uid, sop_instance_uid=uid, series_instance_uid=f.series_instance_uid)
            for uid, f in sorted(left.items())
            if uid not in known
        )


def edits_in(
    services: Services, study: Study, options: Options, nodes: tuple[Node, ...]
) -> Mapping[Kind, tuple[Found, ...]]:
    """Return what stands in the series of our reports and is not ours: at the nodes, and among what arrived."""
    uid = study.study_instance_uid
    series = {making.series_uid(options, uid, kind): kind for kind in making.KINDS}
    found: dict[Kind, dict[str, Found]] = defaultdict(dict)
    for node in nodes:
        if not node.query:
            continue
        try:
            there = services.peers.reports_at(node, uid, sorted(series))
        except LmsSrError as error:
            # the registry knows our versions; what a reader saved meanwhile is met at the next revision
            ids = {"study": uid, "node": node.name, "error": type(error).__name__}
            _log.warning("earlier_reports_not_asked", extra={"ids": ids})
            continue
        for one in there:
            found[series[one.series_instance_uid]][one.sop_instance_uid] = one
    for instance in study.instances:
        kind = series.get(instance.series_instance_uid)
        if kind is not None:
            found[kind].setdefault(instance.sop_instance_uid, _found(instance))
    return {k: tuple(f for uid, f in sorted(v.items()) if uid not in options.ours) for k, v in found.items()}


def _found(instance: Instance) -> Found:
    number = next(iter(instance.numbers("InstanceNumber")), None)
    return Found(
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        instance_number=int(number) if number is not None else None,
    )


def decided(services: Services, study_instance_uid: str, edits: Mapping[Kind, tuple[Found, ...]]) -> Saved:
    """Return ``edits`` with what was decided about them.

    An edit that a version goes over was decided on by a person, or its content is in the version: it needs no second decision. It is
    named again until a version that names it has arrived.
    """
    if not any(edits.values()):
        # nothing to ask about, as nearly always
        return Saved(edits=edits, decided=frozenset(), settled=frozenset())
    with services.reading() as session:
        gone_over = life.gone_over(session, study_instance_uid)
        rows = outbox.for_study(session, study_instance_uid)
        contents = {r.id: outbox.content(session, r.id) for r in rows}
    waiting = {(r.version, r.kind) for r in rows if r.state not in delivery.DELIVERED}
    by_row = {r: {p.sop_instance_uid for p in predecessors(contents[r.id])} for r in rows}
    settled = {uid for r, uids in by_row.items() if (r.version, r.kind) not in waiting for uid in uids}
    # versions of the first schema say so in their objects alone
    named = frozenset(uid for uids in by_row.values() for uid in uids)
    return Saved(edits=edits, decided=gone_over | named, settled=frozenset(settled))
