"""Several studies in a folder: which is compared with which, lesions over time, the response, and whose work counts."""

from __future__ import annotations

import datetime as dt
import math
import re
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from service import offline
from service.errors import InputError
from service.flow import timepoint
from service.flow.declared import Declared, Method, NonTargets, Said
from service.flow.produce import COMPREHENSIVE_SR, Options, produce, renditions, reproduce
from service.flow.response_course import response_over_time
from service.measure.segments import measure_study
from service.model.comparison import LesionOverTime, MatchKind, ResponseOverTime, StudyOverTime
from service.model.report import Status
from service.model.signing import Person, Signature
from service.read.folder import read_folder
from service.settings import Measuring, Settings
from tests import phantoms
from tests.commands import lms_sr
from tests.phantoms import Visit
from tests.stated import TEMPLATES, earlier, stated

SETTINGS = Settings()
NOW = dt.datetime(2026, 6, 1, 9, 0, tzinfo=dt.UTC)
MIDDLE = (0.5, 0.5, 47.5)
#: 24 mL, long axis from the first to the last pixel's centre: 29 and 19 mm across
SMALL = (MIDDLE, (30, 20, 40))
#: twice as long along the body: 48 mL, the same axis
TALL = (MIDDLE, (30, 20, 80))
#: 96 mL, 59 and 39 mm across
WIDE = (MIDDLE, (60, 40, 40))
ELSEWHERE = ((-39.5, -39.5, 47.5), (20, 20, 20))
UID, OTHER_UID = "2.25.1001", "2.25.1002"
JANUARY, APRIL, JULY = "20260101", "20260401", "20260630"  # 90 days apart
#: what the course says of a volume that doubled in the first quarter
GREW = " (+100.0 % since 2026-01-01, doubling time 90 days)"


def axis(across: int, down: int) -> Decimal:
    """Return the long axis of a box of so many pixels, as the report rounds it."""
    return Decimal(str(round(math.hypot(across - 1, down - 1), 1)))


def measured(folder: Path, **said: Any) -> tuple[StudyOverTime, ...]:
    return offline.measure(SETTINGS, folder, Declared(**said)).studies


def lesion(study: StudyOverTime, key: str = "LMS-T1") -> LesionOverTime:
    (found,) = (le for le in study.lesions if le.key == key)
    return found


def response(study: StudyOverTime) -> ResponseOverTime:
    assert study.response is not None
    return study.response


def two(folder: Path, now: Any = TALL, **changes: Any) -> Path:
    """Write a baseline and a study 90 days later with the same tracking UID."""
    Visit(date=JANUARY, boxes=[SMALL], uids=[UID]).write(folder)
    Visit(**{"number": 2, "date": APRIL, "boxes": [now], "uids": [UID], **changes}).write(folder)
    return folder


# --- which lesion is which -------------------------------------------------------------------------------------------------


def test_a_lesion_with_the_same_tracking_uid_is_followed(tmp_path: Path) -> None:
    before, now = measured(two(tmp_path, hounsfield=90.0))
    assert before.compared_with == ()
    assert [(c.study_date, c.by) for c in now.compared_with] == [(JANUARY, "measurements, no report of ours")]
    found = lesion(now)
    assert found.match is not None
    assert (found.match.how, found.match.study_date) == (MatchKind.TRACKING_UID, JANUARY)
    change = found.change
    assert change is not None
    assert (change.since, change.days) == (JANUARY, 90)
    assert (change.volume_before_ml, change.volume_ml) == (Decimal("24.00"), Decimal("48.00"))
    assert change.volume_change_percent == 100
    # it doubled in the interval
    assert change.doubling_time_days == 90
    assert change.growth_percent_per_day == Decimal("0.770")  # ln 2 / 90
    assert change.long_axis_change_percent == 0
    assert (change.attenuation_before_hu, change.attenuation_hu, change.attenuation_change_hu) == (60, 90, 30)
    assert change.not_given == ()
    assert found.course == (
        f"2026-01-01: long axis {axis(30, 20)} mm, short axis {_short(before)} mm, volume 24.00 mL (not confirmed)",
        f"2026-04-01: long axis {axis(30, 20)} mm, short axis {_short(now)} mm, volume 48.00 mL{GREW} (not confirmed)",
    )
    assert now.questions == ()


def _short(study: StudyOverTime) -> Decimal:
    return next(s.value for s in lesion(study).sizes if s.item == "sz.short_axis")


