"""What processes of one receiver say to each other: frames over a Unix socket, with open sockets beside them (SCM_RIGHTS)."""

from __future__ import annotations

import array
import json
import os
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from service.dimse.entrance import Entrance

_HEAD = struct.Struct(">BQL")
#: nobody says more at once: an A-ASSOCIATE-RQ and who sent it
_LONGEST = 1 << 20
_PIECE = 1 << 17
_MOST_DESCRIPTORS: Final = 16


class Kind(IntEnum):
    """What a frame says."""

    #: receiving process to door: who I am, and which associations I serve
    HELLO = 1
    #: door to receiving process: are you there?
    ASK = 2
    #: the answer
    READY = 3
    #: door to receiving process: serve this connection (it comes beside)
    GIVE = 4
    #: receiving process to door: this association is over
    LEFT = 5
    #: receiving process to door: may this peer, who came with TLS, be let in?
    WISH = 6
    #: the answer
    ANSWER = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One thing said: about which association (or wish), in words, in bytes, and with which open socket."""

    kind: Kind
    number: int = 0
    words: dict[str, Any]
    raw: bytes = b""
    descriptor: int = -1


class Wire:
    """One end of a Unix socket, on an entrance's thread. It never waits: what the other side does not take yet is kept.

    Parameters
    ----------
    connection:
        Connected; its own from now on.
    entrance:
        Whose thread it lives on.
    said:
        Gets each frame.
    broken:
        Called once, when the other side has gone.
    """

    def __init__(
        self,
        connection: socket.socket,
        entrance: Entrance,
        said: Callable[[Frame], None],
        broken: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._entrance = entrance
        self._said = said
        self._broken = broken
        self._out: deque[tuple[bytearray, int]] = deque()
        self._in = bytearray()
        self._descriptors: deque[int] = deque()
        self.is_open = True
        connection.setblocking(False)
        entrance.watch(connection, selectors.EVENT_READ, self._happened)

    def say(
        self, kind: Kind, number: int = 0, words: dict[str, Any] | None = None, raw: bytes = b"", descriptor: int = -1
    ) -> None:
        """Say something; ``descriptor`` is duplicated at once, and may be closed."""
        if not self.is_open:
            return
        text = json.dumps(words or {}).encode()
        body = len(text).to_bytes(4, "big") + text + raw
        # until it is sent the descriptor has to stay open
        kept = os.dup(descriptor) if descriptor >= 0 else -1
        self._out.append((bytearray(_HEAD.pack(kind, number, len(body)) + body), kept))
        self._flush()

    def close(self) -> None:
        """Hang up; ``broken`` is not called."""
        if not self.is_open:
            return
        self.is_open = False
        self._entrance.watch(self._connection, 0, self._happened)
        self._connection.close()
        for descriptor in (*(d for _, d in self._out if d >= 0), *self._descriptors):
            with suppress(OSError):
                os.close(descriptor)
        self._out.clear()
        self._descriptors.clear()

    def _happened(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if self.is_open and events & selectors.EVENT_READ:
            self._read()

    def _flush(self) -> None:
        try:
            while self._out:
                frame, descriptor = self._out[0]
                rights = (
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))] if descriptor >= 0 else []
                )
                sent = self._connection.sendmsg([frame], rights)
                if descriptor >= 0:
                    os.close(descriptor)
                    self._out[0] = (frame, -1)
                del frame[:sent]
                if not frame:
                    self._out.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._break()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._entrance.watch(self._connection, events, self._happened)

    def _read(self) -> None:
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
        try:
            piece, beside, _, _ = self._connection.recvmsg(_PIECE, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            piece, beside = b"", []
        for level, kind, data in beside:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(data[: len(data) - len(data) % found.itemsize])
                self._descriptors.extend(found)
        if not piece:
            self._break()
            return
        self._in += piece
        while self.is_open and len(self._in) >= _HEAD.size:
            kind, number, length = _HEAD.unpack_from(self._in)
            if length > _LONGEST:
                self._break()
                return
            end = _HEAD.size + length
            if len(self._in) < end:
                return
            body = bytes(self._in[_HEAD.size : end])
            del self._in[:end]
            words_end = 4 + int.from_bytes(body[:4], "big")
            frame = Frame(
                kind=Kind(kind),
                number=number,
                words=json.loads(body[4:words_end]),
                raw=body[words_end:],
                descriptor=self._descriptors.popleft() if kind == Kind.GIVE and self._descriptors else -1,
            )
            self._said(frame)

    def _break(self) -> None:
        if self.is_open:
            self.close()
            self._broken()
