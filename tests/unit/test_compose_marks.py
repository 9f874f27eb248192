"""From marks to a draft: one lesion however often it was marked, with what each mark can say."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset

from service import offline
from service.flow.comparability import with_mismatches
from service.flow.compose import Facts, compose
from service.flow.context import Device
from service.flow.matching import places
from service.flow.produce import produce
from service.measure.segments import measure_study
from service.model.measurement import SegmentMeasurements
from service.model.report import Provenance, Quantity, Report, Scope, Status
from service.model.study import Study
from service.read.folder import read_folder
from service.settings import Clinical, Settings
from service.sr.parse import parse
from sr_templates import load_template
from tests import builders as b
from tests.phantoms import ROOT, Contours, Ct, Grid, Lines, Part, Seg, ball, circle, ellipsoid, pet, study_of
from tests.stated import earlier

DATA = Path(__file__).parents[1] / "data"
GRID = Grid()
COARSE = Grid(origin=(-64, -64, 0), spacing=(4, 4), rows=32, columns=32, depths=tuple(4.0 * i for i in range(24)))


def draft(study: Study, segments: tuple[SegmentMeasurements, ...]) -> Report:
    return compose(
        Facts(study=study, device=Device(name="test", uid="2.25.1"), segments=segments), load_template("baseline")
    )


def drafted(folder: Path) -> Report:
    study, open_file = study_of(folder)
    return draft(study, measure_study(study, open_file))


def replace_x(point: Sequence[float], shift: float) -> tuple[float, float, float]:
    """Return a point so many mm further to the left of the patient."""
    return point[0] + shift, point[1], point[2]


def groups_of(ds: Dataset) -> list[Dataset]:
    """Return the measurement groups of an SR."""
    (measurements,) = (c for c in ds.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "126010")
    return [c for c in measurements.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "125007"]


def numbers(report: Report, item: str) -> list[Decimal | None]:
    return [v.number for a in report.answers_of(item, "LMS-T1") for v in a.values if isinstance(v, Quantity)]


def test_three_masks_of_one_tracking_uid_are_one_lesion_with_sizes_from_ct_and_uptake_from_pet(tmp_path: Path) -> None:
    inside = ellipsoid(GRID.centre, (20, 20, 20))
    ct = Ct(grid=GRID, hounsfield=np.where(GRID.voxels(inside), 60.0, -1000))
    uptake = pet(COARSE, np.where(COARSE.voxels(inside), 8.0, 1.0))
    uptake = replace(uptake, series_uid=f"{ROOT}.4", series_number=4)
    ct.write(tmp_path)
    uptake.write(tmp_path)
    tracking = f"{ROOT}.6"
    Seg(grid=GRID, parts=[Part(mask=GRID.voxels(inside), tracking_uid=tracking)], ct=ct).write(tmp_path)
    Seg(
        grid=COARSE,
        parts=[Part(mask=COARSE.voxels(inside), tracking_uid=tracking)],
        ct=uptake,
        uid=f"{ROOT}.9.2",
        series_uid=f"{ROOT}.10",
    ).write(tmp_path, "pet_seg.dcm")
    report = drafted(tmp_path)
    (lesion,) = report.subjects_of(Scope.LESION)
    assert lesion.tracking_uid == tracking
    assert lesion.segment is not None
    assert lesion.segment.sop_instance_uid == f"{ROOT}.9.1"
    assert numbers(report, "ct.hu") == [Decimal("60.0"), Decimal("0.0")]
    assert numbers(report, "pet.suvbw")[0] == Decimal("8.0")
    assert [round(n or 0, 1) for n in numbers(report, "pet.mtv")] == [Decimal("32.6")]
    assert any(r.startswith("Also marked by a segment on PT series 4: long axis") for r in lesion.remarks)
    (suv, *_) = report.answers_of("pet.suvbw", "LMS-T1")
    assert suv.derivation is not None
    assert suv.derivation.meaning == "Maximum"
    # whose number it is stands beside it: the mask on PET, not the one on CT
    assert [e.sop_instance_uid for e in suv.evidence] == [f"{ROOT}.9.2"]


def test_a_tumour_that_was_only_contoured_is_a_lesion_of_that_roi(tmp_path: Path) -> None:
    ct = Ct(grid=GRID, hounsfield=np.full((20, 128, 128), 50.0))
    ct.write(tmp_path)
    Contours(contours=ball(GRID, 25), ct=ct).write(tmp_path)
    report = drafted(tmp_path)
    (lesion,) = report.subjects_of(Scope.LESION)
    assert lesion.segment is not None
    assert (lesion.segment.sop_instance_uid, lesion.segment.roi) == (f"{ROOT}.8.1", 1)
    assert lesion.segment.roi_name == "Tumour"
    assert len(numbers(report, "sz.volume")) == 1
    (axis,) = report.answers_of("sz.long_axis", "LMS-T1")
    assert [len(e.points) for e in axis.evidence] == [2]


def test_two_contoured_tumours_are_written_apart_and_read_back(tmp_path: Path) -> None:
    left, right = (replace_x(GRID.centre, shift) for shift in (-22, 22))
    ct = Ct(grid=GRID, hounsfield=np.full((20, 128, 128), 50.0))
    ct.write(tmp_path)
    Contours(contours=ball(GRID, 14, left), ct=ct, name="GTV", further={"Tumour": ball(GRID, 10, right)}).write(
        tmp_path
    )
    study, open_file = study_of(tmp_path)
    made = produce(study, measure_study(study, open_file), None, b.OPTIONS)
    lesions = made.report.subjects_of(Scope.LESION)
    assert [(s.segment.roi, s.segment.roi_name) for s in lesions if s.segment] == [(1, "GTV"), (2, "Tumour")]
    # what is written was held against the gate
    (document, *_) = b.rendered(made)
    ds = pydicom.dcmread(io.BytesIO(document.part10))
    assert parse(ds, load_template("baseline")) == made.report
    groups = groups_of(ds)
    assert [g.ContentTemplateSequence[0].TemplateIdentifier for g in groups] == ["1411", "1411"]
    found = [c for g in groups for c in g.ContentSequence if c.ValueType == "COMPOSITE"]
    assert [c.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for c in found] == [f"{ROOT}.8.1"] * 2
    assert [[t.TextValue for t in c.ContentSequence] for c in found] == [["1", "GTV"], ["2", "Tumour"]]
    comments = [
        c.TextValue for g in groups for c in g.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "121106"
    ]
    assert ["ROI 1 'GTV'" in comments[0], "ROI 2 'Tumour'" in comments[1]] == [True, True]
    evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert f"{ROOT}.8.1" in {o.ReferencedSOPInstanceUID for s in evidence for o in s.ReferencedSOPSequence}


def test_a_contoured_vein_names_its_roi_and_that_of_the_tumour(tmp_path: Path) -> None:
    ct = Ct(grid=GRID, hounsfield=np.full((20, 128, 128), 50.0))
    ct.write(tmp_path)
    planes = [float(GRID.position(at)[2]) for at in range(20)]
    vein = [circle(replace_x(GRID.centre, 30), 10, z) for z in planes]
    Contours(contours=ball(GRID, 22), ct=ct, name="GTV", further={"Inferior vena cava": vein}).write(tmp_path)
    study, open_file = study_of(tmp_path)
    made = produce(study, measure_study(study, open_file), None, b.OPTIONS)
    cava = made.report.subject("ves.ivc")
    assert cava is not None
    assert cava.segment is not None
    assert (cava.segment.roi, cava.segment.roi_name) == (2, "Inferior vena cava")
    (relation,) = made.report.answers_of("ves.relation", "ves.ivc")
    assert [(e.roi, e.roi_name) for e in relation.evidence if e.roi is not None] == [(1, "GTV")]
    (document, *_) = b.rendered(made)
    assert parse(pydicom.dcmread(io.BytesIO(document.part10)), load_template("baseline")) == made.report


def test_the_place_of_a_contoured_lesion_is_known(tmp_path: Path) -> None:
    left, right = (replace_x(GRID.centre, shift) for shift in (-22, 22))
    ct = Ct(grid=GRID, hounsfield=np.full((20, 128, 128), 50.0))
    ct.write(tmp_path)
    Contours(contours=ball(GRID, 14, left), ct=ct, name="GTV", further={"Tumour": ball(GRID, 10, right)}).write(
        tmp_path
    )
    study, open_file = study_of(tmp_path)
    marks = measure_study(study, open_file)
    found = places(draft(study, marks).subjects_of(Scope.LESION), study, marks)
    assert [round(p.position[0] - GRID.centre[0]) for p in found] == [-22, 22]


def test_a_real_study_with_contours_and_a_segmentation_of_one_tumour_has_one_lesion() -> None:
    found = read_folder(DATA / "sts_035")
    (study,) = found.studies
    report = draft(study, measure_study(study, found.open_file))
    (lesion,) = report.subjects_of(Scope.LESION)
    assert lesion.segment is not None
    assert numbers(report, "pet.suvbw")[:2] == [Decimal("14.1"), Decimal("4.8")]


def test_a_line_that_is_called_a_tumour_is_a_lesion_with_that_length(tmp_path: Path) -> None:
    ct = Ct(grid=GRID, hounsfield=np.full((20, 128, 128), 50.0))
    ct.write(tmp_path)
    Lines(ct=ct, at=10, lines=[(20.5, 20.5, 60.5, 20.5)], texts=["Tumour 40.0 mm"]).write(tmp_path)
    report = drafted(tmp_path)
    (answer,) = report.answers_of("sz.long_axis", "LMS-T1")
    assert (answer.values[0].number, answer.provenance) == (Decimal("40.0"), Provenance.MEASUREMENT_SR)  # type: ignore[union-attr]
    assert [e.points for e in answer.evidence] == [((20.5, 20.5), (60.5, 20.5))]


def test_what_nobody_named_is_offered(tmp_path: Path) -> None:
    ct = Ct(grid=GRID, hounsfield=np.full((20, 128, 128), 50.0))
    ct.write(tmp_path)
    Lines(ct=ct, at=10, lines=[(20.5, 20.5, 60.5, 20.5)]).write(tmp_path)
    Contours(contours=ball(GRID, 25), ct=ct, name="Liver tumor").write(tmp_path)
    report = drafted(tmp_path)
    assert report.subjects_of(Scope.LESION) == ()
    assert "Line 1 of a presentation state: 40.0 mm; what it measures is for the radiologist to say" in report.remarks
    assert (
        "ROI 1 'Liver tumor' was not measured: the label 'Liver tumor' may be a tumour, or what is meant by 'liver'; "
        "what it shows is for the radiologist to say"
    ) in report.remarks


def _phase(hounsfield: float, number: int, description: str, grid: Grid = GRID, **changes: Any) -> Ct:
    """Return a series of the frame of reference whose ball has one attenuation, with a rim of half of it below."""
    inside = GRID.voxels(ellipsoid(GRID.centre, (20, 20, 20)))
    values = np.where(inside, hounsfield, -1000.0)[:, : grid.rows, : grid.columns]

    def describe(ds: Dataset, _: int) -> None:
        ds.SeriesDescription = description
        for keyword, value in changes.items():
            setattr(ds, keyword, value)

    return Ct(grid=grid, hounsfield=values, series_uid=f"{ROOT}.2{number}", series_number=number, change=describe)


def test_what_a_lesion_measures_on_the_other_phases_stands_beside_it(tmp_path: Path) -> None:
    own = _phase(60, 2, "Abdomen portal venous")
    own.write(tmp_path)
    arterial = _phase(90, 3, "Abdomen arterial")
    arterial.write(tmp_path)
    _phase(35, 5, "Thin").write(tmp_path)
    # another patient position, and another grid: nothing to lay the segment over
    _phase(10, 6, "Elsewhere", FrameOfReferenceUID=f"{ROOT}.99").write(tmp_path)
    _phase(10, 7, "Smaller", grid=replace(GRID, spacing=(1.3, 1.3))).write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=GRID.voxels(ellipsoid(GRID.centre, (20, 20, 20))))], ct=own).write(tmp_path)
    report = drafted(tmp_path)
    assert numbers(report, "ct.hu")[0] == Decimal("60.0")
    (answer,) = report.answers_of("ct.hu_series", "LMS-T1")
    assert answer.values == (
        "Series 3 (arterial phase by its series description): mean 90.0 HU, SD 0.0, 10th percentile 90.0, median 90.0, 90th percentile 90.0",
        "Series 5: mean 35.0 HU, SD 0.0, 10th percentile 35.0, median 35.0, 90th percentile 35.0",
    )
    assert answer.status is Status.PROPOSED
    assert answer.provenance is Provenance.SEGMENTATION
    assert [e.series_instance_uid for e in answer.evidence] == [f"{ROOT}.23", f"{ROOT}.25"]
    # written, checked and read back with all its references
    done = offline.compose(Settings(), tmp_path, tmp_path / "out", now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    (written,) = (f for f in done.studies[0].files if f.name == "report.dcm")
    read = parse(dcmread(written), load_template("baseline"))
    assert read.answers_of("ct.hu_series", "LMS-T1") == report.answers_of("ct.hu_series", "LMS-T1")
    assert offline.problems_of(written) == ()


def test_the_other_phases_change_nothing_about_which_scan_is_compared(tmp_path: Path) -> None:
    own = _phase(60, 2, "Abdomen portal venous", KVP="120")
    own.write(tmp_path)
    _phase(90, 3, "Abdomen arterial", KVP="100").write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=GRID.voxels(ellipsoid(GRID.centre, (20, 20, 20))))], ct=own).write(tmp_path)
    report = drafted(tmp_path)
    then = replace(earlier(report, date="20250101"), study_instance_uid="1.9.1", reported=False)
    other = tuple(
        replace(a, values=(Quantity(number=Decimal(80), unit=a.values[0].unit),))
        if a.item == "tech.kvp" and isinstance(a.values[0], Quantity)
        else a
        for a in report.answers
    )
    compared = with_mismatches(replace(report, answers=other), load_template("baseline"), Clinical(), then)
    (lesion,) = compared.subjects_of(Scope.LESION)
    assert [r for r in lesion.remarks if "kV" in r] == [
        "Attenuation is not to be held against that of 2025-01-01: 120 kV then, 80 kV now"
    ]
