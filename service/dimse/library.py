"""What this project needs of pynetdicom besides its defaults, in one place.

pynetdicom logs data sets, pydicom quotes values in warnings: neither may reach a log here. And pynetdicom leaves sockets as the
system makes them, and reads them in pieces of 4 KB.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pydicom.config
from pydicom.errors import BytesLengthException, InvalidDicomError
from pynetdicom import _config
from pynetdicom.transport import AssociationSocket

from service.dimse.handshake import say_goodbye

if TYPE_CHECKING:
    from pynetdicom.association import Association

#: what we offer to take in one PDU (PS3.8 D.1); dcmtk's largest
MAX_PDU: Final = 131072
#: PDUs that claim more are not read: P-DATA-TF may not, and an A-ASSOCIATE-RQ with all contexts has a quarter of it
LONGEST_PDU: Final = 1 << 20

#: what pynetdicom and pydicom raise on bytes that are not what they should be (``OSError``: they end in the middle of a tag)
GARBAGE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

#: Linux only; it must be set again after each read
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def configure() -> None:
    """Keep values out of logs: pynetdicom's own events and errors, pydicom's warnings about what it reads. Once per process."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def tune(connection: socket.socket, timeout: float) -> None:
    """Set what a DICOM connection needs: no waiting for more to send, a limit to silence, and a notice of dead peers."""
    connection.settimeout(timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    acknowledge_at_once(connection)


def acknowledge_at_once(connection: socket.socket) -> None:
    """Acknowledge what was read now, not in 40 ms: a sender with Nagle's algorithm waits that long for each small message."""
    if _QUICKACK is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def end(connection: socket.socket) -> None:
    """Shut down and close; pynetdicom leaves a socket open whose peer has gone."""
    if isinstance(connection, ssl.SSLSocket):
        say_goodbye(connection)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def read_exactly(connection: socket.socket, length: int, *, deadline: float | None = None) -> bytearray:
    """Read ``length`` bytes; fewer where the peer closed the connection.

    Parameters
    ----------
    deadline:
        On ``time.monotonic``; None: only the connection's own time-out counts, for each piece.

    Raises
    ------
    OSError
        The connection broke, it took too long (``TimeoutError``), or the peer claims more than a PDU may hold.
    """
    if length > LONGEST_PDU:
        msg = f"PDU of {length} bytes"
        raise OSError(msg)
    buffer = bytearray(length)
    view = memoryview(buffer)
    read = 0
    while read < length:
        if deadline is not None:
            # zero would mean: do not wait at all, and answer otherwise than with a time-out
            connection.settimeout(max(0.001, deadline - time.monotonic()))
        count = connection.recv_into(view[read:])
        acknowledge_at_once(connection)
        if not count:
            break
        read += count
    view.release()
    del buffer[read:]
    return buffer


class QuickSocket(AssociationSocket):
    """pynetdicom's socket with our way of reading it.

    Parameters
    ----------
    assoc:
        The association.
    connection:
        Connected; its time-out is ``stall``.
    stall:
        Seconds that a piece of a PDU may take from its first byte to its last.
    read:
        What was read from the connection before.
    """

    def __init__(self, assoc: Association, connection: socket.socket, *, stall: float, read: bytes = b"") -> None:
        super().__init__(assoc, client_socket=connection)
        self._stall = stall
        self._read = bytearray(read)

    @property
    def ready(self) -> bool:
        """Say whether there is something to read; pynetdicom's cannot with more than 1023 descriptors."""
        connection = self.socket
        if self._read:
            return True
        if connection is None or not self._is_connected:
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        poll = select.poll()
        try:
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes`` from the peer."""
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        read = self._read[:nr_bytes]
        del self._read[:nr_bytes]
        if len(read) < nr_bytes:
            read += read_exactly(connection, nr_bytes - len(read), deadline=time.monotonic() + self._stall)
            connection.settimeout(self._stall)
        return read

    def _shutdown_socket(self) -> None:
        """End the connection."""
        if self.socket is not None:
            end(self.socket)
