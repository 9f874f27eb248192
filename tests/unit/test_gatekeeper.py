"""The gatekeeper lets real objects pass and stops what would hurt a parser or be filed under a wrong name."""

from __future__ import annotations

import mmap
import resource
import struct
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from service.dimse import gatekeeper
from service.dimse.gatekeeper import MAX_DEPTH, Scanned, scan
from service.errors import Refused
from tests import dicom_bytes as db
from tests import plain_gatekeeper
from tests.dicom_bytes import BIG, CT, DEFLATED, EXPLICIT, IMPLICIT, INSTANCE, JPEG2000, MR, SERIES, STUDY, data_set

SYNTAXES = [EXPLICIT, IMPLICIT, BIG]
CONTENT_SEQUENCE = 0x0040A730


def look(data: bytes, syntax: str = EXPLICIT, sop_class: str = CT, instance: str = INSTANCE) -> Scanned:
    return scan(data, transfer_syntax_uid=syntax, sop_class_uid=sop_class, sop_instance_uid=instance)


def refusal(data: bytes, syntax: str = EXPLICIT, sop_class: str = CT, instance: str = INSTANCE) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        look(data, syntax, sop_class, instance)
    return refused.value.status, str(refused.value)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_image_passes_and_is_identified(syntax: str) -> None:
    found = look(data_set(syntax=syntax), syntax)
    assert found == Scanned(
        sop_class_uid=CT,
        sop_instance_uid=INSTANCE,
        study_instance_uid=STUDY,
        series_instance_uid=SERIES,
        elements=10,
        depth=0,
    )


def test_encapsulated_pixel_data_passes() -> None:
    data = data_set(pixels=b"", extra=db.fragments(b"\xff\x4f\xff\x51" * 50, b"", b"\xff" * 8))
    assert look(data, JPEG2000).depth == 0
    after = data + db.encode(0xFFFCFFFC, "OB", bytes(8))
    assert look(after, JPEG2000).elements == look(data, JPEG2000).elements + 1


def test_views_of_mapped_files_pass(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data_set())
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        assert look(view).study_instance_uid == STUDY  # type: ignore[arg-type]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("defined", [True, False])
def test_sequences_pass_up_to_the_limit_and_not_beyond(syntax: str, defined: bool) -> None:
    def nested(depth: int) -> bytes:
        inner = db.encode(0x0040A160, "UT", "x", syntax)
        for _ in range(depth):
            inner = db.sequence(CONTENT_SEQUENCE, db.item(inner, syntax, defined=defined), syntax, defined=defined)
        return data_set(syntax=syntax, extra=inner)

    assert look(nested(MAX_DEPTH), syntax).depth == MAX_DEPTH
    status, why = refusal(nested(MAX_DEPTH + 1), syntax)
    assert status == 0xC000
    assert "nested" in why


@pytest.mark.parametrize("defined", [True, False])
def test_twenty_thousand_levels_are_refused_at_once(defined: bool) -> None:
    depth = 20_000
    if defined:
        inner = b""
        parts = []
        size = 0
        for _ in range(depth):
            head = db.encode(CONTENT_SEQUENCE, "SQ", b"", length=size + 8) + db.delimiter(0xE000, size)
            parts.append(head)
            size += len(head)
        inner = b"".join(reversed(parts))
    else:
        opening = db.encode(CONTENT_SEQUENCE, "SQ", b"", length=db.UNDEFINED) + db.delimiter(0xE000, db.UNDEFINED)
        inner = opening * depth + (db.delimiter(0xE00D) + db.delimiter(0xE0DD)) * depth
    assert refusal(data_set(extra=inner))[0] == 0xC000


def test_depth_counts_levels_and_not_neighbours() -> None:
    one = db.sequence(CONTENT_SEQUENCE, db.item(b"") * 3)
    assert look(data_set(extra=one * 200)).depth == 1