def test_without_a_common_uid_a_lesion_is_suggested_with_its_reason_and_not_compared(tmp_path: Path) -> None:
    _, now = measured(two(tmp_path, uids=[OTHER_UID]))
    found = lesion(now)
    assert found.match is not None
    assert (found.match.how, found.match.tracking_uid) == (MatchKind.SUGGESTED, UID)
    assert found.match.reason == (
        "Tumour of 2026-01-01: its centre is 0 mm away in the same frame of reference, volume 24.0 mL then and 48.0 mL now"
    )
    assert (found.change, found.course) == (None, ())
    assert not any("LMS-T1 has a tracking UID" in q for q in now.questions)


def test_a_suggestion_is_compared_once_a_person_says_so(tmp_path: Path) -> None:
    two(tmp_path, uids=[OTHER_UID])
    for pair in (("LMS-T1", UID), (UID, OTHER_UID)):
        found = lesion(measured(tmp_path, same=(pair,))[1])
        assert found.match is not None
        assert found.match.how is MatchKind.SAID
        assert found.change is not None
        assert found.change.volume_change_percent == 100


def test_a_lesion_that_only_one_study_shows_is_asked_about_and_not_called_new_or_gone(tmp_path: Path) -> None:
    two(tmp_path, boxes=[ELSEWHERE], uids=[OTHER_UID])
    _, now = measured(tmp_path)
    assert lesion(now).match is None
    assert len(now.questions) == 2
    assert "LMS-T1 has a tracking UID that no earlier examination has: whether it is a new lesion" in now.questions[0]
    assert "Tumour of 2026-01-01 has no measurement in this examination: whether it is gone" in now.questions[1]
    assert response(now).overall_response is None


def test_every_earlier_study_is_in_the_course(tmp_path: Path) -> None:
    two(tmp_path)
    Visit(number=3, date=JULY, boxes=[WIDE], uids=[UID]).write(tmp_path)
    first, second, third = measured(tmp_path)
    assert [c.study_date for c in third.compared_with] == [APRIL, JANUARY]
    assert [c.study_date for c in second.compared_with] == [JANUARY]
    assert [p.split(":")[0] for p in lesion(third).course] == ["2026-01-01", "2026-04-01", "2026-06-30"]
    change = lesion(third).change
    assert change is not None
    # against the newest that shows it
    assert (change.since, change.volume_before_ml, change.volume_ml) == (APRIL, 48, 96)
    assert first.lesions


