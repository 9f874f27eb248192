"""What is sent, and by whom: new instances for every round, dcmtk's storescu from other processes, and a C-ECHO meanwhile."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.store.file_meta import FileMeta
from tests import dicom_bytes as db
from tests.helpers import dcmtk_environment, real_dcmtk
from tests.raw_peer import ECHO_RQ, NO_DATA_SET, P_DATA, VERIFICATION, RawPeer, command, pdu, value

AE_TITLE = "LMS_SR"
CALLING = "PACS"

#: so many elements has the header of a CT image, more or less
_HEADER_ELEMENTS = 150
_SENDING_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Images of one size on the disk, whose UIDs are rewritten in place for every round."""

    folder: Path
    count: int
    size: int

    @classmethod
    def make(cls, folder: Path, count: int, size: int) -> Files:
        """Write ``count`` CT images of about ``size`` bytes."""
        folder.mkdir(parents=True)
        made = cls(folder=folder, count=count, size=size)
        for number, path in enumerate(made.paths):
            path.write_bytes(image(_uid(0, number, size), size))
        return made

    @property
    def paths(self) -> list[Path]:
        """Where they lie."""
        return [self.folder / f"{number:05d}.dcm" for number in range(self.count)]

    @property
    def total(self) -> int:
        """How many bytes they have together, file meta information included."""
        return sum(path.stat().st_size for path in self.paths)

    def renew(self, round_number: int) -> None:
        """Make other instances of them: each gets a SOP Instance UID of this round, in the same place."""
        for number, path in enumerate(self.paths):
            with path.open("r+b") as stream:
                head = stream.read(4096)
                old = _uid_in(head)
                new = _uid(round_number, number, self.size).encode()
                stream.seek(0)
                stream.write(head.replace(old, new))


def image(instance: str, size: int) -> bytes:
    """Return a Part 10 file of about ``size`` bytes: a header of 150 elements, the rest pixels."""
    extra = b"".join(db.encode(0x00191000 + n, "LO", f"private {n:05d}") for n in range(_HEADER_ELEMENTS))
    creator = db.encode(0x00190010, "LO", "LMS-SR BENCH")
    identity = [(0x00080016, db.CT), (0x00080018, instance)]
    head = b"".join(db.encode(tag, "UI", uid) for tag, uid in identity)
    head += db.encode(0x00080060, "CS", "CT") + db.encode(0x00100020, "LO", "BENCH") + creator + extra
    head += db.encode(0x0020000D, "UI", db.STUDY) + db.encode(0x0020000E, "UI", db.SERIES)
    meta = FileMeta(sop_class_uid=db.CT, sop_instance_uid=instance, transfer_syntax_uid=db.EXPLICIT).encode()
    return meta + head + db.encode(0x7FE00010, "OW", bytes(max(2, size - len(head) - 12)))


