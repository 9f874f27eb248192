"""Both ends of an association made of bytes (PS3.8 9.3, PS3.7 E), so that tests can say what no toolkit would say."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.dicom_bytes import CT, EXPLICIT, IMPLICIT, INSTANCE, encode

VERIFICATION = "1.2.840.10008.1.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
#: result of a presentation context (PS3.8 Table 9-18)
ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4

NO_DATA_SET: Final = 0x0101
#: Command Field (PS3.7 E.1)
STORE_RQ, ECHO_RQ, FIND_RQ, EVENT_REPORT_RQ = 0x0001, 0x0030, 0x0020, 0x0100

Contexts = Sequence[tuple[str, Sequence[str]]]


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """Return a PDU; ``length`` replaces the true one."""
    return struct.pack(">BxL", kind, len(body) if length is None else length) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _user_information(max_length: int) -> bytes:
    return _item(0x50, _item(0x51, struct.pack(">L", max_length)) + _item(0x52, b"1.2.3.4"))


def associate_rq(contexts: Contexts, *, calling: str, called: str, max_length: int = 16384) -> bytes:
    """Return an A-ASSOCIATE-RQ; contexts are numbered 1, 3, 5 ..."""
    proposed = b"".join(
        _item(
            0x20,
            struct.pack(">B3x", 2 * n + 1)
            + _item(0x30, abstract.encode())
            + b"".join(_item(0x40, t.encode()) for t in transfers),
        )
        for n, (abstract, transfers) in enumerate(contexts)
    )
    titles = called.encode().ljust(16) + calling.encode().ljust(16)
    body = struct.pack(">HH", 1, 0) + titles + bytes(32) + _item(0x10, b"1.2.840.10008.3.1.1.1") + proposed
    return pdu(ASSOCIATE_RQ, body + _user_information(max_length))


def associate_ac(results: Sequence[tuple[int, int, str]], *, max_length: int = 16384) -> bytes:
    """Return an A-ASSOCIATE-AC with (context, result, transfer syntax) each."""
    contexts = b"".join(
        _item(0x21, struct.pack(">BxBx", n, result) + _item(0x40, syntax.encode())) for n, result, syntax in results
    )
    body = struct.pack(">HH", 1, 0) + bytes(64) + _item(0x10, b"1.2.840.10008.3.1.1.1") + contexts
    return pdu(ASSOCIATE_AC, body + _user_information(max_length))


def value(content: bytes, *, context: int = 1, command: bool = False, last: bool = True) -> bytes:
    """Return a presentation data value (PS3.8 9.3.5.1)."""
    return struct.pack(">LBB", len(content) + 2, context, command + 2 * last) + content


def command(**elements: int | str) -> bytes:
    """Return a command set (PS3.7 6.3.1); names are those of `_COMMAND`."""
    body = b""
    for name, (tag, vr) in _COMMAND.items():
        if name in elements:
            content = elements[name]
            body += encode(tag, vr, struct.pack("<H", content) if isinstance(content, int) else content, IMPLICIT)
    return encode(0x00000000, "UL", struct.pack("<L", len(body)), IMPLICIT) + body


_COMMAND: Final = {
    "sop_class": (0x00000002, "UI"),
    "field": (0x00000100, "US"),
    "message_id": (0x00000110, "US"),
    "responds_to": (0x00000120, "US"),
    "priority": (0x00000700, "US"),
    "data_set_type": (0x00000800, "US"),
    "status": (0x00000900, "US"),
    "comment": (0x00000902, "LO"),
    "sop_instance": (0x00001000, "UI"),
    "event_type": (0x00001002, "US"),
}


def store_rq(sop_class: str = CT, sop_instance: str = INSTANCE, **changes: int | str) -> bytes:
    """Return the command set of a C-STORE request; an empty text leaves its element out."""
    elements: dict[str, int | str] = {
        "sop_class": sop_class,
        "field": STORE_RQ,
        "message_id": 1,
        "priority": 0,
        "data_set_type": 1,
        "sop_instance": sop_instance,
    }
    return command(**{k: v for k, v in {**elements, **changes}.items() if v != ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a command set says that was received."""

    status: int
    comment: str
    responds_to: int
    field: int
    context: int


