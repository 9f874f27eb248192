"""Which value wins when headers disagree, and what is said about it."""

from __future__ import annotations

import pytest

from service.errors import InputError
from service.model.code import Code
from service.model.study import Header, Instance, Request, Study
from service.read.headers import read_instance
from service.read.normalise import normalise
from tests.helpers import ROOT

CT, SEG, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"
_counter = iter(range(10**6))


def one(
    series: int = 1,
    sop_class: str = CT,
    *,
    header: Header | None = None,
    position: float | None = None,
    **elements: str,
) -> Instance:
    """Return an instance; keywords become header elements, but for InstanceNumber."""
    number = elements.pop("InstanceNumber", "")
    own = {"InstanceNumber": (number,)} if number else {}
    if position is not None:
        own["ImagePositionPatient"] = ("0", "0", str(position))
    elements.setdefault("Modality", "SEG" if sop_class == SEG else "CT")
    elements.setdefault("PatientID", "P1")
    return Instance(
        study_instance_uid="1.2",
        series_instance_uid=f"1.2.{series}",
        sop_instance_uid=f"1.2.{series}.{next(_counter)}",
        sop_class_uid=sop_class,
        transfer_syntax_uid="1.2.840.10008.1.2",
        header=header or Header(elements={k: tuple(v.split("\\")) for k, v in elements.items() if v}),
        own=own,
    )


def test_most_images_decide() -> None:
    study = normalise([one(StudyID="A"), one(StudyID="B"), one(StudyID="B"), one(StudyID="")])
    assert study.study_id == "B"
    assert study.problems == ("The headers disagree about study ID: the value of most images was taken",)


def test_of_equally_many_the_longest_then_the_first_decides() -> None:
    assert normalise([one(StudyID="B"), one(StudyID="AAA")]).study_id == "AAA"
    assert normalise([one(StudyID="B"), one(StudyID="A")]).study_id == "A"


def test_an_empty_value_never_wins() -> None:
    study = normalise([one(StudyID=""), one(StudyID=""), one(StudyID="A")])
    assert (study.study_id, study.problems) == ("A", ())


def test_images_win_over_objects_about_images() -> None:
    study = normalise([one(StudyID="IMAGE"), *(one(2, SEG, StudyID="SEG") for _ in range(5))])
    assert study.study_id == "IMAGE"


def test_objects_about_images_speak_where_images_say_nothing() -> None:
    assert normalise([one(StudyID=""), one(2, SEG, StudyID="SEG")]).study_id == "SEG"


def test_time_belongs_to_the_chosen_date() -> None:
    study = normalise(
        [
            one(StudyDate="20260301", StudyTime="0800"),
            one(StudyDate="20260301"),
            *(one(StudyDate=d, StudyTime="2300") for d in ("20250101", "20240101")),
        ]
    )
    assert (study.date, study.time) == ("20260301", "0800")


def test_values_that_are_none_are_left_out_and_said() -> None:
    study = normalise([one(StudyDate="20261399", StudyTime="9 o'clock", PatientBirthDate="unknown", PatientSex="male")])
    assert (study.date, study.time, study.patient.birth_date, study.patient.sex) == ("", "", "", "")
    assert study.problems == (
        "Not valid in some headers, and left out there: patient's birth date, patient's sex, study date, study time",
    )


def test_a_name_of_delimiters_is_an_empty_one() -> None:
    study = normalise([one(PatientName="^^^^", ReferringPhysicianName="^^=^")])
    assert (study.patient.name, study.referring_physician, study.problems) == ("", "", ())


@pytest.mark.parametrize(
    ("keyword", "written", "read"),
    [
        ("StudyDate", "2026.03.01", "20260301"),
        ("StudyTime", "10:15:30.12", "101530.12"),
        ("StudyTime", "10", "10"),
        ("StudyTime", "235960", "235960"),
    ],
)
def test_old_ways_to_write_dates_and_times_are_mended(keyword: str, written: str, read: str) -> None:
    study = normalise([one(**{keyword: written})])
    assert read in {study.date, study.time}
    assert study.problems == ()


