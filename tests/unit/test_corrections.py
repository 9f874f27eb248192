"""What counts as a correction of a header, and what as another object."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from service.model.study import Study
from service.read import corrections
from service.read.corrections import beyond_identity
from service.store.file_meta import FileMeta
from tests import dicom_bytes as d

IMPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
Change = Callable[[Dataset], None]


def base() -> Dataset:
    ds = pydicom.dcmread(io.BytesIO(d.data_set()), force=True)
    ds.update(
        {
            "SpecificCharacterSet": "ISO_IR 100",
            "Rows": 8,
            "ImageType": ["ORIGINAL", "PRIMARY"],
            "StudyDescription": "CT Abdomen",
            "ProtocolName": "Körper",
            "PixelSpacing": [0.7, 0.7],
            "ImageLaterality": "R",
        }
    )
    ds.add_new(0x70530010, "LO", "Philips PET Private Group")
    ds.add_new(0x70531000, "DS", "0.000123")
    shared = Dataset()
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].SliceThickness = "5"
    ds.SharedFunctionalGroupsSequence = [shared]
    return ds


def written(folder: Path, name: str, ds: Dataset, syntax: str = d.EXPLICIT, **how: bool) -> Path:
    path = folder / name
    meta = FileMeta(sop_class_uid=d.CT, sop_instance_uid=d.INSTANCE, transfer_syntax_uid=syntax).encode()
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax == IMPLICIT
    for sequence in (e for e in ds.iterall() if e.VR == "SQ"):
        sequence.is_undefined_length = how.get("undefined", False)
    pydicom.filewriter.write_dataset(
        buffer, ds, parent_encoding="utf8" if ds.SpecificCharacterSet == "ISO_IR 192" else "latin_1"
    )
    path.write_bytes(meta + buffer.getvalue())
    return path


def said(folder: Path, change: Change, syntax: str = d.EXPLICIT) -> tuple[str, ...]:
    again = base()
    change(again)
    return beyond_identity(written(folder, "held", base(), syntax), written(folder, "again", again, syntax))


def _other_character_set(ds: Dataset) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"


def _order(ds: Dataset) -> None:
    item = Dataset()
    item.AccessionNumber = "A-2"
    ds.RequestAttributesSequence = Sequence([item])
    ds.AccessionNumber, ds.StudyDescription, ds.StudyDate = "A-2", "CT Abdomen, corrected", "20260102"


def _coerced(ds: Dataset) -> None:
    item = Dataset()
    item.ReasonForTheAttributeModification = "COERCE"
    ds.OriginalAttributesSequence = Sequence([item])
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Winter^Jo", "P-2", "19600102"


def _note_of_the_pacs(ds: Dataset) -> None:
    ds.add_new(0x00310010, "LO", "OUR PACS")
    ds.add_new(0x00311020, "LO", "merged")


@pytest.mark.parametrize("syntax", [d.EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    "change",
    [
        lambda ds: None,
        _coerced,
        _order,
        _other_character_set,
        _note_of_the_pacs,
        lambda ds: setattr(ds, "PatientWeight", "80"),
        lambda ds: setattr(ds, "Manufacturer", ""),
        lambda ds: delattr(ds, "StudyDescription"),
    ],
    ids=["nothing", "patient", "order", "character set", "private note", "weight", "empty", "description"],
)
def test_patient_order_and_words_may_differ(tmp_path: Path, change: Change, syntax: str) -> None:
    assert said(tmp_path, change, syntax) == ()


def _thickness(ds: Dataset) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = "3"


def _one_more_item(ds: Dataset) -> None:
    ds.SharedFunctionalGroupsSequence.append(Dataset())


@pytest.mark.parametrize(
    ("change", "tags"),
    [
        (lambda ds: setattr(ds, "PixelData", b"\1" * 128), ("(7FE0,0010)",)),
        (lambda ds: setattr(ds, "PixelData", bytes(130)), ("(7FE0,0010)",)),
        (lambda ds: delattr(ds, "PixelData"), ("(7FE0,0010)",)),
        (lambda ds: setattr(ds, "Rows", 16), ("(0028,0010)",)),
        (lambda ds: setattr(ds, "PixelSpacing", [0.7, 0.8]), ("(0028,0030)",)),
        (lambda ds: setattr(ds, "StudyInstanceUID", "1.2.3"), ("(0020,000D)",)),
        (lambda ds: setattr(ds, "SeriesInstanceUID", "1.2.3"), ("(0020,000E)",)),
        (lambda ds: setattr(ds, "ImageLaterality", "L"), ("(0020,0062)",)),
        (lambda ds: delattr(ds, "ImageLaterality"), ("(0020,0062)",)),
        (lambda ds: setattr(ds, "KVP", "120"), ("(0018,0060)",)),
        (_thickness, ("(5200,9229)",)),
        (_one_more_item, ("(5200,9229)",)),
        (lambda ds: delattr(ds, "SharedFunctionalGroupsSequence"), ("(5200,9229)",)),
        (lambda ds: ds.__delitem__(0x70531000), ("(7053,1000)",)),
        (lambda ds: ds.add_new(0x70531000, "DS", "0.000124"), ("(7053,1000)",)),
        (lambda ds: (setattr(ds, "Rows", 9), setattr(ds, "Columns", 9)), ("(0028,0010)", "(0028,0011)")),
    ],
)
def test_all_else_is_another_object(tmp_path: Path, change: Change, tags: tuple[str, ...]) -> None:
    assert said(tmp_path, change) == tags


def test_encoding_is_no_difference(tmp_path: Path) -> None:
    held, again = written(tmp_path, "held", base()), written(tmp_path, "again", base(), undefined=True)
    assert held.read_bytes() != again.read_bytes()
    assert beyond_identity(held, again) == ()


def test_encapsulated_pixel_data_is_compared_byte_by_byte(tmp_path: Path) -> None:
    fragments = [b"\1" * 64, b"\2" * 64]
    one, two = base(), base()
    for ds, frames in ((one, fragments), (two, [fragments[0], b"\3" * 64])):
        ds.PixelData = pydicom.encaps.encapsulate(frames)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    paths = [written(tmp_path, name, ds, d.JPEG2000) for name, ds in (("a", one), ("b", one), ("c", two))]
    assert beyond_identity(paths[0], paths[1]) == ()
    assert beyond_identity(paths[0], paths[2]) == ("(7FE0,0010)",)


def test_long_text_is_compared_to_its_end(tmp_path: Path) -> None:
    def long(ds: Dataset, end: str) -> None:
        ds.TextValue = "x" * 70_000 + end

    one, two = base(), base()
    long(one, "a")
    long(two, "b")
    assert beyond_identity(written(tmp_path, "a", one), written(tmp_path, "b", two)) == ("(0040,A160)",)


def test_what_cannot_be_compared_is_no_correction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = written(tmp_path, "held", base())
    broken = tmp_path / "broken"
    broken.write_bytes(held.read_bytes()[:-300] + b"\xff" * 40)
    assert beyond_identity(held, broken) != ()
    (tmp_path / "none").write_bytes(b"no dicom at all")
    assert beyond_identity(held, tmp_path / "none") == ("what cannot be parsed",)
    assert beyond_identity(*(written(tmp_path, n, base(), DEFLATED) for n in "ab"))[0].startswith(
        ("a deflated", "what")
    )
    monkeypatch.setattr(corrections, "MAX_HEADER_BYTES", 100)
    assert beyond_identity(held, held) == ("a header that is too long to be compared",)
    with pytest.raises(OSError, match="No such file"):
        beyond_identity(held, tmp_path / "absent")


def test_every_attribute_that_names_a_study_may_be_corrected() -> None:
    """What a report's header takes from its study (`service.model.identity`) is what a correction may change."""
    taken = (
        "StudyDate StudyTime StudyID AccessionNumber StudyDescription ReferringPhysicianName RequestAttributesSequence"
    )
    assert {corrections.tag_of(k) for k in taken.split()} <= corrections._TAGS
    assert {"date", "time", "study_id", "accession_number", "description", "referring_physician", "requests"} <= set(
        Study.__dataclass_fields__
    )
