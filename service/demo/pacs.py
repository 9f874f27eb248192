"""A small stand-in PACS on loopback: takes, lists (C-FIND) and forwards; and misbehaves when a test tells it to.

Built on pynetdicom's ordinary server, so that the service is tried against another implementation than its own.
"""

from __future__ import annotations

import enum
import io
import socket
import socketserver
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.transport import ThreadedAssociationServer

from service.demo.archive import SR_CLASSES, Archive, Held, Unanswerable
from service.dimse.library import MAX_PDU, configure, end
from service.dimse.scu import Offer, Sender
from service.dimse.statuses import Action, what_to_do
from service.settings import Local, Node, Outgoing, Settings

_VERIFICATION, _STUDY_ROOT_FIND = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
_SUCCESS, _PENDING, _IDENTIFIER_DOES_NOT_MATCH, _NOT_UNDERSTOOD = 0x0000, 0xFF00, 0xA900, 0xC000
#: no Deflated ones; the order is the caller's
_SYNTAXES: Final = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE Lossless
)
_POLL_SECONDS = 0.02
#: time for associations to end before stopping goes on without them
_STOP_SECONDS = 5.0


class Fault(enum.Enum):
    """What a request may get instead of an answer. ``…_AFTER``: a C-STORE's object is kept first."""

    ABORT = "abort"
    ABORT_AFTER = "abort after"
    #: the connection ends without a word
    DROP = "drop"
    DROP_AFTER = "drop after"
    #: no answer, ever; the connection stays
    SILENCE = "silence"
    SILENCE_AFTER = "silence after"


@dataclass(slots=True)
class Behaviour:
    """How the stand-in behaves; change it at any time.

    An answer is a status or a `Fault`. A C-STORE keeps its object when its status is Success or a warning (PS3.4 Table B.2-1).
    """

    #: for the next C-STOREs, one each; then it stores again
    next_stores: list[int | Fault] = field(default_factory=list)
    #: for every C-STORE
    every_store: int | Fault = _SUCCESS
    #: for every C-FIND; Success: the truth
    every_find: int | Fault = _SUCCESS
    #: seconds before a C-STORE, or a C-FIND, is answered
    store_delay: float = 0.0
    find_delay: float = 0.0
    #: C-FIND names nothing at all
    blind: bool = False
    #: SOP Instance UIDs that C-FIND does not name
    hidden: set[str] = field(default_factory=set)
    #: SOP classes that new associations do not get
    refused_classes: frozenset[str] = frozenset()
    #: what becomes of new associations: reject (calling AE title not recognised), busy (local limit exceeded)
    associations: Literal["accept", "reject", "busy", "silence"] = "accept"