class RawPeer:
    """A requestor; a context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=15)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: BaseException | TracebackType | type[BaseException] | None) -> None:
        self.socket.close()

    def write(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def read(self) -> tuple[int, bytes]:
        """Return the type and body of the next PDU; type 0 where the connection ended."""
        return read_pdu(self.socket)

    def negotiate(
        self,
        contexts: Contexts = ((CT, [EXPLICIT]),),
        *,
        calling: str = "PACS",
        called: str = "LMS_SR",
        max_length: int = 16384,
    ) -> dict[int, tuple[int, str]]:
        """Associate; return (result, transfer syntax) of each context."""
        self.write(associate_rq(contexts, calling=calling, called=called, max_length=max_length))
        kind, body = self.read()
        assert kind == ASSOCIATE_AC, (kind, body)
        return dict(_results(body))

    def store(self, data: bytes, *, context: int = 1, **changes: int | str) -> Response:
        """Send a C-STORE in two PDUs; return the answer."""
        self.write(pdu(P_DATA, value(store_rq(**changes), context=context, command=True)))
        self.write_data(data, context=context)
        return self.response()

    def write_data(self, data: bytes, *, context: int = 1, size: int = 16000, last: bool = True) -> None:
        """Send a data set, in as many PDUs as it takes."""
        for at in range(0, max(1, len(data)), size):
            piece = data[at : at + size]
            self.write(pdu(P_DATA, value(piece, context=context, last=last and at + size >= len(data))))

    def response(self) -> Response:
        """Return the next response, from however many PDUs it takes."""
        collected = b""
        while True:
            kind, body = self.read()
            assert kind == P_DATA, (kind, body)
            length, context, flags = struct.unpack_from(">LBB", body)
            assert length == len(body) - 4
            assert flags & 1
            collected += body[6:]
            if flags & 2:
                return _response(collected, context)

    def release(self) -> int:
        """Ask for release; return the type of the answer."""
        self.write(pdu(RELEASE_RQ, bytes(4)))
        return self.read()[0]


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Return the type and body of the next PDU; type 0 where the connection ended."""
    try:
        head = _exactly(connection, 6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, _exactly(connection, length)
    except ConnectionError:
        return 0, b""


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (piece := connection.recv(length - len(found))):
        found += piece
    return found


def _results(body: bytes) -> Iterator[tuple[int, tuple[int, str]]]:
    at = 68
    while at < len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        content = body[at + 4 : at + 4 + length]
        if kind == 0x21:
            yield content[0], (content[2], content[8:].decode().rstrip("\0"))
        at += 4 + length


def _response(raw: bytes, context: int) -> Response:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        group, element, length = struct.unpack_from("<HHL", raw, at)
        assert group == 0
        found[element] = raw[at + 8 : at + 8 + length]
        at += 8 + length

    def number(element: int) -> int:
        return int(struct.unpack("<H", found[element])[0])

    comment = found.get(0x0902, b"").decode().rstrip()
    return Response(
        status=number(0x0900), comment=comment, responds_to=number(0x0120), field=number(0x0100), context=context
    )


Script = Callable[[socket.socket], None]


@contextmanager
def raw_acceptor(script: Script) -> Iterator[int]:
    """Serve one connection after the other with ``script`` until the block ends; yield the port."""
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(15)
                    try:
                        script(connection)
                    except ConnectionError:
                        continue
                    except BaseException as error:  # noqa: BLE001 - told in the test's own thread
                        failures.append(error)

        thread = threading.Thread(target=serve, name="raw acceptor", daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(15)
    assert not thread.is_alive()
    assert not failures, failures