def test_what_is_too_long_is_cut_and_said() -> None:
    study = normalise(
        [one(PatientID="9" * 70, StudyID="S" * 20, AccessionNumber="A" * 20, PatientName="F" * 70 + "^G=" + "K" * 70)]
    )
    assert (study.patient.patient_id, study.study_id, study.accession_number) == ("9" * 64, "S" * 16, "A" * 16)
    assert study.patient.name == "F" * 64 + "=" + "K" * 64
    assert study.problems == (
        "Longer than DICOM allows, and cut: accession number, patient ID, patient's name, study ID",
    )
    # whether it is one patient must not depend on what was cut off
    assert study.patient_ids == (("9" * 70, ""),)


def test_two_patient_ids_are_two_patients() -> None:
    study = normalise(
        [one(PatientID="P1", PatientName="A"), one(PatientID="P1"), one(PatientID="P2", PatientName="BB")]
    )
    assert study.patient_ids == (("P1", ""), ("P2", ""))
    assert "The headers name 2 patient IDs: the objects may belong to more than one patient" in study.problems
    assert (study.patient.patient_id, study.patient.name) == ("P1", "A")


def test_an_id_without_issuer_is_the_same_patient_as_with_one() -> None:
    study = normalise([one(PatientID="P1"), one(PatientID="P1", IssuerOfPatientID="HOSP")], default_issuer="SITE")
    assert study.patient_ids == (("P1", "HOSP"),)
    assert study.patient.issuer == "HOSP"


def test_one_id_of_two_issuers_is_two_patients() -> None:
    study = normalise([one(IssuerOfPatientID="A"), one(IssuerOfPatientID="B")])
    assert study.patient_ids == (("P1", "A"), ("P1", "B"))


def test_the_default_issuer_stands_in() -> None:
    study = normalise([one()], default_issuer="SITE")
    assert (study.patient.issuer, study.patient_ids) == ("SITE", (("P1", "SITE"),))


def test_a_missing_patient_id_is_said() -> None:
    study = normalise([one(PatientID="")])
    assert (study.patient.patient_id, study.patient_ids) == ("", ())
    assert study.problems == ("The patient ID is missing",)


@pytest.mark.parametrize(
    ("name", "charset", "problem"),
    [
        ("Müller", "", "no character set is declared"),
        ("M\N{REPLACEMENT CHARACTER}ller", "ISO_IR 192", "its character set does not hold"),
    ],
)
def test_a_name_that_may_be_misspelt_is_said(name: str, charset: str, problem: str) -> None:
    study = normalise([one(PatientName=name, SpecificCharacterSet=charset)])
    assert study.patient.name == name
    assert any(problem in p for p in study.problems)


def test_a_character_set_that_only_extensions_name_is_declared() -> None:
    study = normalise([one(PatientName="Yamada=山田", SpecificCharacterSet="\\ISO 2022 IR 87")])
    assert (study.patient.name, study.problems) == ("Yamada=山田", ())


def test_series_stand_by_number_then_uid() -> None:
    study = normalise([one(4), one(3, SeriesNumber="10"), one(2, SeriesNumber="9"), one(1), one(5, SeriesNumber="x")])
    assert [s.series_instance_uid for s in study.series] == ["1.2.2", "1.2.3", "1.2.1", "1.2.4", "1.2.5"]
    assert [s.number for s in study.series] == [9, 10, None, None, None]


def test_images_stand_along_the_normal_then_by_number() -> None:
    tags = {"ImageOrientationPatient": "1\\0\\0\\0\\1\\0"}
    images = [
        one(InstanceNumber="1", **tags),
        one(InstanceNumber="9", position=-3, **tags),
        one(InstanceNumber="2", position=4, **tags),
        one(InstanceNumber="1", position=4.001, **tags),
    ]
    (series,) = normalise(images).series
    assert [i.sop_instance_uid for i in series.instances] == [
        images[1].sop_instance_uid,
        images[3].sop_instance_uid,
        images[2].sop_instance_uid,
        images[0].sop_instance_uid,
    ]


def test_images_of_a_sagittal_stack_stand_from_right_to_left() -> None:
    tags = {"ImageOrientationPatient": "0\\1\\0\\0\\0\\-1"}
    images = [one(**tags) for _ in range(3)]
    placed = [
        Instance(**{**{f: getattr(i, f) for f in i.__slots__}, "own": {"ImagePositionPatient": (str(x), "0", "0")}})
        for i, x in zip(images, (5, -5, 0), strict=True)
    ]
    (series,) = normalise(placed).series
    # row y, column -z: the normal points to -x
    assert [i.own["ImagePositionPatient"][0] for i in series.instances] == ["5", "0", "-5"]


