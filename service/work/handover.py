"""What the supervisor and its children say to each other, over the child's standard input and output.

Input: one line with the role and the effective settings (they hold secrets, so they are on no command line and in no
environment), then nothing; its end-of-file means that the supervisor has died. Output: one line when the child is ready.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from service.settings import Settings

Role = Literal["receive", "work"]
ROLES: tuple[Role, ...] = ("receive", "work")
#: what a child may be started for: a role, a part of one (``associate``: a receiving process behind the door), or to bring the
#: database up to date and end
Task = Literal["receive", "associate", "work", "migrate"]

#: how long a process may take to finish what is in flight
GRACE_SECONDS = 10.0
#: the same for a child, which must have ended before its parent stops waiting
CHILD_GRACE_SECONDS = 8.0

#: exit codes of every process of the service
OK = 0
FAILED = 1
MISCONFIGURED = 2
ORPHANED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a child is to do.

    ``slot`` tells apart processes of one role over one database. ``any_port``: listen on a port that the system chooses,
    whatever the settings say. ``alone``: nobody migrated the database just before. ``door``: the Unix socket between the door and the
    receiving processes; empty where all is one process.
    """

    task: Task
    settings: Settings
    slot: int = 0
    any_port: bool = False
    alone: bool = False
    door: str = ""

    def to_line(self) -> bytes:
        """Return the line to write."""
        plain = {
            "task": self.task,
            "slot": self.slot,
            "any_port": self.any_port,
            "alone": self.alone,
            "door": self.door,
            "settings": _plain(self.settings.model_dump(by_alias=True)),
        }
        return json.dumps(plain).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        """Return what `to_line` wrote."""
        data = json.loads(line)
        return cls(**{**data, "settings": Settings.model_validate(data["settings"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A child is up; ``port`` is where it listens, ``tls_port`` where it does so with TLS, 0 where it does not."""

    port: int = 0
    tls_port: int = 0

    def to_line(self) -> bytes:
        """Return the line to write."""
        return json.dumps({"ready": True, "port": self.port, "tls_port": self.tls_port}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Ready:
        """Return what `to_line` wrote."""
        data = json.loads(line)
        return cls(port=int(data["port"]), tls_port=int(data.get("tls_port", 0)))


def process_count(settings: Settings) -> int:
    """Return how many processes receive: ``[local] receive_processes``, or half as many as there are processor cores, 2 to 4.

    One process keeps up with several senders, since waiting for network and disk takes no turn of the interpreter; the other half of
    the cores is for what follows. Two on two cores all the same: eight associations with objects of 12 KB came 1.2 times as fast as in
    one (docs/performance.md). A machine with one core gains nothing from a second.
    """
    cores = os.cpu_count() or 1
    return settings.local.receive_processes or (1 if cores == 1 else max(2, min(4, cores // 2)))


def _plain(value: object) -> object:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case dict():
            return {k: _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case _:
            return value
