"""The nodes, as the workflows see them: what they can be asked and given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from service.dimse import query, scu
from service.dimse.query import Found
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
