"""What a node holds, asked of it: a complete answer or none, never half of one taken for all."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode as encoded

from service.demo.pacs import Fault, StandInPacs
from service.demo.phantom import plain_study, save
from service.dimse import query
from service.dimse.query import Found, find_reports, has_instance, instances_at
from service.errors import PeerUnavailable, Rejected
from service.settings import Local, Node, Outgoing, Settings
from tests.dicom_bytes import EXPLICIT, IMPLICIT, UNDEFINED, delimiter, encode
from tests.e2e import orthanc
from tests.helpers import free_port
from tests.raw_peer import (
    ABORT,
    NO_DATA_SET,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    associate_ac,
    command,
    pdu,
    raw_acceptor,
    read_pdu,
    value,
)

SETTINGS = Settings(local=Local(ae_title="LMS_SR"), outgoing=Outgoing(timeout_seconds=10))
#: for peers that say nothing
HASTY = Settings(local=Local(ae_title="LMS_SR"), outgoing=Outgoing(timeout_seconds=0.3))
STUDY, SERIES = "1.2.3", "1.2.3.4"


@pytest.fixture(scope="module")
def study() -> list[Dataset]:
    """Return a study of two series, seven instances."""
    made = plain_study(7)
    for ds in made[4:]:
        ds.SeriesInstanceUID = f"{made[0].SeriesInstanceUID}.2"[-64:].lstrip(".")
        ds.SeriesNumber = 9
    return made


@pytest.fixture
def pacs(study: list[Dataset]) -> Iterator[StandInPacs]:
    with StandInPacs() as running:
        running.put(study)
        running.put(plain_study(3, seed="another patient"))
        yield running


def uids(study: list[Dataset]) -> frozenset[str]:
    return frozenset(str(ds.SOPInstanceUID) for ds in study)


def questions(node: Node, study_uid: str = STUDY, settings: Settings = SETTINGS) -> dict[str, Callable[[], object]]:
    """Return every question that we ask."""
    return {
        "instances": partial(instances_at, settings, node, study_uid),
        "has": partial(has_instance, settings, node, study_uid, SERIES, "1.2.3.4.5"),
        "reports": partial(find_reports, settings, node, study_uid, [SERIES]),
    }


# --- a PACS that behaves -----------------------------------------------------------------------------------------------


def test_instances_of_a_study_and_of_no_other_are_named(pacs: StandInPacs, study: list[Dataset]) -> None:
    assert instances_at(SETTINGS, pacs.node(), str(study[0].StudyInstanceUID)) == uids(study)
    assert instances_at(SETTINGS, pacs.node(), "1.2.3.999") == frozenset()


def test_an_instance_is_there_or_is_not(pacs: StandInPacs, study: list[Dataset]) -> None:
    first = study[0]
    where = (SETTINGS, pacs.node(), str(first.StudyInstanceUID), str(first.SeriesInstanceUID))
    assert has_instance(*where, str(first.SOPInstanceUID))
    assert not has_instance(*where, str(study[6].SOPInstanceUID))
    assert not has_instance(*where, "1.2.3.999")
    pacs.behaviour.hidden = {str(first.SOPInstanceUID)}
    assert not has_instance(*where, str(first.SOPInstanceUID))


def test_reports_are_found_in_their_series_in_order_of_instance_number(pacs: StandInPacs, study: list[Dataset]) -> None:
    series = str(study[0].SeriesInstanceUID)
    found = find_reports(SETTINGS, pacs.node(), str(study[0].StudyInstanceUID), [series, "1.2.3.999"])
    assert found == tuple(
        Found(
            series_instance_uid=series,
            sop_instance_uid=str(ds.SOPInstanceUID),
            sop_class_uid=str(ds.SOPClassUID),
            instance_number=n + 1,
        )
        for n, ds in enumerate(study[:4])
    )
    assert find_reports(SETTINGS, pacs.node(), str(study[0].StudyInstanceUID), []) == ()


def test_hidden_instances_are_missing_and_blind_peers_name_nothing(pacs: StandInPacs, study: list[Dataset]) -> None:
    where = (SETTINGS, pacs.node(), str(study[0].StudyInstanceUID))
    hidden = str(study[2].SOPInstanceUID)
    pacs.behaviour.hidden = {hidden}
    assert instances_at(*where) == uids(study) - {hidden}
    pacs.behaviour.blind = True
    assert instances_at(*where) == frozenset()


def test_slow_answer_is_waited_for(pacs: StandInPacs, study: list[Dataset]) -> None:
    pacs.behaviour.find_delay = 0.1
    assert instances_at(SETTINGS, pacs.node(), str(study[0].StudyInstanceUID)) == uids(study)


# --- a PACS that does not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", questions(Node(name="X", ae_title="X")))
class TestEveryQuestion:
    def test_failure_is_refused_or_tried_again_by_its_status(self, pacs: StandInPacs, question: str) -> None:
        for status, kind in (
            (0xA900, Rejected),
            (0xC001, Rejected),
            (0x0122, Rejected),
            (0xA700, PeerUnavailable),
            (0xFE00, PeerUnavailable),
            (0xB001, PeerUnavailable),
        ):
            pacs.behaviour.every_find = status
            with pytest.raises(kind, match=f"answers C-FIND with {status:04X}H") as error:
                questions(pacs.node())[question]()
            assert isinstance(error.value, Rejected | PeerUnavailable)
            assert error.value.status == status

    @pytest.mark.parametrize("fault", [Fault.ABORT, Fault.DROP, Fault.SILENCE])
    def test_no_answer_is_no_empty_answer(self, pacs: StandInPacs, question: str, fault: Fault) -> None:
        pacs.behaviour.every_find = fault
        begun = time.monotonic()
        with pytest.raises(PeerUnavailable):
            questions(pacs.node(), settings=HASTY if fault is Fault.SILENCE else SETTINGS)[question]()
        assert time.monotonic() - begun < 3

    def test_late_answer_is_none(self, pacs: StandInPacs, question: str) -> None:
        pacs.behaviour.find_delay = 1
        with pytest.raises(PeerUnavailable, match="did not answer in time"):
            questions(pacs.node(), settings=HASTY)[question]()

    def test_association_that_is_refused_is_told(self, pacs: StandInPacs, question: str) -> None:
        pacs.behaviour.associations = "reject"
        with pytest.raises(Rejected, match="does not know our AE title"):
            questions(pacs.node())[question]()
        pacs.behaviour.associations = "busy"
        with pytest.raises(PeerUnavailable, match="too many associations"):
            questions(pacs.node())[question]()

    def test_nobody_there_is_unavailable(self, question: str) -> None:
        with pytest.raises(PeerUnavailable, match="cannot be reached"):
            questions(Node(name="X", ae_title="X", port=free_port()))[question]()

    def test_node_without_queries_says_how_to_go_on(self, question: str) -> None:
        def script(connection: socket.socket) -> None:
            read_pdu(connection)
            connection.sendall(associate_ac([(1, 3, "")]))
            read_pdu(connection)

        with raw_acceptor(script) as port, pytest.raises(Rejected, match="query = false") as error:
            questions(Node(name="X", ae_title="X", port=port))[question]()
        assert error.value.status == 0x0122


# --- answers made of bytes ---------------------------------------------------------------------------------------------


def pending(data: bytes, *, status: int = 0xFF00, responds_to: int = 1) -> list[bytes]:
    head = command(field=0x8020, responds_to=responds_to, data_set_type=1, status=status)
    return [pdu(P_DATA, value(head, command=True)), pdu(P_DATA, value(data))]


def final(status: int = 0, *, responds_to: int = 1) -> bytes:
    head = command(field=0x8020, responds_to=responds_to, data_set_type=NO_DATA_SET, status=status)
    return pdu(P_DATA, value(head, command=True))


def image(instance: str = "1.2.3.4.5", *, syntax: str = EXPLICIT, **changes: str) -> bytes:
    """Return an answer at IMAGE level."""
    values = {"study": STUDY, "series": SERIES, "number": "5", **changes}
    return b"".join(
        encode(tag, vr, text, syntax)
        for tag, vr, text in (
            (0x00080018, "UI", instance),
            (0x00080052, "CS", "IMAGE"),
            (0x0020000D, "UI", values["study"]),
            (0x0020000E, "UI", values["series"]),
            (0x00200013, "IS", values["number"]),
        )
    )


def answering(*rounds: list[bytes], syntax: str = EXPLICIT) -> AbstractContextManager[int]:
    """Run a peer that answers the n-th question with the n-th list of PDUs, and then waits for the end."""

    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, syntax)]))
        for answers in rounds:
            while True:
                kind, body = read_pdu(connection)
                if kind != P_DATA:
                    break
                # the identifier's last value
                if body[5] & 3 == 2:
                    break
            if kind != P_DATA:
                break
            for answer in answers:
                connection.sendall(answer)
        else:
            kind, _ = read_pdu(connection)
        if kind == RELEASE_RQ:
            connection.sendall(pdu(RELEASE_RP, bytes(4)))

    return raw_acceptor(script)


def reports(port: int, settings: Settings = SETTINGS) -> list[str]:
    node = Node(name="X", ae_title="X", port=port)
    return [f.sop_instance_uid for f in find_reports(settings, node, STUDY, [SERIES])]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_answers_are_read_in_the_syntax_that_was_agreed(syntax: str) -> None:
    with answering([*pending(image(syntax=syntax)), final()], syntax=syntax) as port:
        node = Node(name="X", ae_title="X", port=port)
        assert find_reports(SETTINGS, node, STUDY, [SERIES]) == (
            Found(series_instance_uid=SERIES, sop_instance_uid="1.2.3.4.5", instance_number=5),
        )


def test_answers_that_were_not_asked_for_are_dropped() -> None:
    answers = [
        *pending(image("1.1", study="9.9")),
        *pending(image("1.2", series="9.9")),
        *pending(image("1.3"), responds_to=44),
        *pending(image("")),
        *pending(image("1.5", study="", series="")),
        *pending(image("1.6 ", number="many"), status=0xFF01),
        *pending(b""),
        final(),
    ]
    with answering(answers) as port:
        assert reports(port) == ["1.6", "1.5"]
    node_has = partial(has_instance, SETTINGS)
    with answering([*pending(image("1.1")), *pending(image("1.2")), final()]) as port:
        assert not node_has(Node(name="X", ae_title="X", port=port), STUDY, SERIES, "1.3")


def test_several_answers_in_one_pdu_are_all_read() -> None:
    together = b"".join(p[6:] for p in [*pending(image("1.1")), *pending(image("1.2")), final()])
    with answering([pdu(P_DATA, together)]) as port:
        assert reports(port) == ["1.1", "1.2"]


def test_failure_after_answers_is_a_failure() -> None:
    for status, kind in ((0xA700, PeerUnavailable), (0xC000, Rejected), (0xB001, PeerUnavailable)):
        with answering([*pending(image()), final(status)]) as port, pytest.raises(kind):
            reports(port)


def _deep(depth: int) -> bytes:
    opening = encode(0x0040A730, "SQ", b"", length=UNDEFINED) + delimiter(0xE000, UNDEFINED)
    return opening * depth + (delimiter(0xE00D) + delimiter(0xE0DD)) * depth


# pydicom warns of what is odd, and the service ignores warnings
odd = pytest.mark.filterwarnings("ignore::UserWarning")


@odd
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([b"garbage!" * 4], id="no DICOM"),
        pytest.param([pdu(ABORT, bytes(4))], id="abort"),
        pytest.param([*pending(image()), pdu(ABORT, bytes(4))], id="abort after an answer"),
        pytest.param([*pending(image()), pdu(RELEASE_RQ, bytes(4))], id="release after an answer"),
        pytest.param([pdu(P_DATA, value(b"garbage that is no command", command=True))], id="no command"),
        pytest.param(pending(b"garbage that is no data set"), id="no data set"),
        pytest.param(pending(image()[:-1]), id="truncated"),
        pytest.param(pending(_deep(5000)), id="nested"),
        pytest.param(pending(encode(0x0040A730, "SQ", b"", length=UNDEFINED)), id="sequence without end"),
        pytest.param(pending(struct.pack("<HH2sH", 0x0020, 0x000D, b"US", 3) + b"abc"), id="study UID as US"),
        pytest.param(pending(struct.pack("<HH2sH", 0x0020, 0x000D, b"??", 4) + b"abcd"), id="unknown VR"),
        pytest.param(pending(encode(0x0020000E, "SQ", b"abcdefghij")), id="series UID as broken sequence"),
        pytest.param(pending(encode(0x00080018, "FD", b"abc")), id="instance UID as FD"),
        pytest.param(
            [
                pdu(P_DATA, value(command(field=0x8020, responds_to=1, data_set_type=NO_DATA_SET), command=True)),
            ],
            id="no status",
        ),
        pytest.param(
            [
                pdu(
                    P_DATA,
                    value(command(field=0x8030, responds_to=1, data_set_type=NO_DATA_SET, status=0), command=True),
                )
            ],
            id="an echo's",
        ),
    ],
)
def test_answer_that_is_none_is_unavailable(answer: list[bytes]) -> None:
    with answering(answer) as port, pytest.raises(PeerUnavailable):
        reports(port, HASTY)


@odd
@pytest.mark.parametrize("seed", range(4))
def test_damaged_answers_raise_nothing_but_our_errors(seed: int) -> None:
    import random  # noqa: PLC0415 - here only

    generator = random.Random(seed)
    sound = [*pending(image("1.1")), *pending(image("1.2")), final()]
    for _ in range(40):
        raw = bytearray(b"".join(sound))
        for _ in range(generator.randint(1, 3)):
            raw[generator.randrange(len(raw))] = generator.randrange(256)
        with answering([bytes(raw)]) as port, suppress(PeerUnavailable, Rejected):
            reports(port, Settings(outgoing=Outgoing(timeout_seconds=0.02)))


def test_answers_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MAX_ANSWERS", 50)
    cancelled: list[bytes] = []

    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, EXPLICIT)]))
        read_pdu(connection)
        read_pdu(connection)
        for _ in range(50):
            connection.sendall(b"".join(pending(image())))
        cancelled.append(read_pdu(connection)[1])

    with raw_acceptor(script) as port, pytest.raises(Rejected, match="gives more than 50 answers to one C-FIND"):
        reports(port)
    # C-CANCEL-RQ
    assert struct.pack("<HHLH", 0x0000, 0x0100, 2, 0x0FFF) in cancelled[0]


def test_inquiry_as_a_whole_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, EXPLICIT)]))
        # an answer in time, again and again
        while True:
            connection.sendall(b"".join(pending(image())))
            time.sleep(0.05)

    begun = time.monotonic()
    with raw_acceptor(script) as port, pytest.raises(PeerUnavailable, match="did not answer in time"):
        reports(port, HASTY)
    assert 1 < time.monotonic() - begun < 3


def test_questions_are_asked_level_by_level_with_all_keys_above() -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, EXPLICIT)]))
        for answers in (pending(_series()), pending(image())):
            number = len(seen) + 1
            read_pdu(connection)
            seen.append(read_pdu(connection)[1][6:])
            head = command(field=0x8020, responds_to=number, data_set_type=1, status=0xFF00)
            connection.sendall(pdu(P_DATA, value(head, command=True)) + answers[1])
            connection.sendall(final(responds_to=number))
        read_pdu(connection)

    with raw_acceptor(script) as port:
        node = Node(name="X", ae_title="X", port=port)
        assert instances_at(SETTINGS, node, STUDY) == {"1.2.3.4.5"}
    expected = Dataset()
    expected.QueryRetrieveLevel, expected.StudyInstanceUID, expected.SeriesInstanceUID = "SERIES", STUDY, ""
    assert seen[0] == encoded(expected, False, True)
    expected.QueryRetrieveLevel, expected.SeriesInstanceUID = "IMAGE", SERIES
    expected.SOPInstanceUID = expected.SOPClassUID = expected.InstanceNumber = ""
    assert seen[1] == encoded(expected, False, True)


def _series() -> bytes:
    found = Dataset()
    found.StudyInstanceUID, found.SeriesInstanceUID = STUDY, SERIES
    raw = encoded(found, False, True)
    assert raw is not None
    return raw


# --- Orthanc -----------------------------------------------------------------------------------------------------------


def test_orthanc_is_asked(tmp_path: Path, study: list[Dataset]) -> None:
    with orthanc.running(tmp_path / "orthanc", service_port=free_port(), stable_seconds=600) as pacs:
        pacs.send(*save(study, tmp_path / "study"))
        node = Node(name="ORTHANC", ae_title="PACS", port=pacs.dicom)
        of_study = str(study[0].StudyInstanceUID)
        assert instances_at(SETTINGS, node, of_study) == uids(study)
        assert instances_at(SETTINGS, node, "1.2.3.999") == frozenset()
        series = str(study[0].SeriesInstanceUID)
        assert has_instance(SETTINGS, node, of_study, series, str(study[0].SOPInstanceUID))
        assert not has_instance(SETTINGS, node, of_study, series, "1.2.3.999")
        found = find_reports(SETTINGS, node, of_study, [series])
        assert [f.instance_number for f in found] == [1, 2, 3, 4]
        assert {f.sop_class_uid for f in found} == {str(study[0].SOPClassUID)}
