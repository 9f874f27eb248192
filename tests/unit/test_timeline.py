"""Several earlier time points: the baseline, the smallest sum since, and what nobody confirmed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.flow.choice import choose
from service.flow.context import Context, Device
from service.flow.derive import derive
from service.flow.history import courses_of, history
from service.flow.prefill_prior import prior_answer, prior_nadir
from service.model.course import Course
from service.model.prior import PriorReport
from service.model.report import Date, Provenance, Report, Scope, Status, Uid
from sr_templates.evaluate import DEFAULTS
from tests import builders
from tests.stated import TEMPLATES, earlier, stated, values

TARGETS = {"fu.baseline_cat@LMS-T1": "fu.target", "fu.baseline_cat@LMS-T2": "fu.target"}
NOT_CONFIRMED = "the earlier number was measured, and nobody confirmed it"


def point(report: Report, study: str, date: str, **changes) -> PriorReport:
    return replace(earlier(report, date=date), study_instance_uid=study, **changes)


def baseline(first: float = 60, second: float = 40, **changes) -> PriorReport:
    sizes = {"sz.long_axis@LMS-T1": first, "sz.long_axis@LMS-T2": second}
    return point(stated(sizes, lesions=2), "1.9.1", "20251001", **changes)


def followed(first: float, second: float, date: str, *, sum_too: bool = True, **answers) -> PriorReport:
    sizes = {"sz.long_axis@LMS-T1": first, "sz.long_axis@LMS-T2": second, **answers}
    if sum_too:
        sizes["fu.sum"] = first + second
    return point(stated({**TARGETS, **sizes}, template="response", lesions=2), f"1.9.{date}", date)


def chain(*points: PriorReport) -> PriorReport:
    """Return time points, the newest first, as one."""
    return replace(points[0], earlier=points[1:])


def today(first: float = 50, second: float = 30, **answers) -> Report:
    sizes = {"sz.long_axis@LMS-T1": first, "sz.long_axis@LMS-T2": second, "ctx.comparison_uid": "1.9.1"}
    return stated({**TARGETS, **sizes, **answers}, template="response", lesions=2)


def derived(report: Report, prior: PriorReport | None) -> Report:
    return derive(report, TEMPLATES["response"], prior=prior)


# --- baseline and nadir ------------------------------------------------------------------------------------------------


def test_the_baseline_sum_is_that_of_the_targets_at_baseline():
    report = derived(today(), baseline())
    assert values(report, "fu.sum_baseline") == [100]
    (answer,) = report.answers_of("fu.sum_baseline")
    assert answer.status is Status.PROPOSED
    assert answer.basis == "sum of 2 targets in the baseline of 2025-10-01"
    assert values(report, "fu.sum_nadir") == [100]
    assert values(report, "fu.pct_baseline") == [-20]
    assert values(report, "fu.current") == ["fu.t_sd"]


def test_the_baseline_is_found_behind_later_time_points():
    prior = chain(followed(30, 20, "20260101"), baseline())
    report = derived(today(), prior)
    assert values(report, "fu.sum_baseline") == [100]
    # 80 mm is 20 % less than at baseline, and 60 % more than the smallest sum
    assert values(report, "fu.sum_nadir") == [50]
    assert report.answers_of("fu.sum_nadir")[0].basis == "smallest sum so far: 2026-01-01"
    assert values(report, "fu.current") == ["fu.t_pd"]


def test_the_smallest_sum_is_looked_for_at_every_time_point():
    prior = chain(
        followed(35, 25, "20260201"),
        followed(20, 10, "20260101", sum_too=False),  # its sizes alone
        followed(40, 30, "20251201"),
        baseline(),
        followed(1, 1, "20250101"),  # before the baseline: another course
    )
    assert values(derived(today(), prior), "fu.sum_nadir") == [30]


def test_no_smallest_sum_where_one_time_point_is_not_known():
    unknown = point(stated({**TARGETS, "sz.long_axis@LMS-T1": 20}, template="response", lesions=2), "1.9.5", "20260101")
    report = derived(today(), chain(unknown, baseline()))
    assert values(report, "fu.sum_nadir") == []
    assert values(report, "fu.current") == []


@pytest.mark.parametrize("missing", ["confirmed", "target"])
def test_no_baseline_sum_where_a_target_is_not_known_there(missing):
    if missing == "confirmed":
        sizes = {"sz.long_axis@LMS-T1": 60}
        there = point(stated(sizes, proposed={"sz.long_axis@LMS-T2": 40}, lesions=2), "1.9.1", "20251001")
    else:
        there = point(stated({"sz.long_axis@LMS-T1": 60}), "1.9.1", "20251001")
    assert values(derived(today(), there), "fu.sum_baseline") == []


def test_a_time_point_without_a_report_is_no_baseline_and_no_nadir():
    measured = replace(baseline(first=5, second=5), reported=False)
    report = derived(today(), measured)
    assert values(report, "fu.sum_baseline") == []
    report = derived(today(), chain(replace(measured, study_instance_uid="1.9.7", study_date="20260101"), baseline()))
    assert values(report, "fu.sum_nadir") == [100]
    assert (
        report.answers_of("fu.sum_nadir")[0].basis
        == "smallest sum so far: the baseline; 1 examination without a report not counted"
    )


def test_a_target_too_small_to_measure_counts_5_mm_at_an_earlier_time_point_too():
    sizes = {"sz.long_axis@LMS-T1": 10, "sz.long_axis@LMS-T2": "v.not_evaluated", "fu.too_small@LMS-T2": "v.yes"}
    small = point(stated({**TARGETS, **sizes}, template="response", lesions=2), "1.9.6", "20260101")
    assert values(derived(today(), chain(small, baseline())), "fu.sum_nadir") == [15]
    proposed = stated(
        {**TARGETS, "sz.long_axis@LMS-T1": 10},
        template="response",
        lesions=2,
        proposed={"fu.too_small@LMS-T2": "v.yes"},
    )
    assert values(derived(today(), chain(point(proposed, "1.9.6", "20260101"), baseline())), "fu.sum_nadir") == []


# --- the best response -------------------------------------------------------------------------------------------------


def responded(date: str, overall: str, *, confirmed: bool = True) -> PriorReport:
    answers = {"fu.overall": overall} if overall else {}
    report = (
        stated({**TARGETS, **answers}, template="response", lesions=2)
        if confirmed
        else stated(TARGETS, template="response", lesions=2, proposed=answers)
    )
    return point(report, f"1.9.{date}", date)


@pytest.mark.parametrize(
    ("before", "now", "best"),
    [
        ((), "fu.pr", "fu.pr"),
        (("fu.sd",), "fu.pr", "fu.pr"),
        (("fu.pr", "fu.sd"), "fu.pd", "fu.pr"),
        (("fu.cr",), "fu.pd", "fu.cr"),
        (("fu.pd",), "fu.pr", "fu.pd"),  # what follows progression does not count
        (("fu.ne",), "fu.sd", "fu.sd"),
        (("fu.ne",), "fu.ne", None),
        (("fu.noncr_nonpd",), "fu.pd", None),  # no value of the item says so
        (("",), "fu.pr", None),  # a report without a response
        (("v.not_evaluated",), "fu.pr", None),  # nobody knows whether it was a better one
    ],
)
def test_the_best_response_is_that_of_all_time_points_up_to_progression(before, now, best):
    points = [responded(f"202601{n:02}", overall) for n, overall in enumerate(before, 1)]
    report = derived(today(**{"fu.overall": now}), chain(*reversed(points), baseline()))
    assert values(report, "fu.best") == ([best] if best else [])
    if best:
        (answer,) = report.answers_of("fu.best")
        assert answer.status is Status.PROPOSED
        assert answer.basis.endswith("up to progression; neither confirmation nor duration was looked at")


def test_the_best_response_says_what_it_was_taken_from():
    unseen = replace(responded("20260102", "fu.cr"), reported=False)
    before_baseline = responded("20250101", "fu.cr")
    prior = chain(unseen, responded("20260101", "fu.sd"), baseline(), before_baseline)
    report = derived(today(**{"fu.overall": "fu.pr"}), prior)
    assert values(report, "fu.best") == ["fu.pr"]
    (answer,) = report.answers_of("fu.best")
    assert answer.basis == (
        "best of 2 examinations since the baseline of 2025-10-01, up to progression; neither confirmation nor duration was looked at; "
        "1 examination without a report not counted"
    )
    # nobody confirmed it there
    prior = chain(responded("20260101", "fu.sd", confirmed=False), baseline())
    assert values(derived(today(**{"fu.overall": "fu.pr"}), prior), "fu.best") == []
    assert values(derived(today(**{"fu.overall": "fu.pr"}), None), "fu.best") == []


def nadir_of(prior: PriorReport | None):
    item = TEMPLATES["response"].item("fu.sum_nadir")
    assert item is not None
    context = Context(study=builders.study(), device=Device(name="x", uid="1.2"), prior=prior)
    found = prior_nadir(context, item)
    return (found[0].values[0].number, found[0].basis) if found else None


def test_the_smallest_sum_that_reports_state():
    prior = chain(
        followed(40, 30, "20260201", **{"fu.sum_baseline": 100}),
        followed(20, 15, "20260101", **{"fu.sum_baseline": 100}),
        baseline(),
    )
    assert nadir_of(prior) == (35, "smallest sum up to the report of 2026-02-01, first in that of 2026-01-01")
    assert nadir_of(prior.earlier[0]) == (35, "smallest sum up to the report of 2026-01-01")
    assert nadir_of(None) is None
    assert nadir_of(replace(prior, reported=False, earlier=())) is None


def test_a_smallest_sum_of_another_course_does_not_count():
    prior = chain(
        followed(40, 30, "20260201", **{"fu.sum_baseline": 90}),
        followed(5, 5, "20250101", **{"fu.sum_baseline": 200}),
    )
    assert nadir_of(prior) == (70, "smallest sum up to the report of 2026-02-01")


# --- which lesion, and how sure ----------------------------------------------------------------------------------------


def with_uid(report: Report, uid: str, lesion: str = "LMS-T1") -> Report:
    subjects = tuple(replace(s, tracking_uid=uid) if s.key == lesion else s for s in report.subjects)
    return replace(report, subjects=subjects)


def same_as(report: Report, uid: str, status: Status = Status.CONFIRMED) -> Report:
    (made,) = stated({"fu.same_as@LMS-T1": "x"}, template=report.template).answers
    return replace(report, answers=(*report.answers, replace(made, values=(Uid(uid),), status=status)))


def test_a_lesion_is_followed_under_the_name_that_a_person_confirmed():
    report = with_uid(today(90, 30), "2.25.90")
    old = baseline()
    assert values(derived(report, old), "fu.change", "LMS-T1") == []
    assert values(derived(same_as(report, "2.25.1", Status.PROPOSED), old), "fu.change", "LMS-T1") == []
    assert values(derived(same_as(report, "2.25.1"), old), "fu.change", "LMS-T1") == ["v.increase"]
    # and further back, by the name that it was given then
    assert old.report is not None
    middle = followed(70, 30, "20260101")
    assert middle.report is not None
    renamed = replace(middle, report=same_as(with_uid(middle.report, "2.25.80"), "2.25.1"))
    found = derived(same_as(report, "2.25.80"), chain(renamed, old))
    assert values(found, "fu.sum_baseline") == [100]


def test_what_nobody_confirmed_gives_proposals_that_say_so():
    measured = stated({}, proposed={"sz.long_axis@LMS-T1": 40, "sz.long_axis@LMS-T2": 30}, lesions=2)
    there = point(measured, "1.9.1", "20251001", reported=False)
    report = derived(today(**{"fu.interval": 100}), there)
    assert values(report, "fu.change", "LMS-T1") == ["v.increase"]
    for item in ("fu.change", "fu.growth_rate"):
        (answer,) = report.answers_of(item, "LMS-T1")
        assert answer.status is Status.PROPOSED
        assert answer.basis.endswith(NOT_CONFIRMED)
    # a draft of ours that nobody confirmed is none to compare with
    assert values(derived(today(), replace(there, reported=True)), "fu.change", "LMS-T1") == []
    # a number that a person stated there is as sure as one of a report
    verified = point(stated({"sz.long_axis@LMS-T1": 40}), "1.9.1", "20251001", reported=False)
    (answer,) = derived(today(**{"fu.interval": 100}), verified).answers_of("fu.growth_rate", "LMS-T1")
    assert answer.status is Status.AUTOMATIC
    assert NOT_CONFIRMED not in answer.basis


def test_growth_is_since_the_time_point_that_shows_the_lesion():
    newest = point(stated({"sz.long_axis@LMS-T2": 30}, lesions=2), "1.9.9", "20260201")
    assert newest.report is not None
    only_second = replace(newest.report, subjects=tuple(s for s in newest.report.subjects if s.key != "LMS-T1"))
    prior = chain(replace(newest, report=only_second), baseline())
    report = today(**{"fu.interval": 28})
    (dated,) = stated({"ctx.comparison": "x"}, template="response").answers
    report = replace(
        report,
        answers=(
            *report.answers,
            replace(
                dated,
                item="tid.study_date",
                values=(Date("20260301"),),
                status=Status.AUTOMATIC,
                provenance=Provenance.DICOM,
            ),
        ),
    )
    found = derived(report, prior)
    # 60 to 50 mm from 1 October to 1 March: 151 days
    assert found.answers_of("fu.growth_rate", "LMS-T1")[0].basis == "long axis 60 mm, 151 days later 50 mm"
    assert found.answers_of("fu.growth_rate", "LMS-T2")[0].basis == "long axis 30 mm, 28 days later 30 mm"


def test_answers_are_carried_from_the_newest_report_and_not_from_measurements():
    measured = point(stated({}), "1.9.9", "20260201", reported=False)
    prior = chain(measured, point(stated({"ctx.dx_status": "ctx.dx_status.resected"}), "1.9.1", "20251001"))
    item = TEMPLATES["baseline"].item("ctx.dx_status")
    assert item is not None
    (answer,) = prior_answer(Context(study=builders.study(), device=Device(name="x", uid="1.2"), prior=prior), item)
    assert answer.basis == "report of 2025-10-01"
    assert choose(prior).template == "surveillance"
    assert choose(measured).reason == "no earlier report in the registry"
    assert [s.scope for s in measured.report.subjects] == [Scope.LESION] if measured.report else False


def test_attenuation_is_compared_with_the_baseline_behind_later_reports():
    scan = {"tech.phase@Series 1": "phase.portal", "tech.kvp@Series 1": 120}

    def scanned(hounsfield: float, template: str) -> Report:
        answers = {"ct.hu@LMS-T1": hounsfield, "sz.long_axis@LMS-T1": 50, **scan}
        if template == "response":
            answers |= {"fu.baseline_cat@LMS-T1": "fu.target", "fu.method": "fu.choi"}
        made = stated(answers, template=template, provenance=Provenance.SEGMENTATION)
        uid = next(s.tracking_uid for s in made.subjects if s.scope is Scope.SERIES)
        evidence = replace(builders.instance(1, 1).reference, series_instance_uid=uid)
        return replace(
            made, answers=tuple(replace(a, evidence=(evidence,)) if a.item == "ct.hu" else a for a in made.answers)
        )

    prior = chain(
        point(scanned(20, "response"), "1.9.9", "20260201"), point(scanned(100, "baseline"), "1.9.1", "20251001")
    )
    assert values(derived(scanned(80, "response"), prior), "fu.choi_hu_pct") == [Decimal("-20.0")]


# --- the course in words, and in the plot ------------------------------------------------------------------------------


def dated(report: Report, date: str = "20260301") -> Report:
    (made,) = stated({"ctx.comparison": "x"}, template="response").answers
    day = replace(
        made, item="tid.study_date", values=(Date(date),), status=Status.AUTOMATIC, provenance=Provenance.DICOM
    )
    return replace(report, answers=(*report.answers, day))


def measured_between(date: str = "20260101", **sizes: float) -> PriorReport:
    """Return a time point without a report of ours."""
    found = {"sz.long_axis@LMS-T1": 45, "sz.volume@LMS-T1": 40, **sizes}
    return point(stated({}, proposed=found, lesions=2), "1.9.7", date, reported=False)


def test_the_course_is_told_in_rows_oldest_first_with_what_nobody_confirmed():
    prior = chain(followed(30, 20, "20260201"), measured_between(), baseline())
    report = derived(dated(today()), prior)
    (answer,) = report.answers_of("fu.course", "LMS-T1")
    assert answer.values == (
        "2025-10-01: long axis 60 mm (baseline)",
        "2026-01-01: long axis 45 mm (-25.0 % from baseline, -25.0 % from nadir), volume 40 mL (not confirmed)",
        # what nobody confirmed is no nadir
        "2026-02-01: long axis 30 mm (-50.0 % from baseline, -50.0 % from nadir)",
        "2026-03-01: long axis 50 mm (-16.7 % from baseline, +66.7 % from nadir)",
    )
    assert answer.status is Status.PROPOSED
    assert answer.basis == "3 earlier examinations"
    (sure,) = derived(dated(today()), baseline()).answers_of("fu.course", "LMS-T1")
    assert sure.status is Status.AUTOMATIC
    assert derived(dated(today()), None).answers_of("fu.course", "LMS-T1") == ()


def test_the_sums_are_told_with_the_changes_that_the_report_derives():
    prior = chain(followed(30, 20, "20260201"), baseline())
    report = derived(dated(today()), prior)
    (answer,) = report.answers_of("fu.sum_course")
    assert answer.values == (
        "2025-10-01: sum of targets 100.0 mm (baseline) (not confirmed)",
        "2026-02-01: sum of targets 50 mm (-50.0 % from baseline, -50.0 % from nadir; not confirmed)",
        "2026-03-01: sum of targets 80.0 mm (-20.0 % from baseline, +60.0 % from nadir; not confirmed)",
    )
    assert values(report, "fu.pct_baseline") == [Decimal("-20.0")]
    assert values(report, "fu.pct_nadir") == [Decimal("60.0")]
    confirmed = derived(dated(today(**{"fu.sum_baseline": 100, "fu.sum_nadir": 50})), prior)
    (answer,) = confirmed.answers_of("fu.sum_course")
    assert answer.values[-1] == "2026-03-01: sum of targets 80.0 mm (-20.0 % from baseline, +60.0 % from nadir)"
    assert answer.status is Status.AUTOMATIC


def test_what_is_not_told_makes_no_row_doubtful():
    hounsfield = stated({}, proposed={"ct.hu@LMS-T1": 60}, template="response", lesions=2)
    here = today()
    here = replace(here, answers=(*here.answers, *hounsfield.answers))
    (answer,) = derived(dated(here), baseline()).answers_of("fu.course", "LMS-T1")
    assert answer.values[-1] == "2026-03-01: long axis 50 mm (-16.7 % from baseline, -16.7 % from nadir)"


def test_a_sum_that_no_report_states_is_that_of_the_confirmed_sizes():
    prior = chain(followed(30, 20, "20260201", sum_too=False), baseline())
    (answer,) = derived(dated(today()), prior).answers_of("fu.sum_course")
    assert answer.values[1] == (
        "2026-02-01: sum of targets 50 mm (-50.0 % from baseline, -50.0 % from nadir, added up from the sizes of the targets; not confirmed)"
    )


def test_a_draft_of_ours_is_told_as_not_confirmed_and_compared_with_nothing():
    drafted = stated({}, proposed={"sz.long_axis@LMS-T1": 20}, template="response", lesions=2)
    prior = chain(point(drafted, "1.9.7", "20260101"), baseline())
    report = derived(dated(today()), prior)
    (answer,) = report.answers_of("fu.course", "LMS-T1")
    assert answer.values[1:] == (
        "2026-01-01: long axis 20 mm (-66.7 % from baseline, -66.7 % from nadir) (not confirmed)",
        "2026-03-01: long axis 50 mm (-16.7 % from baseline, -16.7 % from nadir)",
    )
    assert values(report, "fu.growth_rate", "LMS-T1") == []


def grown(volume: float, date: str, study: str, *, template: str = "surveillance", **answers) -> PriorReport:
    found = {"sz.long_axis@LMS-T1": 50, "sz.volume@LMS-T1": volume, **answers}
    made = stated(found, template=template, provenance=Provenance.SEGMENTATION)
    return point(dated(made, date), study, date)


def test_growth_is_told_of_each_examination_as_the_report_derives_it():
    prior = chain(grown(200, "20260201", "1.9.2"), grown(100, "20251024", "1.9.1"))
    here = stated(
        {"sz.long_axis@LMS-T1": 50, "sz.volume@LMS-T1": 150, "ctx.comparison_uid": "1.9.2"},
        template="response",
        provenance=Provenance.SEGMENTATION,
    )
    report = derived(dated(here), prior)
    (answer,) = report.answers_of("fu.course", "LMS-T1")
    assert answer.values == (
        "2025-10-24: long axis 50 mm, volume 100 mL",
        # 100 days, twice the volume
        "2026-02-01: long axis 50 mm, volume 200 mL (+100.0 % since 2025-10-24, doubling time 100 days)",
        # a volume that halves does not double
        "2026-03-01: long axis 50 mm, volume 150 mL (-25.0 % since 2026-02-01)",
    )
    assert values(report, "fu.doubling", "LMS-T1") == []


def test_the_doubling_time_of_this_examination_is_that_of_the_report():
    here = stated(
        {"sz.long_axis@LMS-T1": 50, "sz.volume@LMS-T1": 400, "ctx.comparison_uid": "1.9.2"},
        template="response",
        provenance=Provenance.SEGMENTATION,
    )
    report = derived(dated(here, "20260512"), grown(200, "20260201", "1.9.2"))
    (days,) = values(report, "fu.doubling", "LMS-T1")
    (answer,) = report.answers_of("fu.course", "LMS-T1")
    assert days == 100
    assert str(answer.values[-1]).endswith("volume 400 mL (+100.0 % since 2026-02-01, doubling time 100 days)")


def test_a_long_course_keeps_its_beginning_and_its_end():
    months = [followed(30 + n, 20, f"2024{n:02d}01") for n in range(12, 0, -1)]
    (answer,) = derived(dated(today()), chain(*months, replace(baseline(), study_date="20231201"))).answers_of(
        "fu.course", "LMS-T1"
    )
    assert len(answer.values) == 13
    first, left_out, second, *_, last = (str(v) for v in answer.values)
    assert first == "2023-12-01: long axis 60 mm (baseline)"
    assert left_out == "… 2 more …"
    assert second.startswith("2024-03-01: ")
    # the smallest one is among those that are left out, and still the smallest
    assert last == "2026-03-01: long axis 50 mm (-16.7 % from baseline, +61.3 % from nadir)"
    assert answer.basis == "13 earlier examinations"


# --- the courses of the plot and the table -----------------------------------------------------------------------------


def over_time(report: Report, prior: PriorReport | None) -> tuple[Course, ...]:
    return courses_of(report, TEMPLATES[report.template], DEFAULTS, prior)


def test_a_time_point_without_a_report_is_in_the_plot():
    here = dated(stated({"sz.long_axis@LMS-T1": 50}, template="response"))
    drawn = history(here, over_time(here, measured_between()))
    assert drawn.length_label == "Long axis (LMS-T1)"
    assert [(p.date, p.length_mm, p.volume_ml, p.proposed) for p in drawn.points] == [
        ("20260101", 45, 40, True),
        ("20260301", 50, None, False),
    ]
    other = with_uid(here, "2.25.90")
    assert over_time(other, measured_between()) == ()
    assert len(over_time(same_as(other, "2.25.1"), measured_between())) == 1


def test_the_plot_of_the_sums_begins_at_the_baseline_and_has_the_volumes_of_the_index_tumour():
    report = derived(dated(today(**{"sz.volume@LMS-T1": 90})), chain(measured_between(), baseline()))
    drawn = history(report, over_time(report, chain(measured_between(), baseline())))
    assert (drawn.length_label, drawn.volume_label) == ("Sum of target lesions", "Volume (LMS-T1)")
    assert [(p.date, p.length_mm, p.volume_ml) for p in drawn.points] == [
        ("20251001", 100, None),
        ("20260101", None, 40),
        ("20260301", 80, 90),
    ]


def test_each_lesion_with_a_history_has_a_course_of_its_own():
    report = derived(dated(today()), baseline())
    assert [(c.subject, c.item) for c in over_time(report, baseline())] == [
        ("", "fu.sum"),
        ("LMS-T1", "sz.long_axis"),
        ("LMS-T2", "sz.long_axis"),
    ]
    assert over_time(report, None) == ()


def scanned(hounsfield: float, date: str, *, volts: int = 120) -> Report:
    """Return a report with a mean attenuation on a series of known phase and tube voltage."""
    answers = {"ct.hu@LMS-T1": hounsfield, "sz.long_axis@LMS-T1": 50}
    scan = {"tech.phase@Series 1": "phase.portal", "tech.kvp@Series 1": volts}
    made = stated({**answers, **scan}, template="response", provenance=Provenance.SEGMENTATION)
    uid = next(s.tracking_uid for s in made.subjects if s.scope is Scope.SERIES)
    evidence = replace(builders.instance(1, 1).reference, series_instance_uid=uid)
    return dated(
        replace(
            made, answers=tuple(replace(a, evidence=(evidence,)) if a.item == "ct.hu" else a for a in made.answers)
        ),
        date,
    )


def test_attenuation_is_in_the_course_where_the_scans_can_be_compared():
    def told(*before: Report) -> list[Decimal | None]:
        points = [point(r, f"1.9.{n}", f"2025100{9 - n}") for n, r in enumerate(before)]
        (course,) = over_time(scanned(80, "20260301"), chain(*points))
        return [p.attenuation_hu for p in course.points]

    assert told(scanned(40, "20251009")) == [40, 80]
    # of another tube voltage: not beside this one
    assert told(scanned(60, "20251009", volts=80), scanned(40, "20251008")) == [40, None, 80]
    assert told(scanned(60, "20251009", volts=80)) == [None, None]