@pytest.mark.parametrize(
    ("declared", "sop_class", "modality", "said"),
    [
        ("", CT, "CT", "missing"),
        ("", "1.2.840.10008.5.1.4.1.1.6.1", "US", "missing"),
        ("", "9.9.9", "OT", "missing"),
        ("CT", SR, "SR", "not that of its objects"),
        ("ct", CT, "CT", ""),
    ],
)
def test_modality_is_mended_from_the_kind_of_object(declared: str, sop_class: str, modality: str, said: str) -> None:
    study = normalise([one(1, sop_class, Modality=declared)])
    assert study.series[0].modality == modality
    assert any(said in p for p in study.problems) if said else not study.problems


def test_a_series_speaks_with_the_header_that_most_of_its_images_have() -> None:
    (series,) = normalise([one(KVP="80", SeriesDescription="a"), one(KVP="120"), one(KVP="120")]).series
    assert series.header.text("KVP") == "120"
    assert series.description == "a"


def test_an_instance_that_came_twice_counts_once() -> None:
    first = one(StudyID="A")
    again = Instance(**{**{f: getattr(first, f) for f in first.__slots__}, "calling_ae": "OTHER"})
    study = normalise([first, again, again])
    assert len(study.instances) == 1


def request(number: str, **facts: object) -> Header:
    return Header(
        elements={"PatientID": ("P1",), "Modality": ("CT",)}, requests=(Request(accession_number=number, **facts),)
    )  # type: ignore[arg-type]


def test_each_accession_number_of_the_images_is_one_request() -> None:
    study = normalise(
        [
            one(header=request("A2", requested_procedure_id="R2")),
            one(header=request("A1")),
            one(header=request("A1", accession_issuer="RIS", requested_procedure_description="CT")),
            one(header=request("", requested_procedure_id="R9")),
            one(2, SEG, header=request("SEG")),
        ]
    )
    assert [(r.accession_number, r.accession_issuer) for r in study.requests] == [("A1", "RIS"), ("A2", "")]
    assert study.requests[0].requested_procedure_description == "CT"
    assert study.requests[1].requested_procedure_id == "R2"


def test_a_request_without_accession_number_stays_where_it_is_the_only_one() -> None:
    study = normalise([one(header=request("", requested_procedure_id="R9"))])
    assert [r.requested_procedure_id for r in study.requests] == ["R9"]


def test_procedure_codes_are_those_performed_each_once() -> None:
    def coded(**sequences: tuple[Code, ...]) -> Instance:
        return one(header=Header(elements={"Modality": ("CT",), "PatientID": ("P1",)}, codes=sequences))

    a, b, requested = Code("A", "99X", "a"), Code("B", "99X", "b"), Code("R", "99X", "r")
    study = normalise(
        [
            coded(ProcedureCodeSequence=(b,)),
            coded(ProcedureCodeSequence=(a,)),
            coded(ProcedureCodeSequence=(a,)),
            coded(RequestedProcedureCodeSequence=(requested,)),
        ]
    )
    assert study.procedure_codes == (a, b)
    assert normalise([coded(RequestedProcedureCodeSequence=(requested,))]).procedure_codes == (requested,)


def test_instances_of_two_studies_are_refused() -> None:
    other = Instance(**{**{f: getattr(one(), f) for f in Instance.__slots__}, "study_instance_uid": "1.9"})
    with pytest.raises(InputError, match="2 studies"):
        normalise([one(), other])
    with pytest.raises(InputError, match="no instances"):
        normalise([])


def real() -> Study:
    return normalise(read_instance(f) for f in (ROOT / "tests" / "data" / "sts_002").rglob("*.dcm"))


def test_a_real_untidy_study_reads() -> None:
    study = real()
    assert (study.patient.patient_id, study.patient.sex, study.date, study.time) == (
        "STS_002",
        "M",
        "20060128",
        "145427",
    )
    assert study.modalities == ("CT", "MR", "PT")
    assert study.study_id == "IBSI_1_STS_002_C"
    assert {r.accession_number for r in study.requests} == {"3912173256621705", "2347977897935741"}
    assert study.problems == (
        "The headers disagree about accession number, study ID, study description, study time: the value of most images was taken",
        "Longer than DICOM allows, and cut: study ID",
    )
    assert [s.date for s in study.series if s.modality == "MR"] == ["20060103"]