def test_unknown_vr_is_looked_into_where_parsers_do() -> None:
    deep = b""
    for _ in range(MAX_DEPTH + 1):
        deep = db.sequence(CONTENT_SEQUENCE, db.item(deep), IMPLICIT)
    of_the_standard = db.encode(CONTENT_SEQUENCE, "UN", db.item(deep))
    without_length = db.encode(0x00091010, "UN", b"", length=db.UNDEFINED) + db.item(deep) + db.delimiter(0xE0DD)
    for data in (of_the_standard, without_length):
        assert "nested" in refusal(data_set(extra=data))[1]
    # nobody can know that this one is a sequence
    assert look(data_set(extra=db.encode(0x000910F7, "UN", db.item(deep)))).depth == 0


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_of_manufacturers_are_looked_into_where_a_dictionary_knows_them(syntax: str) -> None:
    deep = b""
    for _ in range(MAX_DEPTH + 1):
        deep = db.sequence(CONTENT_SEQUENCE, db.item(deep), IMPLICIT)
    # pydicom reads (0009,xx10) as a sequence where its creator is SIEMENS SYNGO INDEX SERVICE, and so on down
    assert (
        "nested"
        in refusal(data_set(syntax=syntax, extra=db.encode(0x00091010, "UN", db.item(deep), syntax)), syntax)[1]
    )
    # the same element of another creator may be anything
    assert look(data_set(syntax=syntax, extra=db.encode(0x00091010, "UN", b"text", syntax)), syntax).depth == 0
    # retired curves had a sequence in each of their groups
    assert (
        "where an item must be"
        in refusal(
            data_set(syntax=IMPLICIT, pixels=b"", extra=db.encode(0x50022600, "SQ", bytes(8), IMPLICIT)), IMPLICIT
        )[1]
    )


def test_unknown_vr_without_length_is_implicit_inside_and_explicit_after() -> None:
    inside = db.item(db.encode(0x00091011, "LO", "text", IMPLICIT), defined=False)
    data = db.encode(0x00091010, "UN", b"", length=db.UNDEFINED) + inside + db.delimiter(0xE0DD)
    assert look(data_set(extra=data)).depth == 1


def test_implicit_items_in_an_explicit_data_set_pass() -> None:
    inner = db.encode(0x00091011, "LO", "text", IMPLICIT) + db.sequence(
        CONTENT_SEQUENCE, db.item(b"", IMPLICIT), IMPLICIT
    )
    assert look(data_set(extra=db.sequence(0x00091010, db.item(inner)))).depth == 2


def test_superfluous_delimiters_pass() -> None:
    in_item = db.encode(0x00091011, "LO", "text") + db.delimiter(0xE00D)
    assert look(data_set(extra=db.sequence(0x00091010, db.item(in_item) + db.delimiter(0xE0DD)))).depth == 1


def test_tags_out_of_order_and_odd_lengths_pass() -> None:
    odd = struct.pack("<HH2sH", 0x0010, 0x4000, b"LT", 3) + b"odd"
    assert look(odd + data_set()).elements == 11


def test_pixels_that_look_like_an_item_pass_in_implicit_vr() -> None:
    assert look(data_set(syntax=IMPLICIT, pixels=db.delimiter(0xE000, 1 << 30)), IMPLICIT).depth == 0


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x00080016, "SOP Class UID"),
        (0x00080018, "SOP Instance UID"),
        (0x0020000D, "Study Instance UID"),
        (0x0020000E, "Series Instance UID"),
    ],
)
def test_nameless_object_is_not_understood(tag: int, name: str) -> None:
    status, why = refusal(data_set(drop=[tag]))
    assert (status, name in why) == (0xC000, True)
    # neither an empty one nor one inside a sequence will do
    inside = db.sequence(CONTENT_SEQUENCE, db.item(db.encode(tag, "UI", "1.2.3")))
    assert refusal(data_set(drop=[tag], extra=db.encode(tag, "UI", "") + inside))[0] == 0xC000


def test_patient_id_may_be_absent() -> None:
    assert look(data_set(drop=[0x00100010, 0x00100020])).elements == 8


def test_other_class_or_instance_than_the_command_says_is_a_mismatch() -> None:
    assert refusal(data_set(sop_class=MR)) == (0xA900, "SOP Class UID differs from the command's")
    assert refusal(data_set(instance="1.2.3")) == (0xA900, "SOP Instance UID differs from the command's")


@pytest.mark.parametrize(
    "uid", ["../../x", "..", ".", "1.2.3/../x", "1.2.x", "1..2", "1.2." + "9" * 61, "1.2.3\n4", "1.2.é"]
)
def test_what_is_no_uid_is_refused(uid: str) -> None:
    assert refusal(data_set(), instance=uid)[0] == 0x0117
    assert refusal(data_set(instance=uid))[0] == 0xC000
    assert refusal(data_set(study=uid))[0] == 0xC000
    assert refusal(data_set(series=uid))[0] == 0xC000
    status, why = refusal(data_set(study=uid))
    assert status == 0xC000
    assert uid not in why.replace("(0020,000D)", "").replace("UIDs", "")


