"""Which structure a segment is: by code, by label, or nobody knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.model.code import Code
from service.read.segmentation import Segment
from service.read.structures import is_sided, role_of_label, structure_of
from sr_templates import load_codes


def segment(label: str = "", code: tuple[str, str, str] | None = None, **changes: object) -> Segment:
    return Segment(number=1, label=label, property_type=Code(*code) if code else None, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "scheme", "role"),
    [
        ("4147007", "SCT", "tumour"),
        ("108369006", "SCT", "tumour"),
        ("372087000", "SCT", "tumour"),
        ("86049000", "SCT", "tumour"),
        ("M-80003", "SRT", "tumour"),
        ("M-03000", "SNM3", "tumour"),
        ("64131007", "SCT", "ves.ivc"),
        ("T-48710", "SRT", "ves.ivc"),
        ("T-48710", "99SDM", "ves.ivc"),
        ("10200004", "SCT", "org.liver"),
        ("64033007", "SCT", "org.kidney"),
        ("RID2624", "RADLEX", "org.psoas"),
        ("14799000", "SCT", "metastasis"),
        ("59441001", "SCT", "node"),
        ("79654002", "SCT", ""),  # Edema
        ("4147007", "99X", ""),  # another scheme's
        ("", "", ""),
    ],
)
def test_codes_decide(value: str, scheme: str, role: str) -> None:
    assert structure_of(segment(code=(value, scheme, "meaning"))).role == role


def test_a_code_is_never_mapped_by_its_meaning() -> None:
    assert structure_of(segment(code=("1", "99X", "Neoplasm"))).role == ""


@pytest.mark.parametrize(
    ("label", "role"),
    [
        *((label, "tumour") for label in (
            "Tumour", "tumor 1", "GTV_Mass", "GTV-1", "GTVp", "MassLesion", "Masse tumorale", "Läsion", "LÉSION", "Raumforderung",
            "massa", "Tumeur", "опухоль", "肿瘤", "腫瘍", "LMS", "Leiomyosarkom", "Tumor re.", "kidney tumor",
        )),
        *((label, "ves.ivc") for label in ("IVC", "inferior_vena_cava", "Vena cava inferior", "VCI", "Veine cave inférieure")),
        *((label, "org.kidney") for label in (
            "Kidney right", "kidney_left", "L kidney", "Niere re.", "Rein gauche", "rene destro", "RightKidney", "右腎臓",
        )),
        *((label, "org.liver") for label in ("Liver", "LEBER", "foie", "Hígado", "Segment Liver 2")),
        ("Aorta", "ves.aorta_abd"),
        ("Left renal vein", "ves.renal_v"),
        ("right atrium", "ves.right_atrium"),
        ("Metastasis 3", "metastasis"),
        ("Lymph node", "node"),
        ("lymph node metastasis", "node"),
        *((label, "") for label in (
            "", "Segment_1", "GREEN", "Liver without tumour", "no tumour", "tumour bed", "TumorBed", "muscle mass", "tumour thrombus",
            "kidney_cyst_left", "CTV", "peritumoral edema", "liver lesion", "lung mass", "necrosis of tumour", "mastoid", "massif",
        )),
    ],
)  # fmt: skip
def test_labels_decide(label: str, role: str) -> None:
    assert role_of_label(label) == role


def test_a_code_that_says_too_little_leaves_it_to_the_label() -> None:
    found = structure_of(segment("Tumour", ("85756007", "SCT", "Tissue")))
    assert (found.role, found.basis) == ("tumour", "the label 'Tumour'")


def test_a_code_that_is_not_known_is_said_beside_the_label() -> None:
    found = structure_of(segment("Tumour", ("79654002", "SCT", "Edema")))
    assert (found.role, found.basis) == (
        "tumour",
        "the label 'Tumour'; the coded property type Edema is not known here",
    )


def test_code_and_label_that_contradict_each_other_decide_nothing() -> None:
    found = structure_of(segment("Tumour", ("10200004", "SCT", "Liver")))
    assert found.role == ""
    assert "says Liver, the label 'Tumour' says tumour" in found.basis


def test_a_label_that_names_the_place_of_a_coded_tumour_does_not_contradict_it() -> None:
    assert structure_of(segment("Liver", ("4147007", "SCT", "Mass"))).role == "tumour"


def test_tracking_identifier_and_description_help_a_label_that_says_nothing() -> None:
    assert structure_of(segment("Segment_1", tracking_id="GTV")).role == "tumour"
    assert structure_of(segment("Segment_1", description="Tumour")).role == "tumour"
    assert structure_of(segment("Muscle", description="Tumour")).role == ""


@pytest.mark.parametrize(
    ("label", "side"),
    [
        ("Kidney right", "v.right"),
        ("kidney_left", "v.left"),
        ("Niere li", "v.left"),
        ("R kidney", "v.right"),
        ("Tumor re.", "v.right"),
        ("Rein droit", "v.right"),
        ("re-contoured tumor", ""),
        ("Tumour", ""),
        ("left and right kidney", ""),
        ("l", ""),
    ],
)
def test_sides_are_read_from_labels(label: str, side: str) -> None:
    assert structure_of(segment(label)).laterality == side


def test_a_coded_side_wins() -> None:
    found = structure_of(segment("Kidney right", modifiers=(Code("7771000", "SCT", "Left"),)))
    assert (found.laterality, found.laterality_basis) == ("v.left", "the coded modifier of the segment")


def test_every_role_of_the_word_list_is_a_key_of_the_code_table() -> None:
    from service.read.structures import _table  # noqa: PLC0415 - the table is no one else's business

    assert {role for role in _table().synonyms.values() if role not in load_codes()} == set()


def test_lesions_and_paired_organs_have_sides() -> None:
    assert is_sided("tumour")
    assert is_sided("org.kidney")
    assert not is_sided("ves.ivc")


def test_a_hospitals_own_names_and_codes_count_and_go_before_ours(tmp_path: Path) -> None:
    file = tmp_path / "names.toml"
    file.write_text(
        '[codes]\ntumour = [["T1", "99HOSP"]]\n[words]\ntumour = ["Knubbel"]\n[synonyms]\n"ves.ivc" = ["Cava (Haus)", "aorta"]\n',
        encoding="utf-8",
    )
    own = str(file)
    assert structure_of(segment(code=("T1", "99HOSP", "Ours")), own).role == "tumour"
    assert structure_of(segment("Knubbel 3"), own).role == "tumour"
    assert structure_of(segment("CAVA HAUS"), own).role == "ves.ivc"
    assert structure_of(segment("Aorta"), own).role == "ves.ivc"
    assert structure_of(segment("Leber"), own).role == "org.liver"
    # and nowhere else
    assert structure_of(segment("Knubbel 3")).role == ""
    assert structure_of(segment("Aorta")).role == "ves.aorta_abd"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[words", "is no TOML file"),
        ("[colours]\nred = []\n", "has [colours]"),
        ('[synonyms]\n"ves.nowhere" = ["x"]\n', "'ves.nowhere' in [synonyms] is not known here"),
        ("[words]\ntumour = [3]\n", "has to be a text"),
        ('[words]\ntumour = ["--"]\n', "has to be a text"),
        ('[codes]\ntumour = ["T1"]\n', "has to be [value, scheme]"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_names_that_is_wrong_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "names.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        structure_of(segment("Tumour"), str(file))


@pytest.mark.parametrize(
    ("label", "basis"),
    [
        ("Liver tumor", "the label 'Liver tumor' may be a tumour, or what is meant by 'liver'"),
        ("no tumour", "the label 'no tumour' says 'no'"),
        ("GREEN", ""),
    ],
)
def test_a_label_that_may_be_a_tumour_says_why_it_is_not_taken_for_one(label: str, basis: str) -> None:
    found = structure_of(segment(label))
    assert (found.role, found.basis) == ("", basis)