# --- whose studies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"patient_id": "PHANTOM-2"}, "it is the only study of its patient in this folder"),
        ({"patient_id": ""}, "it has no Patient ID"),
        ({"date": ""}, "it has no Study Date"),
        ({"birth_date": "19700101"}, "the study of 2026-01-01: its objects name another birth date"),
        ({"date": JANUARY, "time": ""}, "the study of 2026-01-01: it is of the same day, and no Study Time says"),
    ],
)
def test_what_is_not_known_to_be_an_earlier_study_of_the_patient_is_not_compared_with(
    tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    studies = {s.study_instance_uid: s for s in measured(two(tmp_path, **changes))}
    second = studies[f"{phantoms.ROOT}.5.2"]
    assert second.compared_with == ()
    assert any(r.startswith(why) for r in second.not_compared)
    assert all(le.match is None and le.change is None for s in studies.values() for le in s.lesions)
    assert all(s.compared_with == () for s in studies.values())


def test_of_one_day_the_study_time_says_which_is_earlier(tmp_path: Path) -> None:
    first, second = measured(two(tmp_path, date=JANUARY, time="120000"))
    assert (len(first.compared_with), len(second.compared_with)) == (0, 1)
    assert first.study_instance_uid == f"{phantoms.ROOT}.5.1"
    change = lesion(second).change
    assert change is not None
    assert change.doubling_time_days is None
    assert any(w.startswith("no doubling time: it needs at least") for w in change.not_given)


def test_what_is_said_is_said_of_one_patient(tmp_path: Path) -> None:
    two(tmp_path, patient_id="PHANTOM-2")
    with pytest.raises(InputError, match="holds studies of 2 patients"):
        measured(tmp_path, targets=("LMS-T1",))
    with pytest.raises(InputError, match="compared with no earlier one"):
        measured(tmp_path / "visit1", new_lesion=True)
    with pytest.raises(InputError, match=r"no lesion 'LMS-T7'.*it has LMS-T1"):
        measured(two(tmp_path / "one"), targets=("LMS-T7",))


# --- the response ----------------------------------------------------------------------------------------------------------


def test_nothing_follows_for_the_response_before_targets_are_named(tmp_path: Path) -> None:
    found = response(measured(two(tmp_path, now=WIDE))[1])
    assert (found.sum_mm, found.target_response, found.overall_response) == (None, None, None)
    assert found.not_given[0] == "no lesion was chosen as target: name them with --target"


@pytest.mark.parametrize("name", ["LMS-T1", UID])
def test_named_targets_give_sums_and_their_response_and_a_new_lesion_has_to_be_said(tmp_path: Path, name: str) -> None:
    two(tmp_path)
    Visit(number=3, date=JULY, boxes=[WIDE], uids=[UID]).write(tmp_path)
    found = response(measured(tmp_path, targets=(name,))[2])
    assert (found.baseline_date, found.targets) == (JANUARY, ("LMS-T1",))
    assert (found.baseline_sum_mm, found.nadir_mm, found.sum_mm) == (axis(30, 20), axis(30, 20), axis(60, 40))
    assert found.change_from_nadir_mm == axis(60, 40) - axis(30, 20)
    assert found.target_response == "PD"
    # progression of the targets is one whatever else there is, but nobody has said anything of new lesions
    assert found.overall_response is None
    assert any("--new-lesion" in w for w in found.not_given)
    _, before, newest = measured(tmp_path, targets=(name,), new_lesion=False)
    assert response(newest).overall_response == "PD"
    # it is said of the newest study alone
    assert (response(before).target_response, response(before).overall_response) == ("SD", None)


def test_the_smallest_sum_is_looked_for_between_baseline_and_now(tmp_path: Path) -> None:
    Visit(date=JANUARY, boxes=[WIDE], uids=[UID]).write(tmp_path)
    Visit(number=2, date=APRIL, boxes=[SMALL], uids=[UID]).write(tmp_path)
    Visit(number=3, date=JULY, boxes=[(MIDDLE, (44, 34, 40))], uids=[UID]).write(tmp_path)
    _, second, third = measured(tmp_path, targets=(UID,), new_lesion=False)
    assert response(second).target_response == "PR"
    found = response(third)
    assert (found.baseline_sum_mm, found.nadir_mm, found.sum_mm) == (axis(60, 40), axis(30, 20), axis(44, 34))
    # less than at baseline, and 55 % more than the smallest
    assert (found.target_response, found.overall_response) == ("PD", "PD")
    assert "smallest sum so far: 2026-04-01" in found.nadir_basis


def test_there_is_no_sum_without_one_of_the_targets(tmp_path: Path) -> None:
    Visit(date=JANUARY, boxes=[SMALL, ELSEWHERE], uids=[UID, OTHER_UID]).write(tmp_path)
    Visit(number=2, date=APRIL, boxes=[SMALL], uids=[UID]).write(tmp_path)
    found = response(measured(tmp_path, targets=(UID, OTHER_UID), new_lesion=False)[1])
    assert (found.sum_mm, found.target_response, found.overall_response) == (None, None, None)
    assert "target Tumour of 2026-01-01 has no measurement in this examination" in found.not_given[0]


def test_a_target_that_the_baseline_does_not_know_gives_no_change(tmp_path: Path) -> None:
    found = response(measured(two(tmp_path, uids=[OTHER_UID]), targets=("LMS-T1",), new_lesion=False)[1])
    assert (found.sum_mm, found.baseline_sum_mm, found.target_response) == (axis(30, 20), None, None)
    assert "the size of LMS-T1 is not known at the baseline of 2026-01-01" in " ".join(found.not_given)


def test_what_the_other_lesions_do_is_a_persons_word(tmp_path: Path) -> None:
    for number, date in ((1, JANUARY), (2, APRIL)):
        Visit(number=number, date=date, boxes=[SMALL, ELSEWHERE], uids=[UID, OTHER_UID]).write(tmp_path)
    said: dict[str, Any] = {"targets": (UID,), "new_lesion": False}
    found = response(measured(tmp_path, **said)[1])
    assert (found.target_response, found.overall_response) == ("SD", None)
    assert "that are no targets (LMS-T2): say it with --non-targets" in " ".join(found.not_given)
    for word, overall in ((NonTargets.STABLE, "SD"), (NonTargets.PROGRESSING, "PD"), (NonTargets.GONE, "SD")):
        found = response(measured(tmp_path, **said, non_targets=word)[1])
        assert (found.target_response, found.overall_response) == ("SD", overall)


def test_a_lesion_that_is_no_target_and_was_not_measured_leaves_the_overall_response_open(tmp_path: Path) -> None:
    Visit(date=JANUARY, boxes=[SMALL, ELSEWHERE], uids=[UID, OTHER_UID]).write(tmp_path)
    Visit(number=2, date=APRIL, boxes=[SMALL], uids=[UID]).write(tmp_path)
    said: dict[str, Any] = {"targets": (UID,), "new_lesion": False}
    found = response(measured(tmp_path, **said)[1])
    assert (found.target_response, found.overall_response) == ("SD", None)
    assert "Tumour of 2026-01-01, no target, has no measurement in this examination" in " ".join(found.not_given)
    found = response(measured(tmp_path, **said, non_targets=NonTargets.GONE)[1])
    assert found.overall_response == "SD"
    assert response(measured(tmp_path, targets=(UID,), new_lesion=True)[1]).overall_response == "PD"


def test_choi_needs_phases_that_somebody_confirmed(tmp_path: Path) -> None:
    Visit(date=JANUARY, boxes=[SMALL], uids=[UID], hounsfield=100.0).write(tmp_path)
    Visit(number=2, date=APRIL, boxes=[SMALL], uids=[UID], hounsfield=80.0).write(tmp_path)
    said: dict[str, Any] = {"targets": (UID,), "new_lesion": False, "method": Method.CHOI}
    found = response(measured(tmp_path, **said)[1])
    assert found.choi_response is None
    assert [w.split(": ", 1)[1] for w in found.not_given] == [
        "nobody has said whether a nodule in the tumour is new or grows: say it with --new-nodule",
        "the enhancement phase is not known for both: where those that the headers propose are right, say so with --confirm-phases",
    ]
    said |= {"new_nodule": False, "phases": True}
    found = response(measured(tmp_path, **said)[1])
    # 20 % darker and no smaller: a partial response by Choi, none by modified Choi, which needs both
    assert (found.attenuation_change_percent, found.choi_response) == (-20, "PR")
    assert found.overall_response is None
    said["method"] = Method.MODIFIED_CHOI
    found = response(measured(tmp_path, **said)[1])
    assert (found.method, found.choi_response) == ("modified Choi", "SD")


def test_attenuation_at_another_tube_voltage_is_not_held_against_the_earlier_one(tmp_path: Path) -> None:
    now = lesion(measured(two(tmp_path, header={"KVP": "80", "SeriesDescription": "Abdomen arterial"}))[1])
    assert now.change is not None
    assert now.change.attenuation_change_hu is None
    assert any("120 kV then, 80 kV now" in r for r in now.remarks)
    assert any("no change of attenuation" in w and "120 kV then, 80 kV now" in w for w in now.change.not_given)


def test_a_target_of_the_earlier_report_that_was_not_measured_stops_the_sum() -> None:
    roles = {f"fu.baseline_cat@LMS-T{n}": "fu.target" for n in (1, 2)}
    there = stated({**roles, "sz.long_axis@LMS-T1": 60, "sz.long_axis@LMS-T2": 40}, template="response", lesions=2)
    point = earlier(there, date=JANUARY)

    def found(lesions: int) -> ResponseOverTime:
        sizes = {f"sz.long_axis@LMS-T{n}": 50 for n in range(1, lesions + 1)}
        here = {k: v for k, v in roles.items() if int(k[-1]) <= lesions}
        report = stated({**here, **sizes}, template="response", lesions=lesions)
        return response_over_time(report, (point,), TEMPLATES["response"], Said(), SETTINGS.clinical, newest=True)

    assert found(2).sum_mm == 100
    assert found(1).sum_mm is None
    assert found(1).not_given[0].startswith("target LMS-T2 of 2026-01-01 has no measurement in this examination")


# --- whose work ------------------------------------------------------------------------------------------------------------

EVERY_OBJECT = ("pdf", "key-image", "key-objects", "presentation")


def with_our_objects(place: Path) -> list[Path]:
    """Put everything that this software makes of a study into its folder."""
    out = place.parents[1] / f"made of {place.name}"
    made = offline.compose(SETTINGS, place, out, now=NOW, objects=EVERY_OBJECT)
    return [Path(shutil.copy(f, place)) for f in made.studies[0].files if f.suffix == ".dcm"]


def test_what_this_software_wrote_is_nobody_elses_work(tmp_path: Path) -> None:
    two(tmp_path / "in")
    plain = offline.measure(SETTINGS, tmp_path / "in")
    for visit in ("visit1", "visit2"):
        written = with_our_objects(tmp_path / "in" / visit)
        assert {f.name for f in written} >= {"report.dcm", "measurements.dcm", "key-image.dcm", "presentation.dcm"}
    found = offline.measure(SETTINGS, tmp_path / "in")
    assert found.segments == plain.segments
    assert found.studies == tuple(
        replace(s, left_out=n.left_out) for s, n in zip(plain.studies, found.studies, strict=True)
    )
    (told,) = found.studies[1].left_out
    assert told.endswith("what LMS-SR wrote itself is measured no second time: 1 DOC, 1 KO, 1 OT, 1 PR, 2 SR")
    # nor is it, when a report is made again
    again = offline.compose(SETTINGS, tmp_path / "in" / "visit1", tmp_path / "again", now=NOW)
    made = (tmp_path / "again" / "report.json").read_text()
    assert "measured in a viewer" not in made
    assert "Also marked by a line" not in made
    assert any("what LMS-SR wrote itself" in r for r in again.refused)


def of_another_maker(file: Path, value: str = "") -> str:
    """Make a document of ours one of a viewer, with another long axis if one is given; return its UID."""
    ds = dcmread(file)
    ds.Manufacturer, ds.ManufacturerModelName = "Viewer Inc.", "Viewer"
    if value:
        number = next(i for i in ds.iterall() if i.keyword == "NumericValue")
        number.value = value
    ds.save_as(file)
    return str(ds.SOPInstanceUID)


def test_a_report_of_somebody_else_is_taken_in_with_its_maker_and_its_honesty(tmp_path: Path) -> None:
    place = two(tmp_path / "in") / "visit2"
    for file in with_our_objects(place):
        if file.name != "measurements.dcm":
            file.unlink()
    uid = of_another_maker(place / "measurements.dcm", "50.0")
    (place / "broken.dcm").write_bytes(
        (place / "measurements.dcm").read_bytes()[:-100].replace(uid.encode(), b"9" * len(uid))
    )
    now = measured(tmp_path / "in")[1]
    number = next(n for n in now.taken_in if n.item == "sz.long_axis")
    assert (number.lesion, number.value, number.unit) == ("LMS-T1", 50, "mm")
    assert (number.maker, number.source_sop_instance_uid, number.status) == ("Viewer Inc.", uid, Status.PROPOSED)
    assert any(r.startswith("visit2/broken.dcm, a structured report: ") for r in now.left_out)
    assert any("50.0 mm is not the length of its line on the image, which is 34.7 mm" in r for r in lesion(now).remarks)
    change = lesion(now).change
    assert change is not None
    assert (change.long_axis_before_mm, change.long_axis_mm) == (axis(30, 20), 50)


def sign(place: Path, *, stated: bool = True) -> None:
    """Put a signed report of ours of a study into its folder, in which the sizes are confirmed (or nothing is)."""
    found = read_folder(place)
    (study,) = found.studies
    made = produce(study, measure_study(study, found.open_file, Measuring()), None, Options(installation="hospital"))
    answers = tuple(
        replace(a, status=Status.CONFIRMED, values=(replace(a.values[0], number=Decimal(40)),), observer="Roe^Jane")
        if stated and a.item == "sz.long_axis"
        else a
        for a in made.report.answers
    )
    report = replace(made.report, answers=answers)
    signature = Signature(person=Person(name="Roe^Jane", organisation="Hospital"), at=NOW) if stated else None
    signed = reproduce(report, study, made.options, signature=signature)
    first = renditions(signed, sop_class_uid=COMPREHENSIVE_SR, profile="standard", version=3, created_at=NOW)[0]
    (place / "signed.dcm").write_bytes(first.part10)


def test_a_signed_report_of_ours_counts_as_the_report_of_its_study(tmp_path: Path) -> None:
    sign(two(tmp_path) / "visit1")
    before, now = measured(tmp_path)
    assert [c.by for c in now.compared_with] == ["signed report, version 3"]
    change = lesion(now).change
    assert change is not None
    # what a person confirmed there counts, and what nobody did does not
    assert (change.long_axis_before_mm, change.volume_before_ml) == (40, None)
    assert lesion(now).course[0].startswith("2026-01-01: long axis 40 mm (baseline)")
    (size,) = (s for s in lesion(before).sizes if s.item == "sz.long_axis")
    assert (size.value, size.status) == (40, Status.CONFIRMED)
    # it is a baseline by its report
    found = response(measured(tmp_path, targets=(UID,), new_lesion=False)[1])
    assert (found.baseline_sum_mm, found.target_response) == (40, "SD")


def test_a_draft_that_nobody_has_looked_at_says_no_more_than_the_images(tmp_path: Path) -> None:
    sign(two(tmp_path) / "visit1", stated=False)
    now = measured(tmp_path)[1]
    assert [c.by for c in now.compared_with] == ["measurements, no report of ours"]
    assert lesion(now).change is not None


def test_a_report_edited_in_a_viewer_is_still_ours(tmp_path: Path) -> None:
    place = two(tmp_path) / "visit1"
    sign(place)
    of_another_maker(place / "signed.dcm")
    assert [c.by for c in measured(tmp_path)[1].compared_with] == ["signed report, version 3"]


# --- the command -----------------------------------------------------------------------------------------------------------


def test_the_json_has_segments_studies_and_what_was_left_out(tmp_path: Path) -> None:
    two(tmp_path)
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "visit2" / "broken.dcm").write_bytes((tmp_path / "visit2" / "seg.dcm").read_bytes()[:200])
    done = lms_sr("measure", tmp_path, "--json", "--target", UID, "--new-lesion", "no")
    assert (done.code, done.err) == (0, "")
    assert set(done.data) == {"segments", "studies", "left_out"}
    assert [s["study_instance_uid"] for s in done.data["segments"]] == [f"{phantoms.ROOT}.5.{n}" for n in (1, 2)]
    assert {"label", "source_sop_instance_uid", "segment", "measurements"} < set(done.data["segments"][0])
    assert len(done.data["left_out"]) == 2
    before, now = done.data["studies"]
    assert set(before) == set(now)
    assert set(now) == {
        "study_instance_uid", "study_date", "compared_with", "not_compared", "lesions", "taken_in", "response", "questions", "remarks",
        "left_out",
    }  # fmt: skip
    assert before["response"] is None
    assert now["compared_with"][0]["study_instance_uid"] == f"{phantoms.ROOT}.5.1"
    assert now["lesions"][0]["change"]["volume_change_percent"] == 100
    assert now["response"]["overall_response"] == "SD"
    assert "Phantom" not in done.out


