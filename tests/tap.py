"""A relay between two peers that writes down what one says to the other, and reads the C-STOREs out of it (PS3.7 9.3.1, PS3.8 9.3.5)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.raw_peer import ASSOCIATE_AC, P_DATA, STORE_RQ, _results

_STORE_RSP = 0x8001


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A C-STORE as it went over the wire: the data set's bytes, and what was answered (-1: nothing)."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes
    status: int
    comment: str


@dataclass(slots=True)
class _Conversation:
    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


class Tap:
    """Listens on ``port`` and passes everything on to another port of this machine; a context manager."""

    def __init__(self, onward: int) -> None:
        self._onward = onward
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._conversations: list[_Conversation] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start to listen."""
        self._begin(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, when both ends of every connection have."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(30)

    def sent(self) -> list[Sent]:
        """Return the C-STOREs of all associations that have ended."""
        return [one for conversation in self._conversations for one in _stores(conversation)]

    def rejected(self) -> dict[str, int]:
        """Return the results of the presentation contexts that were not accepted, by what was proposed first for them."""
        found: dict[str, int] = {}
        for conversation in self._conversations:
            proposed = dict(_proposed(bytes(conversation.asked)))
            for number, (result, _) in _accepted(bytes(conversation.answered)).items():
                if result:
                    found[proposed[number]] = result
        return found

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type] - a bound method
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._onward))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = _Conversation()
            self._conversations.append(conversation)
            self._begin(self._talk, near, far, conversation)

    def _talk(self, near: socket.socket, far: socket.socket, conversation: _Conversation) -> None:
        with near, far:
            back = threading.Thread(target=self._pass_on, args=(far, near, conversation.answered), daemon=True)
            back.start()
            self._pass_on(near, far, conversation.asked)
            back.join(30)

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        try:
            while piece := source.recv(1 << 16):
                kept += piece
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def _pdus(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 6 <= len(raw):
        kind, length = struct.unpack_from(">BxL", raw, at)
        yield kind, raw[at + 6 : at + 6 + length]
        at += 6 + length


def _messages(raw: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Return (context, command set, data set) of each message."""
    command, data = bytearray(), bytearray()
    waiting: tuple[int, bytes] | None = None
    for kind, body in _pdus(raw):
        at = 0
        while kind == P_DATA and at < len(body):
            length, context, flags = struct.unpack_from(">LBB", body, at)
            content = body[at + 6 : at + 4 + length]
            at += 4 + length
            if flags & 1:
                command += content
            else:
                data += content
            if flags & 3 == 3:
                waiting = (context, bytes(command))
                command.clear()
                if _number(_elements(waiting[1]), 0x0800) == 0x0101:
                    yield (*waiting, b"")
            elif flags & 2 and waiting is not None:
                yield (*waiting, bytes(data))
                data.clear()


def _elements(command: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        found[element] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def _number(command: dict[int, bytes], element: int) -> int:
    return int.from_bytes(command.get(element, b""), "little")


def _text(command: dict[int, bytes], element: int) -> str:
    return command.get(element, b"").decode("latin-1").rstrip("\0 ")


def _accepted(answered: bytes) -> dict[int, tuple[int, str]]:
    return {number: found for kind, body in _pdus(answered) if kind == ASSOCIATE_AC for number, found in _results(body)}


def _proposed(asked: bytes) -> Iterator[tuple[int, str]]:
    """Return the contexts of an A-ASSOCIATE-RQ: number, and abstract and first transfer syntax as one text."""
    for kind, body in _pdus(asked):
        at = 68
        while kind == 1 and at < len(body):
            item, length = struct.unpack_from(">BxH", body, at)
            content = body[at + 4 : at + 4 + length]
            at += 4 + length
            if item == 0x20:
                texts, inner = [], 4
                while inner < len(content):
                    (size,) = struct.unpack_from(">2xH", content, inner)
                    texts.append(content[inner + 4 : inner + 4 + size].decode("ascii").rstrip("\0"))
                    inner += 4 + size
                yield content[0], " ".join(texts[:2])


def _stores(conversation: _Conversation) -> Iterator[Sent]:
    contexts = _accepted(bytes(conversation.answered))
    answers = [_elements(command) for _, command, _ in _messages(bytes(conversation.answered))]
    answers = [a for a in answers if _number(a, 0x0100) == _STORE_RSP]
    requests = [(context, _elements(command), data) for context, command, data in _messages(bytes(conversation.asked))]
    requests = [r for r in requests if _number(r[1], 0x0100) == STORE_RQ]
    for number, (context, command, data) in enumerate(requests):
        answer = answers[number] if number < len(answers) else {}
        yield Sent(
            sop_class=_text(command, 0x0002),
            sop_instance=_text(command, 0x1000),
            transfer_syntax=contexts[context][1],
            data=data,
            status=_number(answer, 0x0900) if answer else -1,
            comment=_text(answer, 0x0902),
        )
