"""Which earlier examinations are asked for, and which of their lesions may be which of today's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.flow import matching
from service.flow.compose import Facts, compose
from service.flow.priors import choose_objects, choose_series, choose_studies, same_region
from service.model.archive import Found, FoundSeries, FoundStudy
from service.model.measurement import Measurement, Reference, SegmentMeasurements
from service.model.prior import KnownLesion, Place, PriorReport
from service.model.prior_json import from_json, to_json
from service.model.report import Report, Scope, Subject, Uid
from service.model.study import Header, Patient, Series
from service.settings import Priors
from sr_templates import load_template
from tests import builders
from tests.stated import earlier, stated

SETTINGS = Priors()
SR, SEG = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.66.4"
STUDY = replace(
    builders.study(),
    date="20260301",
    patient=Patient(patient_id="P-1", issuer="HOSPITAL", birth_date="19600101"),
)


def found(number: int, date: str = "20260101", **changes) -> FoundStudy:
    return FoundStudy(
        **{
            "study_instance_uid": f"1.9.{number}",
            "date": date,
            "modalities": frozenset({"CT", "SEG"}),
            **changes,
        }
    )


def chosen(*studies: FoundStudy, known=frozenset(), settings=SETTINGS) -> list[str]:
    return [s.study_instance_uid for s in choose_studies(studies, STUDY, known, settings).studies]


# --- what is asked for -------------------------------------------------------------------------------------------------


def test_the_newest_studies_come_first_and_no_more_than_set():
    many = [found(n, f"2025{n:02d}01") for n in range(1, 10)]
    assert chosen(*many) == ["1.9.9", "1.9.8", "1.9.7", "1.9.6", "1.9.5"]
    assert chosen(*many, settings=Priors(max_studies=1)) == ["1.9.9"]


@pytest.mark.parametrize(
    "changes",
    [
        {"date": "20260302"},  # later
        {"date": ""},
        {"modalities": frozenset({"CT"})},  # nothing to read
        {"modalities": frozenset({"SR", "US"})},
        {"issuer": "OTHER"},
        {"birth_date": "19600102"},
        {"study_instance_uid": STUDY.study_instance_uid},
    ],
)
def test_a_study_that_is_none_to_compare_with_is_not_asked_for(changes):
    assert chosen(found(1, **changes)) == []
    assert chosen(found(1)) == ["1.9.1"]


def test_what_a_node_does_not_say_does_not_count_against_a_study():
    assert chosen(found(1, modalities=frozenset())) == ["1.9.1"]
    assert chosen(found(1, modalities=frozenset({"SEG"}))) == ["1.9.1"]
    assert chosen(found(1), known=frozenset({"1.9.1"})) == []
    same_day = found(1, date="20260301")
    assert chosen(same_day) == ["1.9.1"]


def test_another_person_is_told():
    left = choose_studies(
        [found(1, issuer="OTHER"), found(2, birth_date="19600102")], STUDY, frozenset(), SETTINGS
    ).left_out
    assert left == (
        "the study of 2026-01-01 names another birth date",
        "the study of 2026-01-01 names another Issuer of Patient ID",
    )


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("ABDOMEN", ["PELVIS"], True),
        ("ABDOMEN", ["CHEST"], False),
        ("ABDOMEN", ["CHEST", "ABDOMEN"], True),
        ("CHESTABDPELVIS", ["CHEST"], True),
        ("ABDOMEN", ["HEAD"], False),
        ("ABDOMEN", ["RETROPERITONEUM"], True),  # no word of the table: it says nothing
        ("ABDOMEN", [""], True),
        ("", ["HEAD"], True),
    ],
)
def test_regions(here, there, same):
    study = replace(STUDY, series=(builders.series(2, BodyPartExamined=here),))
    series = [FoundSeries(series_instance_uid=f"1.{n}", body_part=part) for n, part in enumerate(there)]
    assert same_region(study, series) is same


def test_only_reports_and_segmentations_are_asked_for():
    series = [FoundSeries(series_instance_uid=f"1.{m}", modality=m) for m in ("SR", "SEG", "CT", "KO", "")]
    assert choose_series(series) == ("1.SEG", "1.SR")
    objects = [
        Found(series_instance_uid="1.SR", sop_instance_uid="1", sop_class_uid=SR, instance_number=1),
        Found(series_instance_uid="1.SR", sop_instance_uid="2", sop_class_uid=SR, instance_number=2),
        Found(series_instance_uid="1.SR", sop_instance_uid="3", sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67"),
        Found(series_instance_uid="1.SEG", sop_instance_uid="4", sop_class_uid=SEG),
        Found(series_instance_uid="1.SEG", sop_instance_uid="5", sop_class_uid=""),
    ]

    def uids(held=frozenset(), settings=SETTINGS):
        return [f.sop_instance_uid for f in choose_objects(objects, held, settings)]

    assert uids() == ["5", "2", "4", "1"]
    assert uids(settings=Priors(max_objects=2)) == ["5", "2"]
    assert uids(held=frozenset({"5"})) == ["2", "4", "1"]


# --- which lesion is which ---------------------------------------------------------------------------------------------


def place(key: str, x: float = 0.0, *, frame: str = "F", volume: float | None = 1000.0, axis: float = 14.0) -> Place:
    return Place(
        key=key,
        label=key,
        frame_of_reference=frame,
        position=(x, 0.0, 0.0),
        volume_mm3=volume,
        long_axis_mm=axis,
    )


def lesion(number: int, uid: str) -> Subject:
    return Subject(key=f"LMS-T{number}", scope=Scope.LESION, tracking_id=f"LMS-T{number}", tracking_uid=uid)


def time_point(*places: Place, landmarks: tuple[Place, ...] = ()) -> PriorReport:
    return PriorReport(
        study_instance_uid="1.9",
        study_date="20260101",
        modalities=("CT",),
        lesions_at=places,
        landmarks=landmarks,
    )


def suggested(now, before, *, here=(), lesions=None, known=frozenset()):
    subjects = lesions or [lesion(n, p.key) for n, p in enumerate(now, start=1)]
    return {m.subject: m for m in matching.suggest(now, here, subjects, before, known)}


def test_the_nearest_lesion_in_one_frame_of_reference_is_suggested_with_its_reason():
    match = suggested([place("a", 4)], time_point(place("old", 0), place("far", 100)))["LMS-T1"]
    assert (match.tracking_uid, match.date, match.distance_mm) == ("old", "20260101", 4)
    assert match.reason == "its centre is 4 mm away in the same frame of reference, volume 1.0 mL then and 1.0 mL now"


def test_each_earlier_lesion_is_suggested_once_to_the_nearest():
    found = suggested([place("a", 10), place("b", 2)], time_point(place("old", 0), place("older", 18)))
    assert {k: m.tracking_uid for k, m in found.items()} == {"LMS-T2": "old", "LMS-T1": "older"}


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (place("a", 21), "too far"),
        (place("a", 2, volume=17000.0), "too large"),
        (place("a", 2, volume=60.0), "too small"),
        (place("a", 2, frame="G"), "another frame of reference without landmarks"),
        (place("a", 2, frame=""), "no frame of reference"),
    ],
)
def test_what_is_not_near_or_not_alike_is_not_suggested(now, reason):
    assert suggested([now], time_point(place("old", 0))) == {}, reason


def test_a_large_lesion_may_lie_further_away():
    assert suggested([place("a", 55, axis=120.0)], time_point(place("old", 0)))


def test_a_lesion_that_is_known_by_its_uid_needs_no_suggestion():
    assert suggested([place("a", 2)], time_point(place("a", 0))) == {}
    assert suggested([place("a", 2)], time_point(place("old", 0)), known=frozenset({"a"})) == {}


def over_time(newest: PriorReport, *older: PriorReport) -> PriorReport:
    """Return time points, the newest first; each older one is half a year older."""
    dates = ("20250701", "20250101")
    return replace(newest, earlier=tuple(replace(p, study_date=d) for p, d in zip(older, dates, strict=False)))


def test_what_the_newest_time_point_does_not_show_is_looked_for_in_older_ones():
    prior = over_time(time_point(place("old", 0)), time_point(), time_point(place("older", 100)))
    found = suggested([place("a", 4), place("b", 103)], prior)
    assert {k: (m.tracking_uid, m.date) for k, m in found.items()} == {
        "LMS-T1": ("old", "20260101"),
        "LMS-T2": ("older", "20250101"),
    }


def test_an_earlier_lesion_is_suggested_once_over_all_time_points():
    prior = over_time(time_point(place("old", 0)), time_point(place("old", 15)))
    found = suggested([place("a", 1), place("b", 16)], prior)
    assert {k: (m.tracking_uid, m.date) for k, m in found.items()} == {"LMS-T1": ("old", "20260101")}


def test_where_a_lesion_lay_before_it_lay_elsewhere_does_not_count():
    far, near = time_point(place("old", 200)), time_point(place("old", 2))
    assert suggested([place("a", 0)], over_time(far, near)) == {}
    # unless nothing tells how far it lies from where it was last
    found = suggested([place("a", 0)], over_time(time_point(place("old", 200, frame="G")), near))
    assert found["LMS-T1"].date == "20250701"


def test_each_time_point_is_laid_over_by_its_own_landmarks():
    kidneys = (place("org.kidney/v.left", 100), place("org.kidney/v.right", 0))
    moved = tuple(replace(k, position=(k.position[0] + 300, 0.0, 0.0), frame_of_reference="G") for k in kidneys)
    prior = over_time(time_point(place("other", 900)), time_point(place("old", 50), landmarks=kidneys))
    assert suggested([place("a", 355, frame="G")], prior, here=moved)["LMS-T1"].tracking_uid == "old"


def test_the_suggestion_names_the_date_of_its_time_point():
    lesions_at = (replace(place("2.25.8", 0, volume=600_000.0), label="LMS-T7"),)
    there = replace(earlier(stated({"sz.long_axis@LMS-T1": 30})), lesions_at=(), landmarks=())
    older = replace(there, study_date="20250701", lesions_at=lesions_at)
    measured = replace(builders.tumour(), centroid=(3.0, 0.0, 0.0), tracking_uid="2.25.9")
    study = replace(STUDY, series=(builders.ct_series(), with_frame(builders.segmentation_series(), "F")))
    prior = replace(there, earlier=(older,))
    facts = Facts(study=study, device=builders.DEVICE, segments=(measured,), prior=prior)
    report = compose(facts, load_template("response"))
    (same,) = report.answers_of("fu.same_as", "LMS-T1")
    assert same.values == (Uid("2.25.8"),)
    assert same.basis.startswith("LMS-T7 of 2025-07-01: its centre is 3 mm away in the same frame of reference")


def with_frame(series: Series, uid: str) -> Series:
    """Return a series whose instances lie in a frame of reference."""
    header = Header(elements={"FrameOfReferenceUID": (uid,)})
    return replace(series, instances=tuple(replace(i, header=header) for i in series.instances))


def test_another_frame_of_reference_is_laid_over_by_landmarks():
    kidneys = (place("org.kidney/v.left", 100), place("org.kidney/v.right", 0))
    moved = tuple(replace(k, position=(k.position[0] + 300, 0.0, 0.0), frame_of_reference="G") for k in kidneys)
    before = time_point(place("old", 50), landmarks=kidneys)
    match = suggested([place("a", 355, frame="G")], before, here=moved)["LMS-T1"]
    assert match.distance_mm == pytest.approx(5)
    assert "5 mm away once org.kidney/v.left and org.kidney/v.right are laid over each other" in match.reason
    # one structure alone proves nothing, and neither do two that moved apart
    assert suggested([place("a", 355, frame="G")], before, here=moved[:1]) == {}
    apart = (moved[0], replace(moved[1], position=(500.0, 0.0, 0.0)))
    assert suggested([place("a", 355, frame="G")], before, here=apart) == {}


def test_places_are_those_of_the_segments():
    source = Reference(sop_class_uid=SEG, sop_instance_uid="1.5", series_instance_uid="1.4", segment=2)
    measured = SegmentMeasurements(
        label="Mass",
        segment=2,
        source=source,
        role="tumour",
        centroid=(1.0, 2.0, 3.0),
        measurements=(Measurement(name="sz.volume", value=5000.0, unit="mm3", method="voxels"),),
    )
    kidney = replace(measured, label="K", role="org.kidney", laterality="v.left", source=replace(source, segment=3))
    subject = replace(lesion(1, "1.2"), segment=source)
    (found,) = matching.places([subject, lesion(2, "1.3")], STUDY, [measured, kidney])
    assert (found.key, found.position, found.volume_mm3) == ("1.2", (1.0, 2.0, 3.0), 5000.0)
    assert [p.key for p in matching.landmarks(STUDY, [measured, kidney])] == ["org.kidney/v.left"]
    # of two of a kind nobody knows which is which
    assert matching.landmarks(STUDY, [kidney, kidney]) == ()


# --- what is asked -----------------------------------------------------------------------------------------------------


def renamed(report: Report, uid: str) -> Report:
    return replace(
        report, subjects=tuple(replace(s, tracking_uid=uid) if s.scope is Scope.LESION else s for s in report.subjects)
    )


def test_unknown_and_missing_lesions_are_asked_about_and_never_called_new_or_gone():
    prior = earlier(stated({"sz.long_axis@LMS-T1": 30}))
    today = renamed(stated({"sz.long_axis@LMS-T1": 31}), "2.25.99")
    unknown, missing = matching.questions(today, prior)
    assert "LMS-T1 has a tracking UID that no earlier examination has: whether it is a new lesion" in unknown
    assert "has no measurement in this examination: whether it is gone, was not measured" in missing
    assert "for the radiologist to say" in unknown
    assert matching.questions(stated({"sz.long_axis@LMS-T1": 31}), prior) == ()
    assert matching.questions(today, None) == ()


def test_a_suggested_lesion_is_asked_about_by_its_suggestion_alone():
    prior = earlier(stated({"sz.long_axis@LMS-T1": 30}))
    assert prior.report is not None
    old = prior.report.subjects_of(Scope.LESION)[0].tracking_uid
    today = renamed(stated({"sz.long_axis@LMS-T1": 31}, proposed={"fu.same_as@LMS-T1": old}), "2.25.99")
    answers = tuple(replace(a, values=(Uid(old),)) if a.item == "fu.same_as" else a for a in today.answers)
    today = replace(today, answers=answers)
    assert matching.questions(today, prior) == ()


def test_a_lesion_that_was_gone_is_not_missed():
    prior = earlier(stated({"sz.long_axis@LMS-T1": 0}))
    assert len(matching.questions(renamed(stated({}), "2.25.99"), prior)) == 1


def test_a_uid_of_any_earlier_time_point_is_known():
    older = replace(time_point(), lesions=(KnownLesion(tracking_id="x", tracking_uid="2.25.99"),))
    prior = replace(earlier(stated({})), earlier=(older,))
    assert all("LMS-T1 has a tracking UID" not in q for q in matching.questions(renamed(stated({}), "2.25.99"), prior))


def test_what_was_read_of_a_time_point_is_kept_as_it_is():
    prior = replace(
        earlier(stated({"sz.long_axis@LMS-T1": 30})),
        lesions_at=(place("a", 1.5), place("b", volume=None)),
        landmarks=(place("k"),),
        lesions=(KnownLesion(tracking_id="x", tracking_uid="1.2"),),
        reported=False,
    )
    assert from_json(to_json(prior)) == prior
    assert from_json(to_json(replace(prior, report=None))).report is None
