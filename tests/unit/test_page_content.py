"""From report to page: everything the report says is there, each proposal says so, and items and subjects need no code of their own."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Scope, Status, Subject
from service.page.assemble import BANNER, page_content, person_name, whence
from service.page.content import PageContent, Row, Signature, Table
from sr_templates import load_codes, load_template
from tests import pages as p

TEMPLATE = load_template("baseline")


def signed(**changes: object) -> PageContent:
    signature = Signature(name="Weber^Anna", organisation="Klinikum", at=dt.datetime(2026, 3, 2, 13, 5, tzinfo=dt.UTC))
    return page_content(
        p.report(), TEMPLATE, p.study(), p.COUNTED, created_at=p.CREATED_AT, timezone="Europe/Berlin", signed=signature
    )


def rows(content: PageContent) -> dict[str, Row]:
    return {r.item: r for t in (*content.lesions, *content.sections) for r in t.rows}


def test_a_draft_says_so_and_a_signed_report_says_who() -> None:
    draft = p.content()
    assert draft.banner == BANNER == "DRAFT, NOT VERIFIED"
    assert draft.status == "8 prompts: 4 proposed, 2 confirmed, 2 open"
    assert signed().banner == ""
    assert signed().status == "Verified by Weber, Anna, Klinikum, 2026-03-02 14:05 (Europe/Berlin)"


def test_only_a_draft_has_a_machine_summary() -> None:
    assert [i.label for i in p.content().impression] == ["Summary (automatic, not verified)"]
    assert signed().impression == ()


def test_the_impression_is_the_radiologists() -> None:
    stated = p.answer("hd.impression_el", "Mass.", status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST)
    paragraphs = p.content(p.report(stated)).impression
    assert [(i.label, i.text, i.whence) for i in paragraphs][1:] == [("Impression", "Mass.", "")]


def test_head() -> None:
    content = p.content()
    assert content.patient == "Müller, Jörg"
    assert {f.label: f.value for f in content.facts} == {
        "Patient ID": "P-1 (HOSPITAL)",
        "Born": "1960-01-01",
        "Sex": "male",
        "Accession": "A123",
        "Study date": "2026-03-01",
        "Examination": "CT Abdomen",
    }


def test_every_proposal_says_that_nobody_confirmed_it() -> None:
    found = rows(p.content())
    length = found["Longest axial diameter"]
    assert (length.value, length.unit, length.code) == ("100.0", "mm", "SCT 103339001")
    assert length.whence == "proposed from the segmentation, not confirmed"
    assert length.basis == "axial, image 14"
    assert length.proposed
    assert found["Indication"].whence == "proposed from the header, not confirmed"
    assert found["Diagnosis status"].whence == "stated by the radiologist"
    assert not found["Diagnosis status"].proposed


def test_a_confirmed_value_keeps_where_it_came_from_and_says_who_confirmed_it() -> None:
    confirmed = p.answer("sz.volume", p.millimetres("1"), status=Status.CONFIRMED, observer="Weber^Anna")
    assert whence(confirmed) == "from the segmentation, confirmed by Weber, Anna"
    stated = replace(confirmed, provenance=Provenance.RADIOLOGIST)
    assert whence(stated) == "stated by Weber, Anna"


def test_a_row_without_its_origin_still_says_proposed() -> None:
    common = "proposed from the segmentation, not confirmed"
    table = Table(title="T", rows=(), whence=common)
    proposed = Row(item="i", value="v", whence=common, proposed=True)
    assert table.origin(proposed) == "proposed"
    assert (
        table.origin(replace(proposed, whence="stated by the radiologist", proposed=False))
        == "stated by the radiologist"
    )
    assert Table(title="T", rows=()).origin(proposed) == common


def test_the_code_of_a_coded_value_is_the_values() -> None:
    mass = load_codes()["tum.mass"]
    assert rows(p.content())["Finding"].code == f"{mass.scheme} {mass.value}"


def test_a_reason_is_shown() -> None:
    said = p.answer("tech.quality", "poor", reason="motion", status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST)
    assert rows(p.content(p.report(said)))["Image quality"].basis == "reason: motion"


def test_a_number_that_is_missing_says_why() -> None:
    missing = Quantity(number=None, unit=p.MILLIMETRE, qualifier=load_codes()["v.not_evaluated"])
    row = rows(p.content(p.report(p.answer("sz.height", missing, subject="LMS-T1"))))["Craniocaudal dimension"]
    assert (row.value, row.unit, row.numeric) == (load_codes()["v.not_evaluated"].meaning, "", False)


def test_no_uid_and_no_identity_row_is_in_the_readers_way() -> None:
    shown = rows(p.content())
    assert "2.25.99" not in {r.value for r in shown.values()}
    assert "Lesion tracking identifier" not in shown
    assert "Weber Anna" not in {r.value for r in shown.values()}


def test_vessels_are_a_matrix_whose_cells_say_what_is_proposed() -> None:
    (matrix,) = p.content().matrices
    assert matrix.columns == ("Relation of tumour to the vessel",)
    cells = {line.name: line.cells[0] for line in matrix.lines}
    assert cells["inferior vena cava"].proposed
    assert not cells["abdominal aorta"].proposed
    assert "proposed from the segmentation, not confirmed" in matrix.whence
    assert "stated by the radiologist" in matrix.whence


@pytest.mark.parametrize("scope", [Scope.ORGAN, Scope.NODE, Scope.METASTASIS, Scope.CANDIDATE])
def test_a_subject_of_any_scope_stands_in_a_matrix(scope: Scope) -> None:
    item = next(
        i for i in TEMPLATE if i.scope is scope and i.fill.value == "person" and i.type.value in {"code", "codes"}
    )
    subject = Subject(key="k", scope=scope, tracking_id="a structure", remarks=("cut off",))
    given = p.answer(item.key, item.values[0], subject="k")
    matrices = p.content(p.report(given, subjects=(subject,))).matrices
    line = next(li for m in matrices for li in m.lines if li.name == "a structure")
    assert (line.cells[0].text, line.remark) == (item.values[0].meaning, "cut off")


def test_many_columns_stand_in_a_second_matrix() -> None:
    asked = [i for i in TEMPLATE if i.scope is Scope.VESSEL and i.fill.value == "person" and i.values][:8]
    given = [p.answer(i.key, i.values[0], subject="ves.ivc") for i in asked if i.key != "ves.relation"]
    content = p.content(p.report(*given))
    assert all(len(m.columns) <= 6 for m in content.matrices)
    assert sum(len(m.columns) for m in content.matrices) == len({*(i.key for i in asked), "ves.relation"})


def test_remarks_of_a_lesion_and_lines_of_series_are_there() -> None:
    content = p.content()
    assert content.lesions[0].remarks == ("In two parts",)
    assert rows(content)["Series 2"].value.startswith("CT, 1.5 mm, 120 kV")


def test_what_a_person_said_of_a_series_stands_behind_its_line() -> None:
    delay = Answer(
        item="tech.contrast_delay",
        subject="Series 2",
        values=(Quantity(number=Decimal(70), unit=Code("s", "UCUM", "second")),),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        observer="Reader^One",
    )
    row = rows(p.content(p.report(delay)))["Series 2: Delay from injection to acquisition"]
    assert (row.value, row.unit, row.whence) == ("70", "s", "stated by Reader, One")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎, やまだ たろう)"),
        ("=洪^吉洞", "洪, 吉洞"),
        ("Adams^John Robert Quincy^^Rev.^B.A. M.Div.", "Adams, John Robert Quincy  Rev. B.A. M.Div."),
        ("", ""),
        ("^^", ""),
    ],
)
def test_names_as_people_write_them(written: str, said: str) -> None:
    assert person_name(written) == said
