"""What headers propose about how a study was acquired, and where they propose nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from service.flow.acquisition import sequences_of
from service.flow.context import Context
from service.flow.prefill_technique import TECHNIQUE_SOURCES
from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Scope, Status, Subject
from service.model.study import Header, Instance, Series, Study
from service.read.headers import read_instance
from service.read.normalise import normalise
from sr_templates import Item, load_codes, load_template
from tests import builders as b

DATA = Path(__file__).parent.parent / "data"


def item(key: str) -> Item:
    found = load_template("baseline").item(key)
    assert found is not None
    return found


def propose(name: str, key: str, of: Study, series: Series | None = None) -> tuple[Answer, ...]:
    """Return what the source ``name`` proposes for the item ``key``."""
    subject = None
    if series is not None:
        subject = Subject(key="Series 2", scope=Scope.SERIES)
    return TECHNIQUE_SOURCES[name](Context(study=of, device=b.DEVICE, series=series, subject=subject), item(key))


def about_series(name: str, key: str, series: Series) -> tuple[Answer, ...]:
    return propose(name, key, b.study(series), series)


def numbers(answers: tuple[Answer, ...]) -> list[Decimal | None]:
    return [v.number for a in answers for v in a.values if isinstance(v, Quantity)]


def codes(answers: tuple[Answer, ...]) -> set[str]:
    return {load_codes().key_of(v) or v.value for a in answers for v in a.values if isinstance(v, Code)}


def with_codes(series: Series, **found: tuple[Code, ...]) -> Series:
    return replace(series, header=replace(series.header, codes=found))


def acquired(series: Series, *times: str, keyword: str = "AcquisitionTime") -> Series:
    """Return the series with one acquisition time for each of its first images, and no further images."""
    instances = tuple(
        replace(i, own={**i.own, keyword: (t,)} if t else i.own) for i, t in zip(series.instances, times, strict=False)
    )
    return replace(series, instances=instances)


def real_pet(name: str) -> Study:
    return normalise(read_instance(p) for p in sorted((DATA / name / "PET").glob("0*.dcm")))


def test_every_source_is_named_by_an_item_and_the_other_way_round():
    template = load_template("baseline")
    named = {p for i in template for p in i.prefill}
    assert set(TECHNIQUE_SOURCES) <= named


# contrast agent


@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("Ultravist 370", {"contrast.iodinated_nonionic"}),
        ("OMNIPAQUE-350", {"contrast.iodinated_nonionic"}),
        ("Gadovist 1.0", {"contrast.gadolinium"}),
        ("APPLIED", set()),
        ("none", set()),
        ("", set()),
    ],
)
def test_a_contrast_agent_is_known_by_its_name_only(text, agent):
    study = b.study(b.series(2, ContrastBolusAgent=text))
    assert codes(propose("contrast_agent", "tech.contrast_agent", study)) == agent


def test_a_coded_contrast_agent_passes_through():
    agent = Code("353962003", "SCT", "Iodixanol")
    series = with_codes(b.series(2, ContrastBolusAgent="Ultravist"), ContrastBolusAgentSequence=(agent,))
    (answer,) = propose("contrast_agent", "tech.contrast_agent", b.study(series))
    assert answer.values == (agent,)
    assert (answer.status, answer.provenance) == (Status.PROPOSED, Provenance.DICOM)


def test_a_contrast_agent_code_too_long_for_an_sr_is_left_out():
    series = with_codes(b.series(2), ContrastBolusAgentSequence=(Code("12345678901234567", "99SITE", "Agent"),))
    assert propose("contrast_agent", "tech.contrast_agent", b.study(series)) == ()


def test_oral_contrast_is_no_intravenous_agent():
    study = b.study(b.series(2, ContrastBolusAgent="Omnipaque 300", ContrastBolusRoute="ORAL"))
    assert propose("contrast_agent", "tech.contrast_agent", study) == ()


# delay


@pytest.mark.parametrize(
    ("start", "times", "seconds"),
    [
        ("101500", ("101612.5", "101610"), [Decimal(70)]),
        ("235930", ("000040",), [Decimal(70)]),
        ("101500.00", ("101455",), []),  # the unenhanced series
        ("101500", ("114500",), []),  # 90 minutes: another injection
        ("", ("101610",), []),
        ("10", ("101610",), []),
        ("101500", ("",), []),
    ],
)
def test_delay_is_bolus_start_to_first_acquisition(start, times, seconds):
    series = acquired(b.series(2, ContrastBolusStartTime=start), *times)
    assert numbers(about_series("contrast_delay", "tech.contrast_delay", series)) == seconds


def test_a_series_over_midnight_begins_before_it():
    series = acquired(b.series(2, ContrastBolusStartTime="235800"), "235930", "000005")
    before, after = series.instances
    dated = (
        replace(before, header=Header(elements={"AcquisitionDate": ("20260301",)})),
        replace(after, header=Header(elements={"AcquisitionDate": ("20260302",)})),
    )
    found = about_series("contrast_delay", "tech.contrast_delay", replace(series, instances=dated))
    assert numbers(found) == [Decimal(90)]


# reconstruction, field strength, pulse sequence


def test_reconstruction_names_algorithm_and_kernel():
    series = b.series(2, ReconstructionAlgorithm="ITERATIVE")
    series = replace(series, header=Header(elements={**series.header.elements, "ConvolutionKernel": ("Br40d", "3")}))
    (answer,) = about_series("reconstruction", "tech.recon_alg", series)
    assert answer.values == ("iterative, kernel Br40d 3",)
    assert answer.status is Status.AUTOMATIC


@pytest.mark.parametrize("name", ["reconstruction", "field_strength", "pulse_sequence", "b_values"])
def test_a_silent_header_or_another_modality_gives_nothing(name):
    key = next(i.key for i in load_template("baseline") if name in i.prefill)
    assert about_series(name, key, b.series(2)) == ()
    assert about_series(name, key, b.series(2, modality="MR")) == ()
    full = {
        "MagneticFieldStrength": "1.5",
        "SequenceName": "*tse2d1",
        "DiffusionBValue": "800",
        "ConvolutionKernel": "B31f",
    }
    assert about_series(name, key, b.series(2, modality="US", **full)) == ()


@pytest.mark.parametrize(
    ("written", "tesla"), [("1.5", [Decimal("1.50")]), ("0.55", [Decimal("0.55")]), ("15000", []), ("0", []), ("x", [])]
)
def test_field_strength_in_tesla_and_never_in_gauss(written, tesla):
    series = b.series(2, modality="MR", MagneticFieldStrength=written)
    assert numbers(about_series("field_strength", "tech.field_strength", series)) == tesla


def test_the_pulse_sequence_name_comes_before_the_sequence_name():
    series = b.series(2, modality="MR", PulseSequenceName="epfid2d1_128", SequenceName="*epfid2d1")
    (answer,) = about_series("pulse_sequence", "tech.pulse_seq", series)
    assert answer.values == ("epfid2d1_128",)
    (answer,) = about_series("pulse_sequence", "tech.pulse_seq", b.series(2, modality="MR", SequenceName="*tse2d1_15"))
    assert answer.values == ("*tse2d1_15",)


# b-values


def diffusion(*values: str) -> Series:
    """Return an MR series whose images have these b-values in turn."""
    series = b.series(4, images=2 * len(values), modality="MR", description="ep2d diff")
    headers = [Header(elements={"DiffusionBValue": (v,)}) for v in values]
    instances = tuple(replace(i, header=headers[n % len(values)]) for n, i in enumerate(series.instances))
    return replace(series, header=headers[0], instances=instances)


def test_b_values_of_all_images_each_once_and_in_order():
    (answer,) = about_series("b_values", "tech.bvalue", diffusion("800", "0", "50"))
    assert numbers((answer,)) == [Decimal(0), Decimal(50), Decimal(800)]
    assert answer.status is Status.PROPOSED


@pytest.mark.parametrize("values", [("0", "50000"), ("0", "many")])
def test_b_values_with_a_hole_are_not_proposed(values):
    assert about_series("b_values", "tech.bvalue", diffusion(*values)) == ()


# MR sequences


@pytest.mark.parametrize(
    ("series", "kinds"),
    [
        (b.series(2, modality="MR", description="T2 TSE ax"), {"seq.t2"}),
        (b.series(2, modality="MR", description="t1_vibe_fs_tra"), {"seq.t1"}),
        (b.series(2, modality="MR", description="T1 dyn post Gd"), {"seq.t1", "seq.dce"}),
        (b.series(2, modality="MR", description="T1 opposed phase"), {"seq.t1", "seq.outphase"}),
        (b.series(2, modality="MR", description="T2* map"), set()),
        (b.series(2, modality="MR", description="T2* GRE"), set()),
        (b.series(2, modality="MR", description="localizer"), set()),
        (b.series(2, modality="MR", AcquisitionContrast="T1"), {"seq.t1"}),
        (b.series(2, modality="MR", description="T2 ep2d_diff ADC"), {"seq.adc"}),
        (b.series(2, modality="MR", ScanningSequence="SE", EchoTime="12", RepetitionTime="520"), {"seq.t1"}),
        (b.series(2, modality="MR", ScanningSequence="SE", EchoTime="96", RepetitionTime="4200"), {"seq.t2"}),
        (b.series(2, modality="MR", ScanningSequence="SE", EchoTime="30", RepetitionTime="2500"), set()),
        (b.series(2, modality="MR", ScanningSequence="GR", EchoTime="4", RepetitionTime="120"), set()),
        (diffusion("0", "800"), {"seq.dwi"}),
        (diffusion("0"), set()),
    ],
)
def test_kinds_of_an_mr_series(series, kinds):
    assert sequences_of(series) == kinds


def test_image_type_tells_the_adc_map_from_its_source():
    header = Header(elements={"ImageType": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), "DiffusionBValue": ("800",)})
    series = b.series(2, modality="MR")
    instances = tuple(replace(i, header=header) for i in series.instances)
    assert sequences_of(replace(series, header=header, instances=instances)) == {"seq.adc"}


def test_mr_sequences_of_the_study_in_the_order_of_the_item():
    study = b.study(
        diffusion("0", "800"),
        b.series(2, modality="MR", description="T2 TSE"),
        b.series(3, description="T1 nothing, since it is CT"),
    )
    (answer,) = propose("mr_sequence", "tech.mr_sequence", study)
    assert answer.values == (load_codes()["seq.t2"], load_codes()["seq.dwi"])
    assert answer.subject == ""


def test_a_real_mr_series_without_times_suggests_only_what_its_texts_say():
    study = normalise([read_instance(DATA / "sts_002" / "MR_T1" / "000010.dcm")])
    assert codes(propose("mr_sequence", "tech.mr_sequence", study)) == {"seq.t1"}
    (series,) = study.images
    assert propose("field_strength", "tech.field_strength", study, series) == ()


# PET


def pet(*times: str, number: int = 7, **elements: str) -> Series:
    return acquired(b.series(number, images=len(times), modality="PT", **elements), *times)


def test_a_real_pet_header_gives_tracer_activity_uptake_and_normalisation():
    # 433 344 096 Bq; injected 13:51:00, acquired 14:57:59; its start date and time is one day late, which nothing rests on
    study = real_pet("sts_002")
    assert codes(propose("pet_agent", "tech.pet_agent", study)) == {"tech.fdg"}
    assert numbers(propose("pet_activity", "tech.pet_activity", study)) == [Decimal("433.3")]
    assert numbers(propose("pet_uptake", "tech.pet_uptake", study)) == [Decimal(67)]
    (answer,) = propose("suv_method", "tech.suv_method", study)
    assert answer.values == ("body weight",)
    assert (answer.status, answer.provenance) == (Status.PROPOSED, Provenance.DICOM)


def test_the_activity_of_a_second_real_header():
    assert numbers(propose("pet_activity", "tech.pet_activity", real_pet("sts_035"))) == [Decimal("405.6")]


@pytest.mark.parametrize(
    ("becquerels", "mbq"),
    [("4.05624E8", [Decimal("405.6")]), ("370", []), ("0", []), ("", []), ("nan", []), ("3e9", []), ("-3.7e8", [])],
)
def test_activity_from_becquerels_where_that_is_an_examination(becquerels, mbq):
    study = b.study(pet("101500", RadionuclideTotalDose=becquerels))
    assert numbers(propose("pet_activity", "tech.pet_activity", study)) == mbq


def test_series_that_disagree_about_the_activity_propose_none():
    study = b.study(
        pet("101500", RadionuclideTotalDose="3.7e8"), pet("101500", number=8, RadionuclideTotalDose="3.1e8")
    )
    assert propose("pet_activity", "tech.pet_activity", study) == ()


@pytest.mark.parametrize(
    ("elements", "times", "minutes"),
    [
        ({"RadiopharmaceuticalStartTime": "090000"}, ("100500", "100130"), [Decimal(62)]),
        ({"RadiopharmaceuticalStartTime": "233000"}, ("003000",), [Decimal(60)]),
        ({"RadiopharmaceuticalStartDateTime": "20260301090000.00"}, ("100000",), [Decimal(60)]),
        # the offset may not be that of the acquisition time
        ({"RadiopharmaceuticalStartDateTime": "20260301090000+0100"}, ("100000",), []),
        (
            {"RadiopharmaceuticalStartTime": "090000", "RadiopharmaceuticalStartDateTime": "20260301080000"},
            ("100000",),
            [],
        ),
        ({"RadiopharmaceuticalStartTime": "100000"}, ("090000",), []),  # acquired before the injection
        ({"RadiopharmaceuticalStartTime": "090000"}, ("150000",), []),  # beyond 240 minutes
        ({"RadiopharmaceuticalStartTime": "noon"}, ("100000",), []),
        ({"RadiopharmaceuticalStartTime": "090000"}, ("",), []),
        ({}, ("100000",), []),
    ],
)
def test_uptake_from_injection_to_first_acquisition(elements, times, minutes):
    study = b.study(pet(*times, **elements))
    assert numbers(propose("pet_uptake", "tech.pet_uptake", study)) == minutes


def test_uptake_ends_with_the_first_of_several_series():
    start = {"RadiopharmaceuticalStartTime": "090000"}
    study = b.study(pet("113000", number=8, **start), pet("100000", **start))
    assert numbers(propose("pet_uptake", "tech.pet_uptake", study)) == [Decimal(60)]


def test_uptake_reads_acquisition_date_times_too():
    series = b.series(7, images=1, modality="PT", RadiopharmaceuticalStartTime="090000")
    series = acquired(series, "20260301101000.00+0100", keyword="AcquisitionDateTime")
    assert numbers(propose("pet_uptake", "tech.pet_uptake", b.study(series))) == [Decimal(70)]


@pytest.mark.parametrize(
    ("elements", "method"),
    [
        ({"Units": "GML", "SUVType": "BW"}, "body weight"),
        ({"Units": "GML"}, "body weight"),
        ({"Units": "GML", "SUVType": "LBM"}, "lean body mass"),
        ({"Units": "CM2ML", "SUVType": "BSA"}, "body surface area"),
        ({"Units": "CM2ML"}, None),
        ({"Units": "GML", "SUVType": "OTHER"}, None),
        ({"Units": "BQML", "SUVType": "BW"}, None),
        ({}, None),
    ],
)
def test_normalisation_is_stated_by_units_and_type(elements, method):
    found = propose("suv_method", "tech.suv_method", b.study(pet("101500", **elements)))
    assert [a.values for a in found] == ([(method,)] if method else [])


def test_another_tracer_passes_through_and_an_unknown_text_is_none():
    fluoride = Code("129501009", "SCT", "Sodium fluoride F^18^")
    coded = with_codes(pet("101500"), RadiopharmaceuticalCodeSequence=(fluoride,))
    assert propose("pet_agent", "tech.pet_agent", b.study(coded))[0].values == (fluoride,)
    assert propose("pet_agent", "tech.pet_agent", b.study(pet("101500", Radiopharmaceutical="Tracer X"))) == ()
    named = b.study(pet("101500", Radiopharmaceutical="18F-FDG"))
    assert codes(propose("pet_agent", "tech.pet_agent", named)) == {"tech.fdg"}


def test_a_study_without_pet_proposes_nothing_about_it():
    for name, key in (
        ("pet_agent", "tech.pet_agent"),
        ("pet_activity", "tech.pet_activity"),
        ("pet_uptake", "tech.pet_uptake"),
        ("suv_method", "tech.suv_method"),
    ):
        assert propose(name, key, b.study()) == ()


# spacing


def stack(*depths: float, orientation: tuple[str, ...] = ("1", "0", "0", "0", "1", "0"), **elements: str) -> Series:
    """Return axial images at these depths in mm."""
    header = Header(elements={"ImageOrientationPatient": orientation, **{k: (v,) for k, v in elements.items()}})
    series = b.series(2, images=len(depths))
    instances = tuple(
        replace(i, header=header, own={"ImagePositionPatient": ("-150", "-150", str(d))})
        for i, d in zip(series.instances, depths, strict=True)
    )
    return replace(series, header=header, instances=instances)


def spacing(series: Series) -> list[Decimal | None]:
    return numbers(about_series("spacing_between_slices", "tid.slice_spacing", series))


def test_spacing_comes_from_positions_and_not_from_the_headers_own_statement():
    assert spacing(stack(*(1.25 * n for n in range(9)), SpacingBetweenSlices="5")) == [Decimal("1.25")]


def test_spacing_of_an_oblique_stack_runs_along_the_normal():
    # rows along x, columns halfway between y and z: z alone would say 3.54
    series = stack(0, 0, 0, orientation=("1", "0", "0", "0", "0.70710678", "0.70710678"))
    step = 5 * 0.70710678
    instances = tuple(
        replace(i, own={"ImagePositionPatient": ("0", str(-step * n), str(step * n))})
        for n, i in enumerate(series.instances)
    )
    assert spacing(replace(series, instances=instances)) == [Decimal("5.00")]


def test_images_at_one_place_count_once():
    assert spacing(stack(0, 0, 2, 2, 4, 4, 6, 6)) == [Decimal("2.00")]


@pytest.mark.parametrize(
    "series",
    [
        stack(0, 5),
        stack(0, 1, 5, 7, 20),
        stack(0, 20, 40, 60),  # beyond the range of the item
        stack(0, 2, 4, orientation=("1", "0", "0")),
        stack(0, 2, 4, orientation=("1", "0", "0", "0", "1", "x")),
        b.series(2, images=3),
    ],
    ids=["two", "unequal", "too wide", "half an orientation", "no number", "no position"],
)
def test_spacing_is_not_guessed(series):
    assert spacing(series) == []


def test_planes_that_are_not_parallel_have_no_spacing():
    series = stack(0, 2, 4)
    other = Header(elements={"ImageOrientationPatient": ("0", "1", "0", "0", "0", "-1")})
    instances: tuple[Instance, ...] = (*series.instances[:2], replace(series.instances[2], header=other))
    assert spacing(replace(series, instances=instances)) == []


def test_a_multi_frame_image_has_no_spacing_here():
    series = stack(0, 2, 4)
    first = series.instances[0]
    framed = replace(first, own={**first.own, "LastImagePositionPatient": ("-150", "-150", "60")})
    assert spacing(replace(series, instances=(framed, *series.instances[1:]))) == []


# institution


def test_the_institution_is_proposed_and_cut_to_its_length():
    (answer,) = propose("institution", "tid.person_observer_org", b.study(institution="  Klinikum   Nord " + "x" * 80))
    assert isinstance(answer.values[0], str)
    assert answer.values[0].startswith("Klinikum Nord x")
    assert len(answer.values[0]) == 64
    assert answer.status is Status.PROPOSED
    assert propose("institution", "tid.person_observer_org", b.study(institution=" ")) == ()
