"""A study is the same value whatever the order of arrival, and whatever is missing, empty, too long or wrong in its headers."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from service.model.code import Code
from service.model.study import Header, Instance, Request, Study
from service.read.facts_json import header_from_json, header_to_json
from service.read.headers import read_instance
from service.read.normalise import normalise
from tests.helpers import ROOT

CT, MR, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.66.4"
#: what the standard allows for each, at most
LIMITS = {"PatientID": 64, "AccessionNumber": 16, "StudyID": 16}

texts = st.sampled_from(
    ["", "A", "B", "ä" * 80, "1" * 17, "x" * 300, " \t", "Müller^Jörg=山田", "a\\b", "^^^^^^=====", "0"]
)
values = {
    "PatientID": texts,
    "PatientName": texts,
    "PatientBirthDate": st.sampled_from(["", "19600101", "1960.01.01", "19601301", "yesterday"]),
    "PatientSex": st.sampled_from(["", "M", "f", "X", "male"]),
    "AccessionNumber": texts,
    "StudyID": texts,
    "StudyDate": st.sampled_from(["", "20260301", "20260302", "2026-03-01", "31.3.2026"]),
    "StudyTime": st.sampled_from(["", "1015", "10:15:30", "250000", "101530.1234567"]),
    "SpecificCharacterSet": st.sampled_from(["", "ISO_IR 192", "nonsense"]),
    "Modality": st.sampled_from(["", "CT", "ct", "SEG", "SR"]),
    "SeriesNumber": st.sampled_from(["", "2", "2.0", "-1", "two"]),
    "StudyDescription": texts,
    "IssuerOfPatientID": st.sampled_from(["", "HOSP", "OTHER"]),
    "ImageOrientationPatient": st.sampled_from(["", "1\\0\\0\\0\\1\\0", "1\\0"]),
}
codes = st.sampled_from([Code("A", "99X", "a"), Code("A", "99X", "other wording"), Code("B", "99X", "b")])
requests = st.builds(
    Request, accession_number=texts, requested_procedure_description=texts, requested_procedure_code=st.none() | codes
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    elements = {}
    for keyword, strategy in values.items():
        if draw(st.booleans()):
            text = draw(strategy)
            split = tuple(text.split("\\"))
            if any(split):
                elements[keyword] = split
    return Header(
        elements=elements,
        codes={"ProcedureCodeSequence": tuple(draw(st.lists(codes, max_size=2)))},
        requests=tuple(draw(st.lists(requests, max_size=2))),
    )


@st.composite
def studies(draw: st.DrawFn) -> list[Instance]:
    pool = draw(st.lists(headers(), min_size=1, max_size=4))
    instances = []
    for number in range(draw(st.integers(1, 8))):
        position = draw(st.sampled_from([(), ("0", "0", "1.5"), ("0", "0", "1.50"), ("0", "x", "1"), ("0", "0", "-7")]))
        instances.append(
            Instance(
                study_instance_uid="1.2.3",
                series_instance_uid=f"1.2.3.{draw(st.integers(1, 3))}",
                sop_instance_uid=f"1.2.3.9.{draw(st.integers(0, number))}",  # now and then twice the same
                sop_class_uid=draw(st.sampled_from([CT, MR, SEG, "1.2.3.4.5"])),
                transfer_syntax_uid="1.2.840.10008.1.2",
                header=draw(st.sampled_from(pool)),
                own={"ImagePositionPatient": position, "InstanceNumber": (str(draw(st.integers(0, 3))),)}
                if position
                else {},
                received_at=draw(st.none() | st.just(dt.datetime(2026, 3, 1, tzinfo=dt.UTC))),
                calling_ae=draw(st.sampled_from(["", "CT1", "PACS"])),
                path=f"f{number}",
            )
        )
    return instances


def check(study: Study) -> None:
    """Check that ``study`` keeps what DICOM allows."""
    assert len(study.patient.patient_id) <= LIMITS["PatientID"]
    assert len(study.accession_number) <= LIMITS["AccessionNumber"]
    assert len(study.study_id) <= LIMITS["StudyID"]
    assert len(study.patient.name.split("=")) <= 3
    assert all(len(group) <= 64 for group in study.patient.name.split("="))
    assert study.patient.sex in {"", "M", "F", "O"}
    for date in (study.date, study.patient.birth_date):
        assert not date or dt.date.fromisoformat(date)
    assert not study.time or study.time.partition(".")[0].isdigit()
    assert all(r.accession_number or len(study.requests) == 1 for r in study.requests)
    uids = [i.sop_instance_uid for i in study.instances]
    assert len(set(uids)) == len(uids)


@given(studies(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(instances: list[Instance], chance: random.Random) -> None:
    study = normalise(instances, default_issuer="SITE")
    check(study)
    shuffled = list(instances)
    chance.shuffle(shuffled)
    assert normalise(shuffled, default_issuer="SITE") == study
    # headers that were stored and read back one by one are equal, but not the same objects
    apart = [replace(i, header=header_from_json(header_to_json(i.header))) for i in shuffled]
    assert normalise(apart, default_issuer="SITE") == study


@given(studies())
def test_problems_quote_no_value(instances: list[Instance]) -> None:
    secrets = {"ä" * 16, "1" * 16, "x" * 16, "Müller", "yesterday", "31.3.2026", "nonsense"}
    said = " ".join(normalise(instances).problems)
    assert not any(s in said for s in secrets)


REAL = [read_instance(f, path=f.name) for f in sorted((ROOT / "tests" / "data" / "sts_002").rglob("*.dcm"))]


@given(st.permutations(REAL))
def test_a_real_untidy_study_is_the_same_in_every_order(instances: list[Instance]) -> None:
    assert normalise(instances) == normalise(REAL)


@given(
    st.sampled_from([i for i in REAL if i.header.text("Modality") in {"CT", "MR", "PT"}]),
    st.dictionaries(
        st.sampled_from(
            [
                "PatientID",
                "PatientBirthDate",
                "PatientSex",
                "AccessionNumber",
                "StudyID",
                "StudyDate",
                "StudyTime",
                "PatientName",
                "SpecificCharacterSet",
            ]
        ),
        st.sampled_from([(), ("",), ("x" * 500,), ("\N{REPLACEMENT CHARACTER}",), ("a", "b")]),
    ),
)
def test_a_missing_or_impossible_value_stops_nothing(instance: Instance, changes: dict[str, tuple[str, ...]]) -> None:
    elements = {**instance.header.elements, **changes}
    study = normalise([replace(instance, header=replace(instance.header, elements=elements))])
    check(study)
    assert bool(study.patient.patient_id) == any(t for t in elements.get("PatientID", ())[:1])