class StandInPacs:
    """A PACS in this process; a context manager. Everything may be called from any thread.

    Parameters
    ----------
    ae_title:
        Its AE title; it answers to any.
    sr_classes:
        The SR classes that it takes; it takes every other storage class.
    port:
        0: one that is free. After ``start``, ``port`` says which; it stays the same over ``stop`` and ``start``.
    folder:
        Where it leaves what it holds as files; None: in memory only.
    """

    def __init__(
        self,
        ae_title: str = "PACS",
        *,
        sr_classes: Collection[str] = SR_CLASSES,
        port: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.port = port
        self.behaviour = Behaviour(refused_classes=SR_CLASSES - frozenset(sr_classes))
        self.archive = Archive(folder)
        self._contexts = [
            build_context(_VERIFICATION),
            build_context(_STUDY_ROOT_FIND),
            *(build_context(c.abstract_syntax or "", list(_SYNTAXES)) for c in AllStoragePresentationContexts),
        ]
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def stores(self) -> dict[str, int]:
        """SOP Instance UID to how often it was stored: more than once is a resend, never a second object."""
        return self.archive.stores

    def start(self) -> None:
        """Listen on loopback."""
        configure()
        self._stopped.clear()
        ae = ApplicationEntity(self.ae_title)
        ae.maximum_associations, ae.maximum_pdu_size = 100, MAX_PDU
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, _tuned),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_FIND, self._on_find),
        ]
        self._server = _Server(ae, ("127.0.0.1", self.port), self.ae_title, [], evt_handlers=handlers)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": _POLL_SECONDS},
            name="stand-in-pacs",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and end the associations; what it holds stays."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        self._stopped.set()
        server.close()
        self._thread.join(_STOP_SECONDS)
        for association in server.active_associations:
            association.abort(block=False)
            association.join(_STOP_SECONDS)

    def node(self, *, name: str = "PACS", query: bool = True, reports: bool = True, **changes: Any) -> Node:
        """Return itself as a node of the service's settings; ``changes`` are further fields of `Node`."""
        return Node(
            name=name, ae_title=self.ae_title, host="127.0.0.1", port=self.port, query=query, reports=reports, **changes
        )

    def put(self, objects: Iterable[Dataset]) -> None:
        """Take objects as if a scanner had sent them."""
        for ds in objects:
            buffer = io.BytesIO()
            dcmwrite(buffer, ds, enforce_file_format=True)
            self.archive.add(buffer.getvalue())

    def held(self, study_instance_uid: str = "", sop_classes: Collection[str] = ()) -> tuple[Held, ...]:
        """Return what it holds, of one study and of some classes where they are named, by series and instance number."""
        return self.archive.held(study_instance_uid, sop_classes)

    def files(self, study_instance_uid: str = "", sop_classes: Collection[str] = ()) -> list[bytes]:
        """Return the same as DICOM files."""
        return [self.archive.file(h.sop_instance_uid) for h in self.held(study_instance_uid, sop_classes)]

    def reports(self, study_instance_uid: str = "") -> list[Dataset]:
        """Return the SRs that it holds, by series and instance number."""
        return [dcmread(io.BytesIO(f)) for f in self.files(study_instance_uid, SR_CLASSES)]

    def wait(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Wait until ``condition`` holds, looking whenever something is stored; say whether it does."""
        return self.archive.wait(condition, seconds)

    def forward(
        self,
        to: Node,
        study_instance_uid: str = "",
        *,
        called: str = "",
        only: Collection[str] | None = None,
        timeout_seconds: float = 30.0,
        told: Callable[[int, int], None] = lambda _sent, _all: None,
    ) -> int:
        """Send what it holds over one association, as auto-forward does; return how many objects were taken.

        Parameters
        ----------
        to:
            The node to send to.
        study_instance_uid:
            Empty: all studies.
        called:
            The AE title to call it by; empty: its own.
        only:
            The SOP Instance UIDs to send; None: all.
        timeout_seconds:
            How long each answer may take.
        told:
            Is called after each object with how many were sent, of how many.

        Raises
        ------
        PeerUnavailable, Rejected, OutcomeUnknown
            As ``service.dimse.scu.Sender``.
        """
        me = Settings(local=Local(ae_title=self.ae_title), outgoing=Outgoing(timeout_seconds=timeout_seconds))
        target = to.model_copy(update={"ae_title": called}) if called else to
        chosen = [h for h in self.held(study_instance_uid) if only is None or h.sop_instance_uid in only]
        offers = dict.fromkeys(
            Offer(sop_class_uid=h.sop_class_uid, transfer_syntax_uid=h.transfer_syntax_uid) for h in chosen
        )
        taken = 0
        with Sender(me, target, offers) as sender:
            for sent, one in enumerate(chosen, start=1):
                outcome = sender.store(
                    sop_class_uid=one.sop_class_uid,
                    sop_instance_uid=one.sop_instance_uid,
                    transfer_syntax_uid=one.transfer_syntax_uid,
                    part10=self.archive.file(one.sop_instance_uid),
                )
                taken += _is_stored(outcome.status)
                told(sent, len(chosen))
        return taken

    # --- what associations bring ---------------------------------------------------------------------------------------

    def _on_request(self, event: Event) -> None:
        behaviour, association = self.behaviour, event.assoc
        association.acceptor.supported_contexts = [
            c for c in self._contexts if c.abstract_syntax not in behaviour.refused_classes
        ]
        if behaviour.associations == "silence":
            self._stopped.wait()
            association.kill()
        elif behaviour.associations != "accept":
            # PS3.8 Table 9-21: result, source, reason
            association.acse.send_reject(*((1, 1, 3) if behaviour.associations == "reject" else (2, 3, 2)))
            association.kill()

    def _on_store(self, event: Event) -> int:
        behaviour = self.behaviour
        with self._lock:
            answer = behaviour.next_stores.pop(0) if behaviour.next_stores else behaviour.every_store
        if behaviour.store_delay:
            self._stopped.wait(behaviour.store_delay)
        if isinstance(answer, Fault):
            if answer.value.endswith("after"):
                self.archive.add(event.encoded_dataset())
            self._misbehave(event, answer)
            return _NOT_UNDERSTOOD
        if _is_stored(answer):
            self.archive.add(event.encoded_dataset())
        return answer

    def _on_find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        behaviour = self.behaviour
        answer = behaviour.every_find
        if behaviour.find_delay:
            self._stopped.wait(behaviour.find_delay)
        if isinstance(answer, Fault):
            self._misbehave(event, answer)
            return
        if answer != _SUCCESS:
            yield answer, None
            return
        try:
            answers = self.archive.find(event.identifier, behaviour.hidden)
        except Unanswerable:
            yield _IDENTIFIER_DOES_NOT_MATCH, None
            return
        for found in [] if behaviour.blind else answers:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield _PENDING, found

    def _misbehave(self, event: Event, fault: Fault) -> None:
        if fault in (Fault.ABORT, Fault.ABORT_AFTER):
            event.assoc.abort()
            return
        if fault in (Fault.SILENCE, Fault.SILENCE_AFTER):
            self._stopped.wait()
        connection = _socket_of(event)
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
        event.assoc.abort()


class _Server(ThreadedAssociationServer):
    """pynetdicom's server, which stops at once."""

    request_queue_size = 128
    daemon_threads = True

    def close(self) -> None:
        # pynetdicom's shutdown expects to be one of several servers of an AE
        socketserver.BaseServer.shutdown(self)
        self.server_close()


def _is_stored(status: int) -> bool:
    return what_to_do(status) in (Action.DELIVERED, Action.DELIVERED_WITH_WARNING)


def _socket_of(event: Event) -> socket.socket | None:
    wrapped = event.assoc.dul.socket
    found: socket.socket | None = wrapped.socket if wrapped is not None else None
    return found


def _tuned(event: Event) -> None:
    """Send small messages at once (waiting for more costs 40 ms each), and close the socket whoever ends the connection."""
    connection = _socket_of(event)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped: Any = event.assoc.dul.socket
        wrapped._shutdown_socket = partial(end, connection)  # noqa: SLF001 - there is no public way


__all__ = ["SR_CLASSES", "Behaviour", "Fault", "Held", "StandInPacs"]
