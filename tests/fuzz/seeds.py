"""Write the corpus that the fuzzers start from into ``tests/data/fuzz``: ``python -m tests.fuzz.seeds``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests import dicom_bytes as db
from tests.dicom_bytes import BIG, CT, EXPLICIT, IMPLICIT, JPEG2000, UNDEFINED, data_set
from tests.fuzz.driving import CORPUS
from tests.fuzz.fuzz_gatekeeper import SYNTAXES
from tests.fuzz.fuzz_pdu import CONTEXTS
from tests.raw_peer import (
    ABORT,
    ECHO_RQ,
    FIND_RQ,
    NO_DATA_SET,
    P_DATA,
    RELEASE_RQ,
    VERIFICATION,
    associate_rq,
    command,
    pdu,
    store_rq,
    value,
)

_CONTENT = 0x0040A730
#: type and reserved byte of the item (PS3.8 Table 9-14)
_ABSTRACT_SYNTAX = b"\x30\0"


def gatekeeper() -> Iterator[tuple[str, bytes]]:
    """Return data sets by name."""
    for name, syntax in (("explicit", EXPLICIT), ("implicit", IMPLICIT), ("big", BIG)):
        first = bytes([SYNTAXES.index(syntax)])
        yield name, first + data_set(syntax=syntax, pixels=bytes(8))
        item = db.item(db.encode(0x0040A160, "UT", "x", syntax), syntax, defined=False)
        nested = db.sequence(_CONTENT, db.item(db.sequence(_CONTENT, item, syntax), syntax), syntax, defined=False)
        yield f"{name}-nested", first + data_set(syntax=syntax, extra=nested, pixels=b"")
        unknown = db.encode(0x00091010, "UN", db.item(db.encode(0x00091011, "LO", "x", IMPLICIT)), syntax)
        yield f"{name}-unknown", first + data_set(syntax=syntax, extra=unknown, pixels=b"")
    endless = db.encode(0x00091010, "UN", b"", length=UNDEFINED) + db.item(b"", defined=False) + db.delimiter(0xE0DD)
    yield "unknown-endless", bytes(1) + data_set(extra=endless, pixels=b"")
    inside = db.sequence(0x00091010, db.item(db.encode(0x00091011, "LO", "text", IMPLICIT)))
    yield "implicit-inside", bytes(1) + data_set(extra=inside, pixels=b"")
    encapsulated = bytes([SYNTAXES.index(JPEG2000)])
    yield "fragments", encapsulated + data_set(pixels=b"", extra=db.fragments(b"\xff\x4f", b"", b"\xff\xd9"))


def pdus() -> Iterator[tuple[str, bytes]]:
    """Return what peers say by name: two bytes for the fuzzer, then PDUs."""
    raw, after = b"\0\x10", b"\1\x10"
    request = associate_rq(CONTEXTS, calling="PACS", called="LMS_SR")
    store = pdu(P_DATA, value(store_rq(), command=True)) + pdu(P_DATA, value(data_set(pixels=b"")))
    ask = command(sop_class=VERIFICATION, field=ECHO_RQ, message_id=1, data_set_type=NO_DATA_SET)
    echo = pdu(P_DATA, value(ask, context=5, command=True))
    release = pdu(RELEASE_RQ, bytes(4))
    yield "associate", raw + request
    yield "whole", raw + request + store + release
    yield "store", after + store + release
    yield "store-twice", after + store + store
    yield "echo", after + echo + release
    yield "echo-drip", b"\1\0" + echo + release
    yield "abort", after + pdu(ABORT, bytes(4))
    # an abort whose source is none of PS3.8 Table 9-26, and a byte too many
    yield "abort-odd-source", after + pdu(ABORT, b"\0\0\xfd\0") + b"\0"
    # a presentation context whose first item is no abstract syntax
    yield "context-without-class", raw + request.replace(_ABSTRACT_SYNTAX, b"\x38\0", 1)
    yield "abort-inside", after + store[:-20] + pdu(ABORT, bytes(4))
    split = data_set(pixels=b"")
    pieces = b"".join(
        pdu(P_DATA, value(split[at : at + 50], last=at + 50 >= len(split))) for at in range(0, len(split), 50)
    )
    yield "pieces", after + pdu(P_DATA, value(store_rq(), command=True)) + pieces + release
    together = pdu(P_DATA, value(store_rq(), command=True) + value(split))
    yield "one-pdu", after + together + release
    implicit = pdu(P_DATA, value(store_rq(), context=3, command=True))
    yield "implicit", after + implicit + pdu(P_DATA, value(data_set(syntax=IMPLICIT, pixels=b""), context=3))
    find = command(sop_class=CT, field=FIND_RQ, message_id=1, priority=0, data_set_type=1)
    yield "find", after + pdu(P_DATA, value(find, command=True)) + pdu(P_DATA, value(b""))
    yield "mistyped", after + pdu(P_DATA, value(store_rq(sop_instance=""), command=True)) + pdu(P_DATA, value(split))
    yield "no-command", after + pdu(P_DATA, value(split))
    yield "cut", after + store[:-7]
    yield "huge", after + pdu(P_DATA, b"", length=0x7FFFFFFF)
    yield "unknown", after + pdu(0x55, bytes(8))


def write(folder: Path) -> None:
    """Write both corpora below ``folder``."""
    for name, made in (("gatekeeper", gatekeeper()), ("pdu", pdus())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed, content in made:
            (folder / name / seed).write_bytes(content)


if __name__ == "__main__":
    write(CORPUS)