@pytest.mark.parametrize("padding", [b"\0", b" ", b"\0\0", b"   "])
def test_padding_of_uids_does_not_count(padding: bytes) -> None:
    raw = INSTANCE.encode() + padding
    head = db.encode(0x00080016, "UI", CT) + struct.pack("<HH2sH", 0x0008, 0x0018, b"UI", len(raw)) + raw
    data = head + data_set(drop=[0x00080016, 0x00080018])
    assert look(data).sop_instance_uid == INSTANCE


def test_identity_twice_is_refused() -> None:
    for tag in (0x00080016, 0x00080018, 0x0020000D, 0x0020000E):
        assert "twice" in refusal(data_set(extra=db.encode(tag, "UI", "1.2.3")))[1]


@pytest.mark.parametrize(
    ("tag", "vr"), [(0x00080005, "CS"), (0x00080050, "SH"), (0x00100010, "PN"), (0x00100020, "LO"), (0x00100030, "DA")]
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_who_it_is_may_not_be_said_twice_nor_late(tag: int, vr: str, syntax: str) -> None:
    one = db.encode(tag, vr, "a", syntax)
    once = data_set(syntax=syntax, drop=[tag])
    # dcmtk takes the first and pydicom the last of two; who stops at the pixel data sees none that stands behind them
    assert "twice" in refusal(one + one + once, syntax)[1]
    assert "order" in refusal(once + one, syntax)[1]
    nested = db.sequence(CONTENT_SEQUENCE, db.item(one + one, syntax), syntax)
    assert look(data_set(syntax=syntax, extra=nested), syntax).depth == 1


@pytest.mark.parametrize("tag", [0x00000100, 0x00020010, 0x00041220])
def test_elements_that_would_pass_for_ours_are_refused(tag: int) -> None:
    # a parser that reads (0002,0010) after our file meta information takes it for the transfer syntax
    status, why = refusal(db.encode(tag, "UI", DEFLATED) + data_set())
    assert status == 0xC000
    assert "does not belong" in why


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_truncation_is_refused(syntax: str) -> None:
    extra = db.sequence(
        CONTENT_SEQUENCE, db.item(db.encode(0x0040A160, "UT", "x", syntax), syntax, defined=False), syntax
    )
    extra += db.sequence(0x0040A731, db.item(b"", syntax), syntax, defined=False, vr="SQ")
    data = data_set(syntax=syntax, extra=extra)
    look(data, syntax)
    ends = _ends(data, syntax)
    for end in range(len(data)):
        # what ends with a whole element, the last of them after the series, cannot be told from a whole data set
        if end in ends and end > data.index(SERIES.encode()):
            look(data[:end], syntax)
        else:
            assert refusal(data[:end], syntax)[0] == 0xC000


def _ends(data: bytes, syntax: str) -> set[int]:
    """Return where top-level elements end, by pydicom."""
    ends = set()
    stream = BytesIO(data)
    for element in pydicom.filereader.data_element_generator(stream, syntax == IMPLICIT, syntax != BIG):
        ends.add(stream.tell())
        del element
    return ends


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (data_set()[:-60], "longer than what holds it"),
        (
            data_set(pixels=b"", extra=db.encode(0x7FE00010, "OW", bytes(8), length=0xFFFFFFF0)),
            "longer than what holds it",
        ),
        (data_set(extra=db.encode(0x00081140, "SQ", db.delimiter(0xE000, 100), length=8)), "item is longer"),
        (data_set(extra=db.sequence(0x00081140, db.item(db.encode(0x00080100, "SH", "a", length=50)))), "longer than"),
        (data_set(extra=db.sequence(0x00081140, db.encode(0x00080100, "SH", "a"))), "where an item must be"),
        (data_set(extra=db.sequence(0x00081140, db.delimiter(0xE00D))), "where an item must be"),
        (data_set(extra=db.delimiter(0xE000, 0)), "where an element must be"),
        (data_set(extra=db.delimiter(0xE0DD, 0)), "where an element must be"),
        (data_set(extra=db.encode(0x00080100, "UT", b"", length=db.UNDEFINED)), "has no length"),
        (data_set(pixels=b"", extra=db.encode(0x7FE00010, "OB", b"", length=db.UNDEFINED)), "has no end"),
        (
            data_set(
                pixels=b"",
                extra=db.encode(0x7FE00010, "OB", b"", length=db.UNDEFINED)
                + db.delimiter(0xE000, db.UNDEFINED)
                + db.delimiter(0xE00D)
                + db.delimiter(0xE0DD),
            ),
            "fragment of pixel data has no length",
        ),
        (data_set(syntax=IMPLICIT), "not explicit VR"),
        (b"", "SOP Class UID (0008,0016) is missing"),
        (b"\x08", "ends inside an element"),
        (db.encode(0x00080100, "UT", b"")[:8], "ends inside an element"),
    ],
)
def test_broken_structure_is_not_understood(data: bytes, why: str) -> None:
    status, told = refusal(data)
    assert status == 0xC000
    assert why in told
    assert len(told) <= 64, "it becomes an Error Comment (0000,0902)"