def test_the_text_tells_it_in_words(tmp_path: Path) -> None:
    two(tmp_path, hounsfield=90.0)
    (tmp_path / "notes.txt").write_text("no DICOM")
    done = lms_sr("measure", tmp_path)
    assert re.fullmatch(r"lms-sr: left out: .*notes\.txt.*\n", done.err)
    for line in (
        f"study {phantoms.ROOT}.5.1 of 2026-01-01",
        "  compared with nothing: no study of its patient in this folder is earlier",
        f"  compared with 2026-01-01 (measurements, no report of ours), {phantoms.ROOT}.5.1",
        "    is Tumour of 2026-01-01: it has the same tracking UID",
        "    volume 24.00 mL then, 48.00 mL now: +100.0 % since 2026-01-01, 90 days",
        "    volume doubling time 90 days",
        "    mean attenuation 60.0 HU then, 90.0 HU now: +30.0 HU",
        "  response by RECIST 1.1 (proposed)",
        "    no lesion was chosen as target: name them with --target",
    ):
        assert line in done.out.splitlines()
    done = lms_sr("measure", tmp_path, "--target", "LMS-T1", "--new-lesion", "yes")
    assert "    overall response: PD" in done.out.splitlines()
    assert lms_sr("measure", tmp_path, "--same-as", "LMS-T1").err.startswith(
        "lms-sr: --same-as 'LMS-T1': write LESION=UID"
    )


def test_a_study_that_stands_alone_costs_no_more_than_its_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the templates takes longer than measuring a small study."""
    Visit(date=JANUARY, boxes=[SMALL], uids=[UID]).write(tmp_path)

    def read(*_: object) -> None:
        raise AssertionError("nothing has to be put together")

    monkeypatch.setattr("service.flow.comparison.produce", read)
    monkeypatch.setattr(timepoint, "load_template", read)
    (only,) = measured(tmp_path)
    assert only.not_compared == ("it is the only study of its patient in this folder",)
    assert (only.lesions, only.response) == ((), None)
