"""The command sets of C-STORE that we read and write ourselves are those that pynetdicom reads and writes."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA

from service.dimse import commands
from service.dimse.commands import StoreRequest
from service.dimse.library import GARBAGE, configure
from tests.dicom_bytes import CT, INSTANCE
from tests.raw_peer import NO_DATA_SET, command, store_rq


@pytest.fixture(autouse=True, scope="module")
def quiet() -> None:
    configure()


def ordinary(raw: bytes) -> StoreRequest | None:
    """What pynetdicom makes of a command set, in our words; None where that is no C-STORE request with a data set."""
    message = DIMSEMessage()
    value = P_DATA()
    value.presentation_data_value_list.append((1, b"\x03" + raw))
    try:
        if message.decode_msg(value):
            return None
        primitive = message.message_to_primitive()
    except GARBAGE:
        return None
    if not isinstance(primitive, C_STORE) or primitive.MessageID is None:
        return None
    found = (primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID)
    return StoreRequest(primitive.MessageID, *(None if uid is None else str(uid) for uid in found))


@pytest.mark.parametrize(
    "raw",
    [
        store_rq(),
        store_rq(message_id=0xFFFF),
        store_rq(sop_instance="../../x"),
        store_rq(sop_instance="1.2.3"),
        store_rq(sop_class="", sop_instance=""),
        # what some senders add: Move Originator AE Title and Message ID
        store_rq()[12:] + b"\0\0\x30\x10\x04\0\0\0PACS" + b"\0\0\x31\x10\x02\0\0\0\x07\0",
    ],
)
def test_request_is_read_as_pynetdicom_reads_it(raw: bytes) -> None:
    assert commands.store_request(raw) == ordinary(raw) is not None


def test_uid_that_is_longer_than_a_uid_is_none() -> None:
    assert commands.store_request(store_rq(sop_instance="1." + "2" * 70)) == StoreRequest(1, CT, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"garbage that is no command set",
        store_rq()[:-3],
        store_rq(data_set_type=NO_DATA_SET),
        store_rq(message_id=""),
        store_rq() + store_rq(),
        command(sop_class=CT, field=0x8001, responds_to=1, data_set_type=1, status=0, sop_instance=INSTANCE),
        command(sop_class=CT, field=0x0020, message_id=1, priority=0, data_set_type=1),
        store_rq(sop_instance="1.2\\3"),
        store_rq().replace(b"1.2.840", b"1.2.\xe440"),
    ],
)
def test_what_is_no_usual_request_is_left_to_pynetdicom(raw: bytes) -> None:
    assert commands.store_request(raw) is None


@settings(max_examples=100)
@given(st.data())
def test_no_bytes_are_read_otherwise_than_pynetdicom_reads_them(data: st.DataObject) -> None:
    raw = bytearray(store_rq())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read = commands.store_request(bytes(raw))
    # where we read it, pynetdicom reads the same, or nothing at all
    assert read is None or (other := ordinary(bytes(raw))) is None or read == other


@pytest.mark.parametrize("status", [0x0000, 0xA700, 0x0117])
@pytest.mark.parametrize("comment", ["", "disk", "disk full"])
@pytest.mark.parametrize("instance", [INSTANCE, "1.2.3", None])
def test_response_is_written_as_pynetdicom_writes_it(status: int, comment: str, instance: str | None) -> None:
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo = 7
    primitive.AffectedSOPClassUID = CT
    if instance is not None:
        primitive.AffectedSOPInstanceUID = instance
    primitive.Status = status
    if comment:
        primitive.ErrorComment = comment  # type: ignore[assignment]
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    message.data_set = BytesIO()
    (piece,) = message.encode_msg(5, 16384)
    ours = commands.store_response(StoreRequest(7, CT, instance), status, comment, 5)
    assert ours == P_DATA_TF(piece).encode()