def test_explicit_bytes_in_an_implicit_context_are_not_understood() -> None:
    assert refusal(data_set(), IMPLICIT)[0] == 0xC000


def test_number_of_elements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatekeeper, "MAX_ELEMENTS", 100)
    assert look(data_set(extra=db.encode(0x00280010, "US", b"\0\1") * 90)).elements == 100
    assert "more than 100 elements" in refusal(data_set(extra=db.encode(0x00280010, "US", b"\0\1") * 91))[1]


def test_refusals_never_quote_the_patient() -> None:
    data = data_set(name="SECRET^NAME", drop=[0x0020000D])
    assert "SECRET" not in refusal(data)[1]


@given(
    st.binary(max_size=300)
    | st.builds(lambda cut, tail: data_set()[:cut] + tail, st.integers(0, 400), st.binary(max_size=60)),
    st.sampled_from(SYNTAXES),
)
@example(data_set(extra=db.fragments(b"x")), EXPLICIT)
def test_any_bytes_pass_or_are_refused(data: bytes, syntax: str) -> None:
    refused: Refused | None = None
    try:
        look(data, syntax)
    except Refused as error:
        refused = error
    if refused is not None:
        assert refused.status in (0xC000, 0xA900)
        assert len(str(refused)) <= 64


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=4), st.sampled_from(SYNTAXES))
def test_what_passes_is_what_pydicom_reads(changes: list[tuple[int, int]], syntax: str) -> None:
    extra = db.sequence(
        CONTENT_SEQUENCE, db.item(db.encode(0x0040A160, "UT", "xy", syntax), syntax, defined=False), syntax
    )
    raw = bytearray(data_set(syntax=syntax, extra=extra))
    for at, value in changes:
        raw[at % len(raw)] = value
    try:
        found = look(bytes(raw), syntax)
    except Refused:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(BytesIO(_file(bytes(raw), syntax)))
        assert str(dataset.SOPInstanceUID).strip("\0 ") == found.sop_instance_uid
        assert str(dataset.StudyInstanceUID).strip("\0 ") == found.study_instance_uid
        assert str(dataset.file_meta.TransferSyntaxUID) == syntax


