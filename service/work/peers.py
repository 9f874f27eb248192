"""The nodes, as the workflows see them: what they can be asked and given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from service.dimse import query, retrieve, scu
from service.dimse.query import Found, FoundSeries, FoundStudy
from service.dimse.retrieve import Keep, Retrieved, Wanted
from service.dimse.scu import StoreOutcome
from service.settings import Node, Settings
from service.store.outbox import OutboxRecord


class Peers(Protocol):
    """What a workflow may ask of a node. All of it may raise `PeerUnavailable` and `Rejected`."""

    def instances_at(self, node: Node, study_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that the node holds of a study."""
        ...

    def reports_at(self, node: Node, study_uid: str, series_uids: Iterable[str]) -> tuple[Found, ...]:
        """Return what the node holds in some series of a study."""
        ...

    def holds(self, node: Node, row: OutboxRecord) -> bool:
        """Say whether the node holds the object of a row."""
        ...

    def accepted_classes(self, node: Node) -> frozenset[str]:
        """Return the SR classes that the node takes."""
        ...

    def store(self, node: Node, row: OutboxRecord, part10: bytes) -> StoreOutcome:
        """Send the object of a row; may raise `OutcomeUnknown`, too."""
        ...

    def studies_of(self, node: Node, patient_id: str) -> tuple[FoundStudy, ...]:
        """Return the studies that the node holds of a patient."""
        ...

    def series_in(self, node: Node, study_uid: str) -> tuple[FoundSeries, ...]:
        """Return the series that the node holds of a study."""
        ...

    def retrieve(self, node: Node, wanted: Iterable[Wanted], keep: Keep, *, seconds: float) -> Retrieved:
        """Have the node send instances: to ``keep``, or to the receiver, as its settings say."""
        ...


class NetworkPeers:
    """The nodes, over the network."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def instances_at(self, node: Node, study_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that the node holds of a study."""
        return query.instances_at(self._settings, node, study_uid)

    def reports_at(self, node: Node, study_uid: str, series_uids: Iterable[str]) -> tuple[Found, ...]:
        """Return what the node holds in some series of a study."""
        return query.find_reports(self._settings, node, study_uid, series_uids)

    def holds(self, node: Node, row: OutboxRecord) -> bool:
        """Say whether the node holds the object of a row."""
        return query.has_instance(
            self._settings, node, row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid
        )

    def accepted_classes(self, node: Node) -> frozenset[str]:
        """Return the SR classes that the node takes."""
        return scu.probe(self._settings, node)

    def store(self, node: Node, row: OutboxRecord, part10: bytes) -> StoreOutcome:
        """Send the object of a row."""
        return scu.store(
            self._settings,
            node,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            transfer_syntax_uid=row.transfer_syntax_uid,
            part10=part10,
        )

    def studies_of(self, node: Node, patient_id: str) -> tuple[FoundStudy, ...]:
        """Return the studies that the node holds of a patient."""
        return query.studies_of(self._settings, node, patient_id)

    def series_in(self, node: Node, study_uid: str) -> tuple[FoundSeries, ...]:
        """Return the series that the node holds of a study."""
        return query.series_in(self._settings, node, study_uid)

    def retrieve(self, node: Node, wanted: Iterable[Wanted], keep: Keep, *, seconds: float) -> Retrieved:
        """Have the node send instances: over our association to ``keep``, or to the receiver."""
        if node.retrieve == "move":
            return retrieve.move(self._settings, node, wanted, seconds=seconds)
        return retrieve.get(self._settings, node, wanted, keep, seconds=seconds)
