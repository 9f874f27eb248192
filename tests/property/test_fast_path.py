"""The fast path and pynetdicom's own, held against each other: the same bytes on the network, however they are cut, give the same
answers, the same files and the same counts."""

from __future__ import annotations

import random
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.clock import ManualClock
from service.dimse.scp import Receiver
from service.settings import Local, Node, Settings
from service.store.spool import Spool, read_meta
from tests import raw_peer
from tests.dicom_bytes import CT, EXPLICIT, IMPLICIT, MR, data_set
from tests.raw_peer import P_DATA, RELEASE_RQ, VERIFICATION, RawPeer, command, pdu, store_rq

NODES = (Node(name="PACS", ae_title="PACS"), Node(name="HEALTH", ae_title="HEALTH", may=("echo",)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two receivers, each with a spool of its own."""

    receivers: tuple[Receiver, Receiver]
    spools: tuple[Spool, Spool]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        spools = (Spool(Path(folder) / "fast", durability="write"), Spool(Path(folder) / "own", durability="write"))
        receivers = []
        for spool, fast in zip(spools, (True, False), strict=True):
            spool.prepare()
            receiver = Receiver(Settings(local=Local(fast_path=fast), nodes=NODES), spool, ManualClock())
            receiver.start(0)
            receivers.append(receiver)
        yield Pair(receivers=(receivers[0], receivers[1]), spools=spools)
        for receiver in receivers:
            receiver.stop(5)


def message(draw: random.Random, number: int) -> list[tuple[int, int, bytes]]:
    """Return the values (context, control, bytes) of one message: mostly of a sort that is answered."""
    kind = draw.choices(["store", "echo", "odd"], [6, 2, 2])[0]
    if kind == "echo":
        raw = command(sop_class=VERIFICATION, field=raw_peer.ECHO_RQ, message_id=number, data_set_type=0x0101)
        return cut(draw, 3, 1, raw)
    instance = f"1.2.3.{draw.randrange(5)}"
    data = data_set(instance=instance, pixels=draw.randbytes(2 * draw.randrange(0, 3000)))
    changes: dict[str, int | str] = {"message_id": number, "sop_instance": instance}
    if kind == "odd":
        match draw.randrange(6):
            case 0:
                data = data[: draw.randrange(len(data))]
            case 1:
                changes["sop_instance"] = draw.choice(["../x", "1..2", "1." + "2" * 80, ""])
            case 2:
                changes["sop_class"] = draw.choice([MR, "", VERIFICATION])
            case 3:
                data = draw.randbytes(draw.randrange(300))
            case 4:
                return cut(draw, 1, 1, store_rq(data_set_type=0x0101, message_id=number))
            case _:
                data = data_set(sop_class=MR, instance=instance)
    return cut(draw, 1, 1, store_rq(**changes)) + cut(draw, 1, 0, data)


def cut(draw: random.Random, context: int, control: int, raw: bytes) -> list[tuple[int, int, bytes]]:
    """Return a command or data set in some values."""
    edges = sorted({0, len(raw), *(draw.randrange(len(raw) + 1) for _ in range(draw.randrange(4)))})
    pieces = [raw[a:b] for a, b in pairwise(edges)] or [b""]
    return [(context, control | (2 if n == len(pieces) - 1 else 0), piece) for n, piece in enumerate(pieces)]


def conversation(draw: random.Random) -> tuple[list[list[bytes]], bytes]:
    """Return messages, each as PDUs, and how it ends."""
    messages = []
    for number in range(1, draw.randrange(2, 6)):
        pdus, values = [], message(draw, number)
        while values:
            together, values = values[: (size := draw.randrange(1, 4))], values[size:]
            body = b"".join(struct.pack(">LBB", len(piece) + 2, c, control) + piece for c, control, piece in together)
            pdus.append(pdu(P_DATA, body))
        messages.append(pdus)
    ending = draw.choice(
        [
            pdu(RELEASE_RQ, bytes(4)),
            pdu(raw_peer.ABORT, bytes(4)),
            pdu(0x77, b"unknown"),
            pdu(P_DATA, struct.pack(">LBB", 0xFFFFFF, 1, 3)),
            pdu(P_DATA, struct.pack(">LBB", 1, 1, 3)),
            pdu(raw_peer.ASSOCIATE_RQ, bytes(70)),
            pdu(P_DATA, struct.pack(">LBB", 8, 1, 3) + b"none!!"),
        ]
    )
    return messages, ending


def talk(receiver: Receiver, seed: int, calling: str) -> list[tuple[int, bytes]]:
    """Say it all; return every PDU that came back."""
    draw = random.Random(seed)
    messages, ending = conversation(draw)
    said = []
    with RawPeer(receiver.port) as peer:
        contexts = [(CT, [EXPLICIT]), (VERIFICATION, [IMPLICIT])]
        peer.write(raw_peer.associate_rq(contexts, calling=calling, called="LMS_SR"))
        said.append(peer.read())
        for pdus in messages:
            raw = b"".join(pdus)
            # and on the network in other pieces again
            edges = sorted({0, len(raw), *(draw.randrange(len(raw) + 1) for _ in range(draw.randrange(5)))})
            try:
                for a, b in pairwise(edges):
                    peer.write(raw[a:b])
            except ConnectionError:
                break
            said.append(peer.read())
            if said[-1][0] != P_DATA:
                return said
        peer.write(ending)
        said.append(peer.read())
    return said


def held(spool: Spool) -> dict[str, bytes]:
    return {key: spool.read(key)[read_meta(spool.path(key)).dataset_offset :] for key in spool.all_keys()}


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), calling=st.sampled_from(["PACS", "PACS", "HEALTH"]))
def test_both_paths_answer_and_keep_the_same(pair: Pair, seed: int, calling: str) -> None:
    fast, own = (talk(receiver, seed, calling) for receiver in pair.receivers)
    assert fast == own
    assert held(pair.spools[0]) == held(pair.spools[1])
    assert pair.receivers[0].counts == pair.receivers[1].counts