def _file(data: bytes, syntax: str) -> bytes:
    meta = db.encode(0x00020010, "UI", syntax)
    return bytes(128) + b"DICM" + db.encode(0x00020000, "UL", struct.pack("<L", len(meta))) + meta + data


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "JPEG2000.dcm",
        "MR_small_RLE.dcm",
        "liver_1frame.dcm",
        "reportsi.dcm",
        "rtdose.dcm",
        "waveform_ecg.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "JPEG2000-embedded-sequence-delimiter.dcm",
        "ExplVR_BigEnd.dcm",
        "MR_small_padded.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "test-SR.dcm",
        "rtplan.dcm",
    ],
)
def test_real_files_pass(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    raw = Path(path).read_bytes()
    header = pydicom.dcmread(path, stop_before_pixels=True)
    (length,) = struct.unpack_from("<L", raw, 140)
    found = look(
        raw[144 + length :],
        str(header.file_meta.TransferSyntaxUID),
        str(header.SOPClassUID),
        str(header.SOPInstanceUID),
    )
    assert found.study_instance_uid == str(header.StudyInstanceUID)


def test_pixels_are_neither_read_nor_copied(tmp_path: Path) -> None:
    size = 3_000_000_000
    path = tmp_path / "large"
    head = data_set(pixels=b"") + db.encode(0x7FE00010, "OW", b"", length=size)
    with path.open("wb") as stream:
        stream.write(head)
        # a hole: nothing lies on the disk
        stream.truncate(len(head) + size)
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        before = _resident()
        assert look(view).elements == 10  # type: ignore[arg-type]
        assert _resident() - before < 4_000_000


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


# --- the quick walk and the plain one --------------------------------------------------------------------------------------

PLAIN = {EXPLICIT: plain_gatekeeper.EXPLICIT, IMPLICIT: plain_gatekeeper.IMPLICIT, BIG: plain_gatekeeper.BIG}
Said = tuple[object, ...]


def both(data: bytes, syntax: str) -> tuple[Said, Said]:
    """Return what the quick walk and the plain one say: what was found, or status and reason."""
    encoding = gatekeeper._ENCODINGS.get(syntax, gatekeeper._EXPLICIT)

    def said(walk: Callable[[], Said]) -> Said:
        try:
            return walk()
        except Refused as error:
            return (error.status, str(error))

    return said(lambda: gatekeeper._walk(data, encoding, lambda: None)), said(
        lambda: plain_gatekeeper.walk(data, PLAIN[syntax])
    )


@st.composite
def elements(draw: st.DrawFn, syntax: str, depth: int = 0) -> bytes:
    """Return some encoded elements, most of them right."""
    pieces = []
    for _ in range(draw(st.integers(0, 6))):
        tag = draw(st.sampled_from(TAGS) | st.integers(0x00080000, 0xFFFFFFFF))
        vr = draw(st.sampled_from(["LO", "UI", "US", "OB", "UN", "UT", "SQ", "OW", "XX"]))
        if draw(st.integers(0, 3)) == 0 and depth < 4:
            items = b"".join(
                db.item(draw(elements(syntax, depth + 1)), syntax, defined=draw(st.booleans()))
                for _ in range(draw(st.integers(0, 2)))
            )
            pieces.append(
                db.sequence(tag, items, syntax, defined=draw(st.booleans()), vr=draw(st.sampled_from(["SQ", "UN"])))
            )
        else:
            wrong = draw(st.sampled_from([None] * 12 + [0, 3, 70_000, db.UNDEFINED]))
            length = wrong if wrong is None or vr in db._LONG or syntax == IMPLICIT else wrong & 0xFFFF
            pieces.append(db.encode(tag, vr, draw(st.binary(max_size=12)), syntax, length=length))
    return b"".join(pieces)


TAGS = [
    0x00080005, 0x00080016, 0x00080018, 0x00081140, 0x00091010, 0x00100010, 0x00100020, 0x0020000D, 0x0020000E,
    0x00280010, 0x00020010, CONTENT_SEQUENCE, 0x50002600, 0x7FE00010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFCFFFC,
]  # fmt: skip


@given(
    st.sampled_from(SYNTAXES).flatmap(lambda s: st.tuples(st.just(s), elements(s))), st.booleans(), st.integers(0, 40)
)
def test_quick_walk_says_what_the_plain_one_says(made: tuple[str, bytes], whole: bool, cut: int) -> None:
    syntax, extra = made
    data = (data_set(syntax=syntax, extra=extra) if whole else extra) * 2
    for piece in (data, data[: len(data) - cut], data):
        quick, plain = both(piece, syntax)
        assert quick == plain


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_quick_walk_says_what_the_plain_one_says_of_any_bytes(data: bytes, syntax: str) -> None:
    for _ in range(2):
        quick, plain = both(data, syntax)
        assert quick == plain


def test_quick_walk_says_what_the_plain_one_says_of_every_byte_changed() -> None:
    for syntax in SYNTAXES:
        nested = db.sequence(CONTENT_SEQUENCE, db.item(db.encode(0x0040A160, "LO", "x", syntax), syntax), syntax)
        whole = data_set(syntax=syntax, extra=nested, pixels=bytes(8))
        for at in range(len(whole)):
            for value in (0x00, 0x01, 0xFF, whole[at] ^ 0x02):
                raw = whole[:at] + bytes([value]) + whole[at + 1 :]
                quick, plain = both(raw, syntax)
                assert quick == plain, (syntax, at, value)


def test_number_of_elements_is_bounded_in_both_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = data_set(extra=db.encode(0x00280010, "US", b"\0\1") * 20)
    for limit in range(25, 32):
        monkeypatch.setattr(gatekeeper, "MAX_ELEMENTS", limit)
        quick, plain = both(raw, EXPLICIT)
        assert quick == plain
        assert (quick[0] == 0xC000) == (limit < 30)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_memory_is_given_back_while_many_elements_are_read(syntax: str) -> None:
    items = db.item(db.encode(0x00280010, "US", b"\0\1", syntax) * 3, syntax) * 500
    many = data_set(syntax=syntax, extra=db.sequence(CONTENT_SEQUENCE, items, syntax), pixels=b"")
    calls = []
    found = scan(
        many,
        transfer_syntax_uid=syntax,
        sop_class_uid=CT,
        sop_instance_uid=INSTANCE,
        give_back=lambda: calls.append(1),
    )
    assert len(calls) == (found.elements - 1) // gatekeeper.GIVE_BACK_EVERY == 7
    # wherever the pause falls, nothing is skipped and nothing read twice
    for extra in range(12):
        longer = data_set(syntax=syntax, extra=db.encode(0x00280010, "US", b"\0\1", syntax) * (240 + extra))
        quick, plain = both(longer + many, syntax)
        assert quick == plain


def test_what_is_remembered_of_headers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatekeeper, "_REMEMBERED", 50)
    for first in range(0, 400, 40):
        extra = b"".join(db.encode(0x00110000 + n, "LO", "x") for n in range(first, first + 40))
        assert look(data_set(extra=extra)).elements == 50
        assert len(gatekeeper._EXPLICIT.steps) <= 50


