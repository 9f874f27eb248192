"""RECIST 1.1 and Choi as published: the tables, the limits, the examples of the EORTC."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.flow.choi import Change, Signs, choi_response
from service.flow.recist import Response, Target, overall_response, progressed, target_response, total, unfit_targets

CR, PR, SD, PD, NE, NON = (
    Response.CR,
    Response.PR,
    Response.SD,
    Response.PD,
    Response.NE,
    Response.NOT_CR_NOT_PD,
)


def respond(now, baseline, nadir):
    return target_response(Decimal(str(now)), Decimal(str(baseline)), Decimal(str(nadir)), all_gone=False)


def test_the_target_sums_of_the_eortc_example_respond_as_it_says_at_each_limit():
    # recist.eortc.org, FAQ "Managing PR when TP measurements change slightly over time": 100, then 70, 70, 80, 80, 80.
    # Its time points 3 to 5 stay PR as best response; taken alone, 80 of 100 with a nadir of 70 is neither PR nor PD.
    assert respond(70, 100, 100) is PR
    assert respond(70, 100, 70) is PR
    assert respond(80, 100, 70) is SD


@pytest.mark.parametrize(
    ("now", "baseline", "nadir", "expected"),
    [
        (70, 100, 100, PR),  # equality is a partial response
        (70.1, 100, 100, SD),
        (82.6, 118, 118, PR),  # 118 x 0.70, exactly
        (82.7, 118, 118, SD),
        (120, 100, 100, PD),  # equality is progression
        (119.9, 100, 100, SD),
        (24, 20, 20, SD),  # 20 % but 4 mm
        (25, 20, 20, PD),  # 25 % and 5 mm
        (24.9, 20, 20, SD),
        (30, 25, 25, PD),  # 20 % and 5 mm, both by equality
        (105, 100, 100, SD),  # 5 mm but 5 %
        (65, 100, 50, PD),  # partial response against baseline, progression against nadir: progression
        (120, 100, 200, PD),  # a nadir above the baseline is the baseline
    ],
)
def test_limits_of_target_response(now, baseline, nadir, expected):
    assert respond(now, baseline, nadir) is expected


def test_a_response_without_a_baseline_is_refused():
    with pytest.raises(ValueError, match="baseline"):
        respond(10, 0, 0)


def test_nodes_of_normal_size_are_a_complete_response_whose_sum_is_not_zero():
    # EORTC: the measured short axis still enters the sum
    targets = [Target(diameter_mm=Decimal(0)), Target(diameter_mm=Decimal("9.9"), node=True)]
    assert all(t.gone for t in targets)
    assert total(targets) == Decimal("9.9")
    assert target_response(total(targets), Decimal(60), Decimal("7.0"), all_gone=True) is CR
    assert not Target(diameter_mm=Decimal(10), node=True).gone
    assert not Target(diameter_mm=Decimal(5)).gone  # too small to measure counts 5 mm and is there


def test_progression_needs_both_percent_and_millimetres():
    assert progressed(Decimal(12), Decimal(7)) is True
    assert progressed(Decimal("11.9"), Decimal(7)) is False
    assert progressed(Decimal(104), Decimal(99)) is False


@pytest.mark.parametrize(
    ("target", "non_target", "new", "expected"),
    [
        # Eisenhauer 2009, table 1
        (CR, CR, False, CR),
        (CR, None, False, CR),
        (CR, NON, False, PR),
        (CR, NE, False, PR),
        (PR, NON, False, PR),
        (PR, NE, False, PR),
        (PR, CR, False, PR),
        (SD, NON, False, SD),
        (SD, NE, False, SD),
        (NE, NON, False, NE),
        (PD, CR, False, PD),
        (PD, None, True, PD),
        (CR, PD, False, PD),
        (CR, CR, True, PD),
        (NE, NE, True, PD),
        # table 2: non-target disease only
        (None, CR, False, CR),
        (None, NON, False, NON),
        (None, NE, False, NE),
        (None, PD, False, PD),
        (None, NON, True, PD),
        # a new lesion that is uncertain leaves only progression certain
        (PR, NON, None, NE),
        (CR, CR, None, NE),
        (PD, NON, None, PD),
    ],
)
def test_overall_response_is_the_table(target, non_target, new, expected):
    assert overall_response(target, non_target, new_lesion=new) is expected


def test_without_any_lesion_there_is_no_overall_response_but_a_new_lesion_is_progression():
    assert overall_response(None, None, new_lesion=True) is PD
    with pytest.raises(ValueError, match="no lesion"):
        overall_response(None, None, new_lesion=False)


def lesion(size, organ="", *, node=False):
    return Target(diameter_mm=Decimal(str(size)), organ=organ, node=node)


def test_five_targets_two_in_each_organ_are_fit_and_one_more_is_not():
    five = [lesion(20, "liver"), lesion(20, "liver"), lesion(20, "lung"), lesion(20, "lung"), lesion(20, "bone")]
    assert unfit_targets(five, baseline=True) == ()
    assert "6 target lesions" in unfit_targets([*five, lesion(20, "skin")], baseline=True)[0]
    assert "3 of them in one organ" in unfit_targets([*five[:2], lesion(20, "liver")], baseline=True)[0]


def test_nodes_are_one_organ_wherever_they_are():
    nodes = [lesion(16, "aortic", node=True), lesion(16, "iliac", node=True), lesion(16, "inguinal", node=True)]
    assert len(unfit_targets(nodes, baseline=True)) == 1
    assert unfit_targets(nodes[:2], baseline=True) == ()


@pytest.mark.parametrize(
    ("target", "thickness", "fit"),
    [
        (lesion(10), None, True),
        (lesion(9.9), None, False),
        (lesion(15, node=True), None, True),
        (lesion(14.9, node=True), None, False),
        (lesion(10), Decimal(5), True),
        (lesion(13.9), Decimal(7), False),  # slices thicker than 5 mm: twice the thickness
        (lesion(14), Decimal(7), True),
        (lesion(15, node=True), Decimal(8), True),
    ],
)
def test_a_target_is_measurable_at_baseline(target, thickness, fit):
    assert (unfit_targets([target], baseline=True, slice_mm=thickness) == ()) is fit
    # later it may have shrunk
    assert unfit_targets([target], baseline=False, slice_mm=thickness) == ()


CERTAIN = Signs(new_lesion=False, new_nodule=False, non_target_progression=False)


def choi(size, density, signs=CERTAIN, *, modified=False):
    """Sizes and attenuations now; 100 mm and 100 HU before."""
    change = None if density is None else Change(before=Decimal(100), now=Decimal(str(density)))
    return choi_response(Change(before=Decimal(100), now=Decimal(str(size))), change, signs, modified=modified)


@pytest.mark.parametrize(
    ("size", "density", "by_choi", "by_modified"),
    [
        # table 2 of PMC5658474: PR from 10 % smaller or 15 % darker; PD from 10 % larger unless darker
        (90, 100, PR, SD),
        (90.1, 100, SD, SD),
        (100, 85, PR, SD),
        (100, 85.1, SD, SD),
        (90, 85, PR, PR),
        (90, 85.1, PR, SD),
        (110, 100, PD, PD),
        (109.9, 100, SD, SD),
        (110, 85, PR, SD),
        (110, 85.1, PD, PD),
        (67, 69, PR, PR),  # as in a sarcoma that RECIST calls partial response, too
    ],
)
def test_limits_of_choi_and_modified_choi(size, density, by_choi, by_modified):
    assert choi(size, density) is by_choi
    assert choi(size, density, modified=True) is by_modified


def test_signs_beside_size_and_attenuation():
    def signs(**changes):
        base = {"new_lesion": False, "new_nodule": False, "non_target_progression": False}
        return Signs(**{**base, **changes})

    assert choi(80, 70, signs(new_lesion=True)) is PD
    assert choi(80, 70, signs(new_nodule=True)) is PD
    # no partial response with obvious progression of what is not measured, and no word of the criteria for it
    assert choi(80, 70, signs(non_target_progression=True)) is NE
    assert choi(80, 70, signs(non_target_progression=None)) is NE
    assert choi(115, 100, signs(non_target_progression=None)) is PD
    assert choi(80, 70, signs(new_lesion=None)) is NE
    assert choi(115, 100, signs(new_nodule=None)) is PD
    assert choi(0, None, signs(all_gone=True)) is CR
    assert choi(80, None) is NE


def test_a_baseline_of_zero_or_less_has_no_percentage():
    assert Change(before=Decimal(-5), now=Decimal(-10)).percent is None
    assert (
        choi_response(Change(before=Decimal(100), now=Decimal(50)), Change(before=Decimal(0), now=Decimal(0)), CERTAIN)
        is NE
    )
    assert Change(before=Decimal(61), now=Decimal(42)).percent == pytest.approx(
        Decimal("-31.1475"), abs=Decimal("0.0001")
    )
