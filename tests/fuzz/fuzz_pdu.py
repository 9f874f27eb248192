"""Bytes for a listening receiver, over a socket as a peer would send them: it answers or hangs up, forgets the peer, and lives on.

``python -m tests.fuzz.fuzz_pdu --seconds 30``. The first byte of an input says whether an association is negotiated before the rest is
sent, the second in pieces of which size it is sent.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.dicom_bytes import CT, EXPLICIT, IMPLICIT
from tests.fuzz.driving import drive
from tests.raw_peer import ASSOCIATE_AC, VERIFICATION, associate_rq, read_pdu

if TYPE_CHECKING:
    from service.dimse.scp import Receiver

LONGEST = 4096
#: seconds in which the receiver must be done with a peer that has said everything: more than our last word may take (2), less than a stall (15)
PATIENCE = 5.0
#: an object is refused or kept; the spool is emptied after so many inputs
_SWEEP_EVERY = 1000
CONTEXTS = ((CT, [EXPLICIT]), (CT, [IMPLICIT]), (VERIFICATION, [IMPLICIT]))


class _Errors(logging.Handler):
    """Keeps what the receiver logs with a traceback: none of that may come from a peer's bytes."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if record.exc_info:
            self.records.append(record)


class Target:
    """A receiver in this process, and what it must be after each input.

    Raises ``AssertionError`` where it is not: a thread that died or stays, a traceback in the log, an echo that is not answered.
    """

    def __init__(self, receiver: Receiver, spool: Path) -> None:
        self._receiver = receiver
        self._spool = spool
        self._inputs = 0
        self._errors = _Errors()
        self._died: list[threading.ExceptHookArgs] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is logged, and threads that die, until the block ends."""
        log = logging.getLogger("lms_sr")
        before = log.propagate, log.level, threading.excepthook
        log.addHandler(self._errors)
        log.propagate = False
        log.setLevel(logging.ERROR)
        threading.excepthook = self._died.append
        try:
            yield
        finally:
            log.removeHandler(self._errors)
            log.propagate, threading.excepthook = before[0], before[2]
            log.setLevel(before[1])

    def one_input(self, data: bytes) -> None:
        """Be a peer that sends ``data``, and see that the receiver is as before."""
        if len(data) < 2:
            return
        self._talk(negotiate=bool(data[0] & 1), piece=1 + 16 * data[1], rest=data[2:])
        until = time.monotonic() + PATIENCE
        while left := self._associations():
            assert time.monotonic() < until, f"{left} is still there"
            time.sleep(0.0005)
        assert not self._died, self._died[0]
        assert not self._errors.records, self._errors.format(self._errors.records[0])
        self._inputs += 1
        if self._inputs % _SWEEP_EVERY == 0:
            self.sweep()

    def sweep(self) -> None:
        """See that nothing is left half-way in the spool, and empty it."""
        assert not list((self._spool / "incoming").iterdir()), "a temporary file was left"
        for folder in ("instances", "new", "quarantine"):
            for path in (self._spool / folder).rglob("*"):
                if path.is_file():
                    path.unlink()

    @staticmethod
    def _associations() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("AcceptorThread")]

    def _talk(self, *, negotiate: bool, piece: int, rest: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._receiver.port), timeout=PATIENCE) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # a receiver that hangs up in the middle has said all that it has to say
            with contextlib.suppress(ConnectionError):
                if negotiate:
                    peer.sendall(associate_rq(CONTEXTS, calling="PACS", called="LMS_SR"))
                    kind, _ = read_pdu(peer)
                    assert kind == ASSOCIATE_AC, f"a proper request was answered with a PDU of type {kind}"
                for at in range(0, len(rest), piece):
                    peer.sendall(rest[at : at + piece])
                _say_no_more(peer)
                while peer.recv(65536):
                    pass


def _say_no_more(peer: socket.socket) -> None:
    try:
        peer.shutdown(socket.SHUT_WR)
    except OSError as error:
        # the receiver has hung up and its reset was read already: shutdown alone calls that by another name
        if error.errno != errno.ENOTCONN:
            raise


@contextlib.contextmanager
def target() -> Iterator[Target]:
    """Start a receiver on a free port with an empty spool."""
    from service.clock import SystemClock  # noqa: PLC0415 - when the fuzzer has made it observable
    from service.dimse.scp import Receiver  # noqa: PLC0415
    from service.settings import Local, Node, Settings  # noqa: PLC0415
    from service.store.spool import Spool  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="lms-sr-fuzz-"))
    try:
        spool = Spool(folder / "spool", durability="write")
        spool.prepare()
        settings = Settings(local=Local(), nodes=(Node(name="PACS", ae_title="PACS"),))
        receiver = Receiver(settings, spool, SystemClock())
        receiver.start(0)
        try:
            made = Target(receiver, folder / "spool")
            with made.watching():
                yield made
            made.sweep()
        finally:
            receiver.stop(5)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Run."""
    import atheris  # noqa: PLC0415 - Linux on x86-64 only

    with atheris.instrument_imports(include=["service.dimse", "pynetdicom"]):
        import service.dimse.scp  # noqa: F401, PLC0415
    with target() as made:
        drive("pdu", made.one_input, LONGEST + 2)


if __name__ == "__main__":
    main()