def test_known_headers_are_decided_by_their_bytes_alone() -> None:
    look(data_set())
    # a header that was a value of the data set before begins a value that is too long here
    element = db.encode(0x00280010, "US", b"\0\1")
    assert look(data_set(pixels=b"", extra=element)).elements == 10
    assert "(0028,0010) is longer" in refusal(data_set(pixels=b"", extra=element[:-1]))[1]
    assert (
        "has no end"
        in refusal(
            data_set(
                pixels=b"",
                extra=db.sequence(CONTENT_SEQUENCE, element, defined=False)[:8]
                + struct.pack("<L", db.UNDEFINED)
                + db.delimiter(0xE000, db.UNDEFINED)
                + element,
            )
        )[1]
    )


# --- what toolkits write ---------------------------------------------------------------------------------------------------


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 0) -> Dataset:
    """Return what a program would write with pydicom: text, numbers, bytes, sequences, private elements."""
    made = Dataset()
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["text", "number", "bytes", "sequence", "private", "unknown"]))
        match kind:
            case "text":
                made.add_new(0x00104000, "LT", draw(st.text("abc äöü", max_size=30)))
                made.add_new(0x0040A160, "UT", draw(st.text("abc", max_size=30)))
            case "number":
                made.add_new(0x00280010, "US", draw(st.integers(0, 65535)))
                made.add_new(0x00080040 + draw(st.integers(0x2000, 0x2010)), "IS", draw(st.integers(-9, 99)))
            case "bytes":
                made.add_new(0x00282000, "OB", draw(st.binary(max_size=20)))
            case "private":
                block = made.private_block(0x0011, "TEST", create=True)
                block.add_new(draw(st.integers(0, 255)), "LO", draw(st.text("abc", max_size=9)))
            case "unknown":
                made.add_new(0x00131010 + draw(st.integers(0, 9)), "UN", draw(st.binary(max_size=20)))
            case _ if depth < 5:
                inner = draw(st.lists(data_sets(depth + 1), max_size=2))
                for one in inner:
                    one.is_undefined_length_sequence_item = draw(st.booleans())
                tag = draw(st.sampled_from([CONTENT_SEQUENCE, 0x00081140, 0x00151010]))
                made.add_new(tag, "SQ", inner)
                made[tag].is_undefined_length = draw(st.booleans())
    return made


@given(data_sets(), st.sampled_from(SYNTAXES), st.binary(max_size=64))
def test_whatever_pydicom_writes_passes(made: Dataset, syntax: str, pixels: bytes) -> None:
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = CT, INSTANCE
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.add_new(0x7FE00010, "OW", pixels + bytes(len(pixels) % 2))
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax == IMPLICIT, syntax != BIG
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(stream, made)
    raw = stream.getvalue()
    assert look(raw, syntax).series_instance_uid == SERIES
    quick, plain = both(raw, syntax)
    assert quick == plain


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_encapsulated_files_pass_as_the_plain_walk_says(name: str) -> None:
    raw = part10(get_testdata_file(name))
    quick, plain = both(raw, EXPLICIT)
    assert quick == plain
    assert isinstance(quick[1], int)


def part10(path: object) -> bytes:
    """Return the data set of a file."""
    assert isinstance(path, str)
    raw = Path(path).read_bytes()
    return raw[144 + struct.unpack_from("<L", raw, 140)[0] :]
