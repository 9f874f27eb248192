"""What is proposed about vessels and organs from how the tumour lies to their segments, and what is left open."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pydicom
import pytest

from service.flow.compose import Facts, compose
from service.flow.prefill_relations import RELATION_SOURCES
from service.flow.produce import COMPREHENSIVE_3D_SR, produce, renditions
from service.model.measurement import Measurement, Reference, SegmentMeasurements
from service.model.relation import Intravascular, Relation, Suggestion
from service.model.report import Answer, Provenance, Quantity, Report, Status
from service.settings import Clinical
from service.sr.parse import parse
from sr_templates import load_codes, load_template, template_names
from sr_templates.questions import prompts
from tests import builders as b

UNITS = {"ves.contact_angle": "deg", "ves.contact_area": "mm2", "org.contact_area": "mm2"}


def reference(segment: int, seg: int = 1) -> Reference:
    return Reference(
        sop_class_uid=b.SEGMENTATION,
        sop_instance_uid=f"{b.series_uid(5)}.{seg}",
        series_instance_uid=b.series_uid(5),
        segment=segment,
    )


def relation(
    role: str, distance: float | None, *, segment: int = 2, seg: int = 1, side: str = "", **changes: object
) -> Relation:
    """Return a relation; ``numbers`` are measured numbers by their names."""
    structure = reference(segment, seg)
    found: dict[str, float] = changes.pop("numbers", {})  # type: ignore[assignment] - the caller's keywords
    prefix = "ves." if role.startswith("ves.") else "org."
    if distance is not None:
        found = {f"{prefix}distance": distance, **found}
    made = Relation(
        tumour=b.tumour().source,
        tumour_label="Tumour",
        structure=structure,
        label=role,
        role=role,
        laterality=side and f"v.{side}",
        distance=distance,
        within=1.2,
        angle_within=5.0,
        measurements=tuple(
            Measurement(
                name=name,
                value=value,
                unit=UNITS.get(name, "mm"),
                method=f"{name} measured",
                evidence=(structure, b.tumour().source),
            )
            for name, value in found.items()
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type] - the caller's keywords are Relation's


def report(
    *relations: Relation, template: str = "baseline", clinical: Clinical | None = None, **changes: object
) -> Report:
    tumour = replace(b.tumour(), relations=relations, **changes)  # type: ignore[arg-type] - SegmentMeasurements'
    return of(tumour, template=template, clinical=clinical)


def of(*tumours: SegmentMeasurements, template: str = "baseline", clinical: Clinical | None = None) -> Report:
    facts = Facts(study=b.study(), device=b.DEVICE, segments=tumours, clinical=clinical or Clinical())
    return compose(facts, load_template(template))


def keys(answers: Iterable[Answer]) -> set[str]:
    return {load_codes().key_of(v) for a in answers for v in a.values}  # type: ignore[arg-type] - codes


def said(of_report: Report, item: str, subject: str = "") -> set[str]:
    return keys(of_report.answers_of(item, subject))


def number(of_report: Report, item: str, subject: str) -> Decimal | None:
    values = [v for a in of_report.answers_of(item, subject) for v in a.values]
    assert all(isinstance(v, Quantity) for v in values)
    return values[0].number if values else None  # type: ignore[union-attr] - a quantity


ANGLES = {
    "abutment": (90, {"vr.abut"}),
    "just below": (174, {"vr.abut"}),
    "too near": (176, set()),
    "the limit": (180, set()),
    "too near above": (185, set()),
    "just above": (186, {"vr.encase"}),
    "encasement": (300, {"vr.encase"}),
    "all but a slit": (359.4, {"vr.encase"}),
    "all around": (359.6, {"vr.circumf"}),
}


@pytest.mark.parametrize(("angle", "expected"), ANGLES.values(), ids=ANGLES)
def test_the_relation_to_a_vessel_follows_from_the_degrees(angle: float, expected: set[str]) -> None:
    found = report(relation("ves.ivc", 0.0, numbers={"ves.contact_angle": angle, "ves.contact_length": 31.26}))
    assert said(found, "ves.relation", "ves.ivc") == expected
    assert number(found, "ves.contact_angle", "ves.ivc") == round(angle)
    assert number(found, "ves.contact_length", "ves.ivc") == Decimal("31.3")
    remarks = next(s.remarks for s in found.subjects if s.key == "ves.ivc")
    assert any("too near to 180" in r for r in remarks) is (not expected)


def test_the_limits_are_settings() -> None:
    made = relation("ves.ivc", 0.0, numbers={"ves.contact_angle": 100})
    assert said(report(made, clinical=Clinical(encasement_degrees=90)), "ves.relation", "ves.ivc") == {"vr.encase"}
    apart = relation("ves.ivc", 4.0)
    assert said(report(apart), "ves.relation", "ves.ivc") == set()
    assert said(report(apart, clinical=Clinical(apart_mm=3)), "ves.relation", "ves.ivc") == {"vr.none"}


@pytest.mark.parametrize(
    ("distance", "vessel", "organ"),
    [
        (12.0, {"vr.none"}, {"or.separate"}),
        (5.0, {"vr.none"}, {"or.separate"}),
        (4.9, set(), set()),
        (0.0, set(), {"or.contact"}),
    ],
)
def test_a_distance_says_only_what_it_can(distance: float, vessel: set[str], organ: set[str]) -> None:
    found = report(relation("ves.aorta_abd", distance), relation("org.liver", distance, segment=3))
    assert said(found, "ves.relation", "ves.aorta_abd") == vessel
    assert said(found, "org.relation", "org.liver") == organ
    assert (
        number(found, "org.distance", "org.liver")
        == number(found, "ves.distance", "ves.aorta_abd")
        == Decimal(str(distance))
    )


def test_a_proposal_says_where_it_comes_from() -> None:
    found = report(relation("org.kidney", 0.0, side="left", numbers={"org.contact_area": 412.4}))
    subject = found.subject("org.kidney/left")
    assert subject is not None
    assert subject.segment == reference(2)
    for answer in found.answers:
        if answer.subject == subject.key:
            assert answer.status is Status.PROPOSED
            assert answer.provenance is Provenance.SEGMENTATION
            assert answer.basis
            # what it rests on beside its own segment: the tumour's
            assert b.tumour().source in answer.evidence
    assert {a.item for a in found.answers if a.subject == subject.key} == {
        "org.relation",
        "org.distance",
        "org.contact_area",
    }


def test_the_level_of_the_vena_cava_is_proposed_with_its_landmarks() -> None:
    veins = (reference(7), reference(8))
    made = relation(
        "ves.ivc",
        0.0,
        numbers={"ves.contact_angle": 120, "ivc.length": 64.0, "ivc.dist_renal": -12.5},
        suggestions=(
            Suggestion(
                item="ivc.segment",
                values=("ivc.lower", "ivc.middle"),
                basis="by the segment of the renal veins",
                evidence=veins,
            ),
            Suggestion(item="ivc.middle_sub", values=("ivc.2a",), basis="by where the liver lies at the vena cava"),
        ),
    )
    found = report(made)
    assert said(found, "ivc.segment", "ves.ivc") == {"ivc.lower", "ivc.middle"}
    assert said(found, "ivc.middle_sub", "ves.ivc") == {"ivc.2a"}
    assert number(found, "ivc.dist_renal", "ves.ivc") == Decimal("-12.5")
    (answer,) = found.answers_of("ivc.segment", "ves.ivc")
    assert answer.basis == "by the segment of the renal veins"
    assert set(veins) < set(answer.evidence)


# tumour in a vein


def entering(role: str, depth: float, share: float = 20.0, **numbers: float) -> Relation:
    return relation(role, 0.0, numbers=numbers, intravascular=Intravascular(volume=5200, depth=depth, share=share))


def test_a_segment_deep_in_a_vein_suggests_tumour_in_it() -> None:
    found = report(entering("ves.ivc", 6.0, **{"ves.contact_angle": 90.0}))
    assert said(found, "ves.relation", "ves.ivc") == {"vr.abut", "vr.luminal"}
    assert said(found, "iv.tumor_in_vein") == {"v.present"}
    assert said(found, "gp", "LMS-T1") == {"gp.mixed"}
    (answer,) = found.answers_of("iv.tumor_in_vein")
    assert answer.basis == (
        "5.2 mL of the tumour's segment lie within the outline of 'ves.ivc', up to 6 mm deep: suggests tumour in the vein"
    )
    assert set(answer.evidence) == {reference(2), b.tumour().source}


@pytest.mark.parametrize(
    "made",
    [
        entering("ves.ivc", 2.9),
        entering("ves.aorta_abd", 9.0),
        relation("ves.ivc", 0.0, numbers={"ves.contact_angle": 200}),
        relation("ves.ivc", 40.0),
    ],
    ids=["two outlines of one wall", "an artery", "contact without overlap", "apart"],
)
def test_nothing_else_suggests_anything_about_tumour_in_a_vein(made: Relation) -> None:
    found = report(made)
    assert found.answers_of("iv.tumor_in_vein") == ()
    assert found.answers_of("gp", "LMS-T1") == ()
    assert "vr.luminal" not in said(found, "ves.relation", made.role)


def test_a_tumour_all_within_a_vein_is_not_called_mixed_nor_intravascular() -> None:
    found = report(entering("ves.ivc", 9.0, share=99.0))
    assert said(found, "ves.relation", "ves.ivc") == {"vr.luminal"}
    assert found.answers_of("gp", "LMS-T1") == ()


# which structures


@pytest.mark.parametrize(
    ("made", "subject"),
    [
        (relation("ves.renal_v", 9.0, side="right"), "ves.renal_v/right"),
        (relation("ves.renal_v_l", 9.0), "ves.renal_v/left"),
        (relation("ves.renal_v_r", 9.0, side="left"), "ves.renal_v/right"),
        (relation("org.psoas", 9.0, side="left"), "org.psoas/left"),
        (relation("org.liver", 9.0, side="left"), "org.liver"),
        # the template does not list it: only where the tumour touches it
        (relation("org.stomach", 9.0), None),
        (relation("org.stomach", 0.0), "org.stomach"),
        (relation("ves.aorta_infrarenal", 0.0), "ves.aorta_infrarenal"),
        # asked in the pelvis only
        (relation("org.bladder", 30.0), None),
        (relation("org.bladder", 0.0), "org.bladder"),
    ],
    ids=str,
)
def test_a_structure_is_the_row_that_the_template_lists(made: Relation, subject: str | None) -> None:
    found = report(made)
    assert [s.key for s in found.subjects if s.scope.value in {"vessel", "organ"}] == ([subject] if subject else [])


def test_a_paired_structure_without_a_side_is_told() -> None:
    found = report(relation("org.kidney", 0.0))
    assert not [s for s in found.subjects if s.scope.value == "organ"]
    assert "No relation to the segment 'org.kidney' is proposed: which side it is on is not known" in found.remarks


def test_what_was_refused_is_told_beside_the_structure() -> None:
    made = relation("ves.ivc", None, refusals=("No relation to the tumour: slices are missing inside the segment",))
    found = report(made)
    (subject,) = [s for s in found.subjects if s.key == "ves.ivc"]
    assert subject.remarks == made.refusals
    assert not [a for a in found.answers if a.subject == "ves.ivc"]


def test_of_several_segments_that_of_the_tumours_own_segmentation_counts() -> None:
    made = (relation("ves.ivc", 0.0, segment=4, seg=2, label="VCI"), relation("ves.ivc", 8.0))
    for order in (made, made[::-1]):
        found = report(*order)
        assert number(found, "ves.distance", "ves.ivc") == Decimal("8.0")
        (subject,) = [s for s in found.subjects if s.key == "ves.ivc"]
        assert "2 segments of it are there: the relation is that of 'ves.ivc'" in subject.remarks


def test_of_several_tumours_the_nearest_counts() -> None:
    first, second = b.tumour(1), b.tumour(2)
    near = replace(relation("org.spleen", 6.0), tumour=second.source)
    found = of(replace(first, relations=(relation("org.spleen", 60.0),)), replace(second, relations=(near,)))
    assert number(found, "org.distance", "org.spleen") == Decimal("6.0")
    (subject,) = [s for s in found.subjects if s.key == "org.spleen"]
    assert "The relation is that of LMS-T2, which lies nearest" in subject.remarks


def test_structures_stand_in_the_order_of_the_template() -> None:
    made = [
        relation("org.spine", 9.0),
        relation("ves.aorta_abd", 9.0),
        relation("org.kidney", 9.0, side="left"),
        relation("ves.ivc", 9.0),
    ]
    found = [s.key for s in report(*made).subjects if s.scope.value in {"vessel", "organ"}]
    assert found == ["ves.ivc", "ves.aorta_abd", "org.kidney/left", "org.spine"]
    assert found == [s.key for s in report(*made[::-1]).subjects if s.scope.value in {"vessel", "organ"}]


# in the report


@pytest.mark.parametrize("name", template_names())
def test_proposals_answer_what_is_asked_and_ask_nothing_more(name: str) -> None:
    template = load_template(name)
    made = [
        relation("org.liver", 0.0, segment=3),
        relation("ves.ivc", 0.0, numbers={"ves.contact_angle": 90}),
        relation("org.stomach", 40.0),
    ]
    before, after = (prompts(r, template) for r in (report(template=name), report(*made, template=name)))
    assert {p.label for p in before} <= {p.label for p in after}
    # contact with a vessel opens what it needs, and nothing else does
    assert {p.label for p in after} - {p.label for p in before} <= {
        "IVC level",
        "Vessel relations",
        "Operative planning",
    }


def test_every_source_is_named_by_a_template() -> None:
    named = {p for n in template_names() for i in load_template(n) for p in i.prefill}
    assert set(RELATION_SOURCES) <= named


def test_the_report_reads_back() -> None:
    made = (
        entering("ves.ivc", 6.0, **{"ves.contact_angle": 90.0, "ves.contact_area": 812.0, "ivc.length": 40.0}),
        relation("org.kidney", 0.0, side="right", segment=3, numbers={"org.contact_area": 120.0}),
        relation(
            "org.liver", None, segment=4, refusals=("No relation to the tumour: slices are missing inside the segment",)
        ),
    )
    tumour = replace(b.tumour(), relations=made)
    produced = produce(b.study(), (tumour,), None, b.OPTIONS)
    (first, *_) = renditions(
        produced,
        sop_class_uid=COMPREHENSIVE_3D_SR,
        profile="standard",
        version=1,
        created_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
    )
    assert parse(pydicom.dcmread(io.BytesIO(first.part10)), produced.template) == produced.report
