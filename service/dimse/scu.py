"""What we ask of a node: C-ECHO, which SR classes it takes, and C-STORE (PS3.4 Annexes A and B, as SCU)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Final, Self

from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_ECHO, C_STORE

from service.dimse import statuses
from service.dimse.requestor import Accepted, Proposal, Requestor
from service.dimse.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from service.dimse.tls import Secured
from service.dimse.transcode import CONVERTIBLE, convert, data_set_of
from service.errors import OutcomeUnknown, PeerUnavailable, Rejected
from service.settings import Node, Settings

COMPREHENSIVE_3D_SR: Final = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR: Final = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR: Final = "1.2.840.10008.5.1.4.1.1.88.22"

KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"

#: the SR classes that we write, the most capable first
SR_CLASSES: Final = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
#: Basic Text SR, Encapsulated PDF, Secondary Capture, Grayscale Softcopy Presentation State: what else a node may get
OTHER_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.11.1",
)
_LITTLE_ENDIAN = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOutcome:
    """What the peer answered to a C-STORE: the status, and its Error Comment (0000,0902).

    ``service.dimse.statuses.what_to_do`` says what follows. The comment is the peer's text: it may say anything.
    """

    status: int
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What is going to be sent: its SOP class, and how it is encoded."""

    sop_class_uid: str
    transfer_syntax_uid: str = EXPLICIT_LITTLE


def echo(settings: Settings, node: Node) -> Secured | None:
    """Send a C-ECHO; return what TLS came to, None where the node is called without.

    Raises
    ------
    PeerUnavailable
        No connection, no association, no answer.
    Rejected
        The node refuses the association or the C-ECHO.
    """
    with Requestor(settings, node, [Proposal(abstract_syntax=VERIFICATION, transfer_syntaxes=_LITTLE_ENDIAN)]) as peer:
        context = peer.context_for(VERIFICATION)
        if context is None:
            msg = f"{peer} does not take C-ECHO"
            raise Rejected(msg)
        request = C_ECHO()
        request.AffectedSOPClassUID = UID(VERIFICATION)
        response = peer.receive(peer.send(request, context))
        if response.Status != statuses.SUCCESS:
            status = response.Status if response.Status is not None else statuses.PROCESSING_FAILURE
            msg = f"{peer} answers C-ECHO with {statuses.describe(status)}"
            raise Rejected(msg, status)
        return peer.secured


def probe(settings: Settings, node: Node) -> frozenset[str]:
    """Return those of the classes that we send (``SR_CLASSES``, ``OTHER_CLASSES``, key objects) that the node takes.

    Raises
    ------
    PeerUnavailable
        No connection, no association.
    Rejected
        The node refuses the association.
    """
    with Requestor(
        settings,
        node,
        [
            Proposal(abstract_syntax=c, transfer_syntaxes=_LITTLE_ENDIAN)
            for c in (*SR_CLASSES, *OTHER_CLASSES, KEY_OBJECT_SELECTION)
        ],
    ) as peer:
        return frozenset(context.abstract_syntax for context in peer.accepted)


def store(
    settings: Settings,
    node: Node,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    part10: bytes,
) -> StoreOutcome:
    """Send one object over an association of its own; see ``Sender.store``."""
    with Sender(
        settings, node, [Offer(sop_class_uid=sop_class_uid, transfer_syntax_uid=transfer_syntax_uid)]
    ) as sender:
        return sender.store(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            part10=part10,
        )


class Sender:
    """An association over which objects are sent, one after the other; a context manager.

    Parameters
    ----------
    settings, node:
        Who we are, and whom to call.
    offers:
        What is going to be sent.

    Raises
    ------
    PeerUnavailable, Rejected
        On entering; as ``service.dimse.requestor.Requestor``.
    """

    def __init__(self, settings: Settings, node: Node, offers: Iterable[Offer]) -> None:
        # a context for each syntax: the peer's answer then says which of them it takes, and not which it likes best
        proposals = dict.fromkeys(
            Proposal(abstract_syntax=offer.sop_class_uid, transfer_syntaxes=(syntax,))
            for offer in offers
            for syntax in _syntaxes(offer.transfer_syntax_uid)
        )
        self._peer = Requestor(settings, node, proposals)

    def __enter__(self) -> Self:
        """Open the association."""
        self._peer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the association."""
        self._peer.__exit__(kind, error, trace)

    @property
    def accepted_classes(self) -> frozenset[str]:
        """The SOP classes that the peer takes, of those offered."""
        return frozenset(context.abstract_syntax for context in self._peer.accepted)

    def store(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, part10: bytes
    ) -> StoreOutcome:
        """Send an object: the bytes of its data set as they stand in the file.

        Where the peer takes nothing but implicit VR, a data set in explicit VR is converted (the same way each time).

        Parameters
        ----------
        part10:
            The file (PS3.10), with the SOP class, instance and transfer syntax that are named.

        Raises
        ------
        PeerUnavailable
            The association broke before the object was with the peer.
        OutcomeUnknown
            It was sent, and no answer came: ask the node, or send the same bytes again.
        Rejected
            The peer takes no objects of this SOP class, or not in this transfer syntax.
        InputError
            ``part10`` is no Part 10 file.
        """
        context, data_set = self._encoded(sop_class_uid, transfer_syntax_uid, part10)
        request = C_STORE()
        request.AffectedSOPClassUID = UID(sop_class_uid)
        request.AffectedSOPInstanceUID = UID(sop_instance_uid)
        request.Priority = 0  # medium (PS3.7 9.3.1.1); most archives ignore it
        request.DataSet = BytesIO(data_set)
        message_id = self._peer.send(request, context)
        try:
            response = self._peer.receive(message_id)
        except PeerUnavailable as error:
            msg = f"{error}: whether it holds {sop_instance_uid} is unknown"
            raise OutcomeUnknown(msg) from error
        if not isinstance(response, C_STORE) or response.Status is None:
            msg = f"{self._peer} answers C-STORE without a status: whether it holds {sop_instance_uid} is unknown"
            raise OutcomeUnknown(msg)
        return StoreOutcome(status=response.Status, comment=str(response.ErrorComment or ""))  # type: ignore[redundant-expr]

    def _encoded(
        self, sop_class_uid: str, transfer_syntax_uid: str, part10: bytes
    ) -> tuple[Accepted, bytes | memoryview]:
        exact = self._peer.context_for(sop_class_uid, transfer_syntax_uid)
        if exact is not None:
            return exact, data_set_of(part10)
        for syntax in _syntaxes(transfer_syntax_uid):
            other = self._peer.context_for(sop_class_uid, syntax)
            if other is not None:
                return other, convert(part10, to=syntax)
        name = UID(sop_class_uid).name
        msg = f"{self._peer} does not take {name} ({sop_class_uid}) in {UID(transfer_syntax_uid).name}: allow it there"
        raise Rejected(msg, statuses.CLASS_NOT_SUPPORTED)


def _syntaxes(own: str) -> tuple[str, ...]:
    """Return the syntaxes in which an object can leave: its own first, then those that it can be converted to."""
    return (own, *sorted(CONVERTIBLE - {own})) if own in CONVERTIBLE else (own,)
