"""What is measured between a tumour and vessels and organs, and what is refused or left open, with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.measure.listing import segments
from service.model.relation import Relation
from tests.phantoms import ROOT, Ct, Grid, box, ellipsoid, measured
from tests.relations import cylinder, exclusive, relations, renamed_frame, seg, tumours, value

GRID = Grid(rows=60, columns=60, depths=tuple(2.5 * i for i in range(16)))
X, Y, Z = GRID.centre
OTHER_UID = f"{ROOT}.9.2"

# the vena cava, from the iliac veins (z = 15) to the heart (z = 185), in mm
BODY = Grid(
    origin=(-60.0, -60.0, 0.0), rows=60, columns=60, spacing=(2.0, 2.0), depths=tuple(4.0 * i for i in range(53))
)
RENAL_RIGHT, RENAL_LEFT, HEPATIC, LIVER, HEART, ILIAC = 78.0, 88.0, 150.0, 112.0, 185.0, 20.0


def anatomy(*names: str) -> dict[str, NDArray[Any]]:
    shapes = {
        "ves.renal_v/right": cylinder((-30, 0, RENAL_RIGHT), 5, axis=(1, 0, 0), half=22),
        "ves.renal_v/left": cylinder((30, 0, RENAL_LEFT), 5, axis=(1, 0, 0), half=22),
        "ves.hepatic_v": cylinder((-30, 0, HEPATIC), 5, axis=(1, 0, 0), half=22),
        "org.kidney/right": ellipsoid((-45, 25, 80), (12, 12, 38)),
        "org.kidney/left": ellipsoid((45, 25, 85), (12, 12, 38)),
        "org.liver": box((-35, -10, (LIVER + 190) / 2), (42, 40, 190 - LIVER)),
        "org.heart": box((0, 0, HEART + 10), (60, 60, 20)),
        "ves.common_iliac_v": box((0, 0, ILIAC - 8), (50, 12, 16)),
        "ves.ivc": lambda x, y, z: cylinder((0, 0, 0), 9)(x, y, z) & (z > ILIAC) & (z < HEART),
    }
    return {k: BODY.voxels(v) for k, v in shapes.items() if k in names}


EVERYTHING = (
    "ves.renal_v/right", "ves.renal_v/left", "ves.hepatic_v", "org.kidney/right", "org.kidney/left", "org.liver", "org.heart",
    "ves.common_iliac_v", "ves.ivc",
)  # fmt: skip


def cava(folder: Path, low: float, high: float, *names: str) -> Relation:
    """Return the relation of a tumour at the front of the vena cava, from ``low`` to ``high`` mm, to it."""
    tumour = BODY.voxels(cylinder((0, 0, (low + high) / 2), 20, inner=9, wrap=(-45, 90), half=(high - low) / 2))
    masks = exclusive({**anatomy("ves.ivc", *names), "tumour": tumour})
    return relations(folder, seg(BODY, masks))["ves.ivc"]


def suggested(of: Relation, item: str) -> tuple[str, ...] | None:
    return next((s.values for s in of.suggestions if s.item == item), None)


LEVELS = {
    "lower": (30, 60, ("ivc.lower",), None),
    "lower and middle": (40, 100, ("ivc.lower", "ivc.middle"), ("ivc.2a",)),
    "middle, below the liver": (90, 104, ("ivc.middle",), ("ivc.2a",)),
    "middle, behind the liver": (120, 135, ("ivc.middle",), ("ivc.2b",)),
    "all three": (40, 170, ("ivc.lower", "ivc.middle", "ivc.upper"), ("ivc.2a", "ivc.2b")),
    "upper": (158, 180, ("ivc.upper",), None),
}


@pytest.mark.parametrize(("low", "high", "segments", "parts"), LEVELS.values(), ids=LEVELS)
def test_the_segments_of_the_vena_cava(
    tmp_path: Path, low: float, high: float, segments: tuple[str, ...], parts: tuple[str, ...] | None
) -> None:
    found = cava(tmp_path, low, high, *EVERYTHING)
    assert suggested(found, "ivc.segment") == segments
    assert suggested(found, "ivc.middle_sub") == parts
    near = 4 + found.within
    assert value(found, "ivc.length") == pytest.approx(high - low, abs=near)
    # the right renal vein joins lower, and its lower border counts
    assert value(found, "ivc.dist_renal") == pytest.approx(RENAL_RIGHT - 5 - high, abs=near)
    assert value(found, "ivc.dist_hepatic") == pytest.approx(HEPATIC - 5 - high, abs=near)
    assert value(found, "ivc.dist_atrium") == pytest.approx(HEART - high, abs=near)
    assert value(found, "ivc.dist_bifurc") == pytest.approx(low - ILIAC, abs=near)
    assert not found.refusals


def test_a_segment_rests_on_the_veins_that_bound_it(tmp_path: Path) -> None:
    found = cava(tmp_path, 40, 100, *EVERYTHING)
    (suggestion,) = [s for s in found.suggestions if s.item == "ivc.segment"]
    assert suggestion.basis == "by the segment of the renal veins; the segment of the hepatic veins"
    # both renal veins and the hepatic one, of which the segmentation has numbers
    assert len({e.segment for e in suggestion.evidence}) == 3
    assert {e.sop_instance_uid for e in suggestion.evidence} == {found.structure.sop_instance_uid}


UNCLEAR = {
    "no landmark": (40, 100, (), "neither the renal veins nor a landmark in their place are segmented"),
    "at the very renal veins": (40, 74, EVERYTHING, "the tumour ends at the very level of the renal veins"),
    "between the poles of the kidneys": (
        30, 90, ("org.kidney/right", "org.kidney/left"), "within the limits between which they lie (the poles of the kidneys)",
    ),
    "one renal vein": (40, 74, ("ves.renal_v/left", "org.liver"), "the right renal vein is not segmented and may join lower"),
    "behind the liver": (95, 150, ("ves.renal_v/right", "ves.renal_v/left", "org.liver"), "where the liver lies at the vena cava"),
    "no liver": (95, 120, ("ves.renal_v/right", "ves.renal_v/left"), "neither the hepatic veins nor a landmark"),
}  # fmt: skip


@pytest.mark.parametrize(("low", "high", "names", "why"), UNCLEAR.values(), ids=UNCLEAR)
def test_a_segment_that_is_not_clear_is_not_suggested(
    tmp_path: Path, low: float, high: float, names: tuple[str, ...], why: str
) -> None:
    found = cava(tmp_path, low, high, *names)
    assert suggested(found, "ivc.segment") is None
    assert any(r.startswith("Segment of the vena cava not proposed: ") and why in r for r in found.remarks), (
        found.remarks
    )
    assert value(found, "ivc.length") == pytest.approx(high - low, abs=4 + found.within)


CLEAR_WITHOUT_VEINS = {
    "below both kidneys": (22, 32, ("org.kidney/right", "org.kidney/left"), ("ivc.lower",)),
    "above the kidneys, below the liver's end": (
        131, 135, ("org.kidney/right", "org.kidney/left", "ves.hepatic_v"), ("ivc.middle",),
    ),
    "above one renal vein": (95, 105, ("ves.renal_v/left", "org.liver"), ("ivc.middle",)),
}  # fmt: skip


@pytest.mark.parametrize(("low", "high", "names", "segments"), CLEAR_WITHOUT_VEINS.values(), ids=CLEAR_WITHOUT_VEINS)
def test_kidneys_and_liver_stand_for_veins_where_they_leave_no_doubt(
    tmp_path: Path, low: float, high: float, names: tuple[str, ...], segments: tuple[str, ...]
) -> None:
    found = cava(tmp_path, low, high, *names)
    assert suggested(found, "ivc.segment") == segments
    # they bound the veins and are no place that a distance could be measured to
    assert found.number("ivc.dist_renal") is None


def test_a_vein_that_does_not_reach_the_vena_cava_is_no_landmark(tmp_path: Path) -> None:
    masks = anatomy("ves.ivc")
    masks["ves.renal_v/right"] = BODY.voxels(cylinder((-45, 0, 78), 5, axis=(1, 0, 0), half=10))
    masks["tumour"] = BODY.voxels(cylinder((0, 0, 45), 20, inner=9, wrap=(-45, 90), half=10))
    found = relations(tmp_path, seg(BODY, masks))["ves.ivc"]
    assert found.number("ivc.dist_renal") is None
    assert suggested(found, "ivc.segment") is None


# tumour in a vein


def test_tumour_on_the_voxels_of_a_vein_lies_within_it(tmp_path: Path) -> None:
    masks: Mapping[str, NDArray[Any]] = {
        "tumour": GRID.voxels(ellipsoid((X, Y, Z), (7, 7, 10))),
        "ves.ivc": GRID.voxels(cylinder((X, Y, Z), 11)),
    }
    found = relations(tmp_path, seg(GRID, masks))["ves.ivc"]
    assert found.intravascular is not None
    assert found.intravascular.volume == pytest.approx(4 / 3 * np.pi * 7 * 7 * 10, rel=0.05)
    assert found.intravascular.share == pytest.approx(100, abs=0.1)
    assert found.intravascular.depth == pytest.approx(11, abs=1.5)
    assert value(found, "ves.distance") == 0
    # it lies within the vessel: nothing of the outline is touched from outside
    assert found.number("ves.contact_angle") is None
    assert value(found, "ivc.length") == pytest.approx(20, abs=5)


def test_tumour_in_the_hole_that_a_label_map_leaves_lies_within_the_vein(tmp_path: Path) -> None:
    masks = exclusive(
        {"tumour": GRID.voxels(ellipsoid((X, Y, Z), (7, 7, 10))), "ves.ivc": GRID.voxels(cylinder((X, Y, Z), 11))}
    )
    found = relations(tmp_path, replace(seg(GRID, masks), kind="LABELMAP"))["ves.ivc"]
    assert found.intravascular is not None
    assert found.intravascular.volume == pytest.approx(4 / 3 * np.pi * 7 * 7 * 10, rel=0.05)
    assert found.number("ves.contact_angle") is None


def test_a_tumour_beside_a_vein_is_not_within_it(tmp_path: Path) -> None:
    # flattened around the tumour, as a vein is
    masks = exclusive(
        {
            "tumour": GRID.voxels(ellipsoid((X - 10, Y, Z), (16, 16, 14))),
            "ves.ivc": GRID.voxels(ellipsoid((X + 2, Y, Z), (10, 14, 60))),
        }
    )
    found = relations(tmp_path, seg(GRID, masks))["ves.ivc"]
    assert found.intravascular is None
    assert 90 < value(found, "ves.contact_angle") < 200


def test_a_vein_that_ends_in_the_tumour_is_told(tmp_path: Path) -> None:
    tumour = GRID.voxels(ellipsoid((X, Y, Z), (16, 16, 9)))
    masks = exclusive({"tumour": tumour, "ves.ivc": GRID.voxels(cylinder((X, Y, Z), 8))})
    found = relations(tmp_path, seg(GRID, masks))["ves.ivc"]
    assert any(
        "whether it is compressed, invaded or occluded there is for the radiologist to say" in r for r in found.remarks
    )
    assert value(found, "ivc.length") == pytest.approx(18, abs=5)


# refused


def touching(**changes: Any) -> Any:
    masks = {
        "tumour": GRID.voxels(cylinder((X, Y, Z), 20, inner=9, wrap=(0, 120), half=12)),
        "ves.ivc": GRID.voxels(cylinder((X, Y, Z), 9)),
    }
    return seg(GRID, masks, **changes)


def test_another_frame_of_reference_is_refused(tmp_path: Path) -> None:
    masks = {"ves.aorta_abd": GRID.voxels(cylinder((X, Y, Z), 9))}
    elsewhere = renamed_frame(seg(GRID, masks, uid=OTHER_UID), f"{ROOT}.33")
    found = relations(tmp_path, touching(), elsewhere)
    assert found["ves.aorta_abd"].refusals == (
        "No relation to the tumour: the two segmentations are in different frames of reference",
    )
    assert found["ves.aorta_abd"].distance is None
    assert not found["ves.aorta_abd"].measurements
    # the one in its own frame of reference is measured all the same
    assert value(found["ves.ivc"], "ves.contact_angle") == pytest.approx(120, abs=6)


def test_no_frame_of_reference_is_refused(tmp_path: Path) -> None:
    one = touching()
    one.change = lambda ds: delattr(ds, "FrameOfReferenceUID")
    found = relations(tmp_path, one)["ves.ivc"]
    assert "does not say which frame of reference it is in" in found.refusals[0]
    assert not found.measurements


def test_missing_slices_are_refused(tmp_path: Path) -> None:
    one = touching()
    one.ct = Ct(grid=GRID, hounsfield=np.zeros((16, 60, 60)))
    one.ct.write(tmp_path, without=[8])
    one.parts[1].mask[8] = False
    one.parts[0].mask[8] = False
    found = relations(tmp_path, one)["ves.ivc"]
    assert found.refusals == (
        "No relation to the tumour: of the tumour's segment, slices are missing inside the segment",
    )


def test_slices_that_may_be_missing_are_refused(tmp_path: Path) -> None:
    # without images a wide gap between unequal slices may be one between two bodies
    grid = Grid(rows=60, columns=60, depths=(0.0, 2.0, 4.1, 6.0, 8.3, 30.0, 32.2, 34.0))
    masks = {
        "tumour": grid.voxels(ellipsoid((*grid.centre[:2], 4), (12, 12, 60))),
        "ves.ivc": grid.voxels(cylinder(grid.centre, 8)),
    }
    found = relations(tmp_path, seg(grid, masks, keep_empty_frames=False))["ves.ivc"]
    assert "so unequally thick that some may be missing" in found.refusals[0]


def test_an_empty_structure_has_no_relation(tmp_path: Path) -> None:
    one = touching()
    one.parts[1].mask[:] = False
    one.keep_empty_frames = True
    assert relations(tmp_path, one) == {}


def test_a_vessel_along_the_slices_gets_a_distance_and_no_degrees(tmp_path: Path) -> None:
    masks = {
        "tumour": GRID.voxels(box((X, Y - 12, Z), (30, 14, 20))),
        "ves.renal_v/left": GRID.voxels(cylinder((X, Y, Z), 5, axis=(1, 0, 0), half=26)),
    }
    found = relations(tmp_path, seg(GRID, masks))["ves.renal_v/left"]
    assert value(found, "ves.distance") == pytest.approx(0, abs=found.within)
    assert found.number("ves.contact_angle") is None
    assert found.number("ves.contact_length") is None
    assert found.refusals == () or "runs along the slices" in found.refusals[0]
    beside = {**masks, "tumour": GRID.voxels(box((X, Y - 12, Z), (30, 15, 20))) & ~masks["ves.renal_v/left"]}
    found = relations(tmp_path / "touching", seg(GRID, beside))["ves.renal_v/left"]
    assert value(found, "ves.contact_area") > 0
    assert found.refusals == ("No degrees and no length of contact: the vessel runs along the slices, not across them",)


def test_a_vessel_of_few_pixels_gets_no_degrees(tmp_path: Path) -> None:
    masks = {
        "tumour": GRID.voxels(cylinder((X, Y, Z), 12, inner=2, wrap=(0, 200), half=12)),
        "ves.sma": GRID.voxels(cylinder((X, Y, Z), 2)),
    }
    found = relations(tmp_path, seg(GRID, masks))["ves.sma"]
    assert found.number("ves.contact_angle") is None
    assert found.refusals == ("No degrees of contact: the vessel's segment is too thin where the tumour touches it",)
    assert value(found, "ves.contact_length") > 0


def test_another_series_is_told(tmp_path: Path) -> None:
    # as an arterial and a portal venous phase
    phases = [
        Ct(grid=GRID, hounsfield=np.zeros((16, 60, 60)), series_uid=f"{ROOT}.2{n}", series_number=n) for n in (2, 3)
    ]
    for phase in phases:
        phase.write(tmp_path)
    both = touching()
    tumour = replace(both, parts=both.parts[:1], ct=phases[0])
    vessel = replace(both, parts=both.parts[1:], ct=phases[1], uid=OTHER_UID)
    found = relations(tmp_path, tumour, vessel)["ves.ivc"]
    assert value(found, "ves.contact_angle") == pytest.approx(120, abs=6)
    assert found.remarks[0].startswith("Segmented on another series than the tumour")


def test_the_image_of_greatest_contact_is_named(tmp_path: Path) -> None:
    one = touching()
    one.parts[0].mask[10] |= GRID.voxels(cylinder((X, Y, Z), 20, inner=9, wrap=(0, 260)))[10]
    one.ct = Ct(grid=GRID, hounsfield=np.zeros((16, 60, 60)))
    one.ct.write(tmp_path)
    found = relations(tmp_path, one)["ves.ivc"].number("ves.contact_angle")
    assert found is not None
    assert "greatest in image 11" in found.method
    assert [e.sop_instance_uid for e in found.evidence if e.segment is None] == [one.ct.uid(10)]


# all of it


def test_only_a_primary_tumour_has_relations(tmp_path: Path) -> None:
    one = touching()
    one.parts[0].label = "Metastasis"
    one.parts[0].property_type = ("14799000", "SCT", "Neoplasm, Secondary")
    one.write(tmp_path)
    assert tumours(tmp_path) == []
    assert not any(m.relations for m in measured(tmp_path))


def test_every_tumour_has_its_own(tmp_path: Path) -> None:
    one = touching()
    far = GRID.voxels(ellipsoid((X + 24, Y + 22, Z), (4, 4, 8)))
    one.parts = [*one.parts, replace(one.parts[0], mask=far, label="Tumour 2")]
    one.write(tmp_path)
    first, second = tumours(tmp_path)
    assert first.relations[0].distance == 0
    assert second.relations[0].distance == pytest.approx(np.hypot(24, 22) - 9 - 4, abs=1.6)


def test_the_listing_has_the_relations(tmp_path: Path) -> None:
    touching().write(tmp_path)
    listed = segments(("1.2", m) for m in measured(tmp_path))
    tumour = json.loads(json.dumps(listed))[0]
    (relation,) = tumour["relations"]
    assert relation["role"] == "ves.ivc"
    assert {m["name"] for m in relation["measurements"]} == {
        "ves.distance", "ves.contact_area", "ves.contact_angle", "ves.contact_length", "ivc.length",
    }  # fmt: skip
    assert {m["unit"] for m in relation["measurements"]} == {"mm", "mm2", "deg"}


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    one = touching()
    one.write(tmp_path, "b.dcm")
    other = seg(GRID, {"ves.aorta_abd": GRID.voxels(cylinder((X + 22, Y, Z), 6))}, uid=OTHER_UID)
    other.write(tmp_path, "a.dcm")
    first = tumours(tmp_path)
    (tmp_path / "b.dcm").rename(tmp_path / "0.dcm")
    assert tumours(tmp_path) == first