def large_file(path: Path, size: int, instance: str) -> Path:
    """Write a multi-frame image of ``size`` bytes of pixels that takes no room on the disk."""
    meta = FileMeta(sop_class_uid=db.CT, sop_instance_uid=instance, transfer_syntax_uid=db.EXPLICIT).encode()
    head = meta + db.data_set(db.CT, instance, pixels=b"", extra=db.encode(0x00280008, "IS", str(size // 524_288)))
    head += db.encode(0x7FE00010, "OW", b"", length=size)
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(len(head) + size)
    return path


def _uid(round_number: int, number: int, size: int) -> str:
    # as long in every round, so that it can be rewritten in place
    return f"1.2.826.0.1.3680043.10.1.{size % 1000 + 1000}.{round_number + 1000}.{number + 100000}"


def _uid_in(head: bytes) -> bytes:
    at = head.index(b"\x02\x00\x03\x00UI") + 8
    return head[at : at + int.from_bytes(head[at - 2 : at], "little")].rstrip(b"\0")


# --- sending -------------------------------------------------------------------------------------------------------------


def environment(*, nodelay: bool) -> dict[str, str]:
    """Return the environment of a program of dcmtk's: with TCP_NODELAY, or as it is by default."""
    return {k: v for k, v in dcmtk_environment().items() if nodelay or k != "TCP_NODELAY"}


def send(port: int, *batches: Sequence[Path], nodelay: bool) -> float:
    """Send each batch over an association of its own, all at once; return the seconds until the last has ended.

    Raises
    ------
    RuntimeError
        A sender failed.
    """
    program = str(real_dcmtk("storescu"))
    start = time.perf_counter()
    running = [
        subprocess.Popen(
            [program, "-R", "-q", "-aet", CALLING, "-aec", AE_TITLE, "127.0.0.1", str(port), *map(str, batch)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(nodelay=nodelay),
        )
        for batch in batches
    ]
    told = [process.communicate(timeout=_SENDING_SECONDS)[1] for process in running]
    seconds = time.perf_counter() - start
    failed = [text for process, text in zip(running, told, strict=True) if process.returncode]
    if failed:
        msg = f"storescu failed: {failed[0].decode(errors='replace')[-500:]}"
        raise RuntimeError(msg)
    return seconds


def echo(port: int) -> float:
    """Connect, associate, ask for a C-ECHO and release; return the seconds that all of it took."""
    start = time.perf_counter()
    with RawPeer(port) as peer:
        peer.negotiate(((VERIFICATION, [db.IMPLICIT]),), calling=CALLING, called=AE_TITLE)
        request = command(sop_class=VERIFICATION, field=ECHO_RQ, message_id=1, data_set_type=NO_DATA_SET)
        peer.write(pdu(P_DATA, value(request, command=True)))
        if peer.response().status != 0:
            raise ValueError("C-ECHO was refused")
        peer.release()
    return time.perf_counter() - start


@contextmanager
def echoing(port: int, every: float = 0.02) -> Iterator[list[float]]:
    """Ask for a C-ECHO again and again until the block ends; yield the list into which their seconds go, 30 where one failed."""
    latencies: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                latencies.append(echo(port))
            except (OSError, AssertionError, ValueError):
                latencies.append(30.0)
            stop.wait(every)

    thread = threading.Thread(target=ask, name="echo", daemon=True)
    thread.start()
    try:
        yield latencies
    finally:
        stop.set()
        thread.join(60)


def hold(port: int, count: int, size: int) -> None:
    """Open ``count`` associations at once, send one object over each, and release them when all are stored."""
    peers = [RawPeer(port) for _ in range(count)]
    try:
        for peer in peers:
            peer.negotiate(((db.CT, [db.EXPLICIT]),), calling=CALLING, called=AE_TITLE)
        threads = [
            threading.Thread(target=_store, args=(peer, f"2.25.{number + 10**12}", size), daemon=True)
            for number, peer in enumerate(peers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        for peer in peers:
            peer.release()
    finally:
        for peer in peers:
            peer.socket.close()


def _store(peer: RawPeer, instance: str, size: int) -> None:
    peer.store(db.data_set(instance=instance, pixels=bytes(size)), sop_instance=instance)


# --- what the disk takes for it ------------------------------------------------------------------------------------------


def bare_loop(folder: Path, sizes: Sequence[int]) -> float:
    """Write, flush, link and flush the folder for files of ``sizes``, one after the other; return the seconds."""
    incoming, final = folder / "incoming", folder / "final"
    incoming.mkdir(parents=True)
    final.mkdir()
    content = memoryview(bytes(max(sizes)))
    start = time.perf_counter()
    where = os.open(final, os.O_RDONLY | os.O_DIRECTORY)
    for number, size in enumerate(sizes):
        fd = os.open(incoming / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, content[:size])
        os.fsync(fd)
        os.close(fd)
        os.link(incoming / str(number), final / str(number))
        os.fsync(where)
        (incoming / str(number)).unlink()
    os.close(where)
    return time.perf_counter() - start
