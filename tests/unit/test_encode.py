"""The SR that a report becomes: flags, order, words, references."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from service.errors import GateError, InputError
from service.flow.derive import derive
from service.flow.produce import ENHANCED_SR, SR_CLASSES, produce, series_uid, spacings
from service.flow.signing import observed
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Answer, PersonName, Provenance, Quantity, Scope, Status
from service.model.signing import Person
from service.model.uids import is_uid
from service.sr import evidence, gate, items, tree, words
from service.sr.companion import companion as companion_tree
from service.sr.encode import Presentation, encode
from service.sr.groups import SCOPES
from service.sr.parse import parse
from service.sr.render import as_html, as_text
from sr_templates import load_codes, load_template, template_names
from sr_templates.order import canonical
from sr_templates.questions import completeness
from tests import builders as b
from tests.filled import confirmed, filled
from tests.plain_items import plainly, written


def dataset(rendition) -> Dataset:
    return pydicom.dcmread(io.BytesIO(rendition.part10))


@pytest.fixture(scope="module")
def pair():
    return b.rendered()


@pytest.fixture(scope="module")
def sr(pair) -> Dataset:
    return dataset(pair[0])


@pytest.fixture(scope="module")
def companion(pair) -> Dataset:
    return dataset(pair[1])


def names(item) -> list[str]:
    return [c.ConceptNameCodeSequence[0].CodeMeaning for c in item.get("ContentSequence", [])]


def test_a_draft_never_looks_signed(sr, companion):
    for ds in (sr, companion):
        assert (ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag) == ("PARTIAL", "UNVERIFIED", "PRELIMINARY")
        assert "VerifyingObserverSequence" not in ds


def test_what_is_known_comes_first_and_no_section_is_empty(sr):
    tops = names(sr)
    assert tops[-3:] == ["Image Library", "Imaging Measurements", "Report template"]
    assert (
        tops.index("Summary (automatic, not verified)") < tops.index("Open items") < tops.index("Clinical Information")
    )
    assert "Impressions" not in tops
    assert gate.document_problems(sr) == []


def test_patient_and_order_are_the_studys(sr):
    assert (str(sr.PatientName), sr.PatientID, sr.IssuerOfPatientID) == ("Müller^Jörg", "P-1", "HOSPITAL")
    assert sr.SpecificCharacterSet == "ISO_IR 192"
    assert [r.AccessionNumber for r in sr.ReferencedRequestSequence] == ["A123"]
    assert sr.StudyInstanceUID == b.STUDY_UID


def test_our_times_carry_their_offset_and_no_other_local_time_is_copied(sr):
    assert (sr.ContentDate, sr.ContentTime, sr.TimezoneOffsetFromUTC) == ("20260301", "102000", "+0000")
    for keyword in ("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime"):
        assert keyword not in sr


def test_the_private_scheme_is_identified(sr):
    (scheme,) = sr.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99LMSSR"
    assert is_uid(scheme.CodingSchemeUID)


def test_every_instance_of_the_study_is_evidence(sr):
    (item,) = sr.CurrentRequestedProcedureEvidenceSequence
    listed = {
        s.ReferencedSOPInstanceUID for series in item.ReferencedSeriesSequence for s in series.ReferencedSOPSequence
    }
    assert listed == {i.sop_instance_uid for i in b.study().instances}


def test_evidence_written_fast_equals_evidence_written_plainly():
    references = [
        Reference(
            sop_class_uid=b.CT_IMAGE, sop_instance_uid=f"1.2.{s}.{i}{'1' * (i % 3)}", series_instance_uid=f"1.2.{s}"
        )
        for s in range(3)
        for i in range(7)
    ]
    plain = Dataset()
    plain.CurrentRequestedProcedureEvidenceSequence = [evidence.plain("1.2", references)]
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, plain, implicit_vr=False, little_endian=True)
    assert buffer.getvalue() == evidence.current_evidence("1.2", references[::-1])
    again = pydicom.dcmread(io.BytesIO(buffer.getvalue()), force=True)
    assert evidence.listed(again) == evidence.listed(plain)
    assert len(evidence.listed(again)) == 21


def test_the_companion_names_the_report_as_evidence_and_never_as_predecessor(pair, companion):
    listed = {
        s.ReferencedSOPInstanceUID
        for study in companion.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for s in series.ReferencedSOPSequence
    }
    assert pair[0].sop_instance_uid in listed
    assert "PredecessorDocumentsSequence" not in companion


def test_the_companion_holds_lines_and_numbers_that_agree(companion):
    (measurements,) = [c for c in companion.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "126010"]
    (group,) = measurements.ContentSequence
    assert names(group)[:3] == ["Comment", "Tracking Identifier", "Tracking Unique Identifier"]
    assert group.ContentSequence[0].TextValue == "DRAFT, proposed: LMS-T1 80 x 64 mm"
    numbers = [c for c in group.ContentSequence if c.ValueType == "NUM"]
    assert [n.ConceptNameCodeSequence[0].CodeMeaning for n in numbers] == ["Long Axis", "Short Axis"]
    for number in numbers:
        (graphic,) = number.ContentSequence
        x0, y0, x1, y1 = graphic.GraphicData
        drawn = b.length(b.line((x0, y0), (x1, y1)))
        assert drawn == pytest.approx(float(number.MeasuredValueSequence[0].NumericValue), abs=0.06)


def test_a_number_that_was_changed_without_its_line_leaves_the_companion():
    segment = b.tumour()
    changed = tuple(replace(m, value=m.value + 5) if m.name == "sz.long_axis" else m for m in segment.measurements)
    assert len(b.rendered(b.produced(b.study(), replace(segment, measurements=changed)))) == 1


def test_tracking_identifiers_follow_the_destinations_profile():
    def tracking(rendition) -> str:
        groups = [
            g for c in dataset(rendition).ContentSequence for g in c.get("ContentSequence", []) if "Comment" in names(g)
        ]
        return next(
            c.TextValue for c in groups[0].ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "112039"
        )

    assert tracking(b.rendered()[1]) == "LMS-T1"
    ohif = b.rendered(profile="ohif")
    assert tracking(ohif[1]) == "Cornerstone3DTools@^0.1.0:Bidirectional LMS-T1"
    assert ohif[1].sop_instance_uid != b.rendered()[1].sop_instance_uid
    assert ohif[0].sop_instance_uid == b.rendered()[0].sop_instance_uid


def test_the_same_facts_give_the_same_bytes_and_another_version_another_uid():
    assert b.rendered() == b.rendered()
    assert b.rendered(version=2)[0].sop_instance_uid != b.rendered()[0].sop_instance_uid
    assert b.rendered(version=2)[0].series_instance_uid == b.rendered()[0].series_instance_uid


def test_a_new_version_names_what_it_replaces(pair):
    before = Reference(
        sop_class_uid=pair[0].sop_class_uid,
        sop_instance_uid=pair[0].sop_instance_uid,
        series_instance_uid=pair[0].series_instance_uid,
    )
    ds = dataset(b.rendered(version=2, predecessors={"report": (before,)})[0])
    (study,) = ds.PredecessorDocumentsSequence
    assert (
        study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == pair[0].sop_instance_uid
    )
    assert ds.InstanceNumber == 2


@pytest.mark.parametrize("sop_class", SR_CLASSES)
def test_every_class_of_the_ladder_can_hold_report_and_companion(sop_class):
    for rendition in b.rendered(sop_class_uid=sop_class):
        assert gate.document_problems(dataset(rendition)) == []
        assert dataset(rendition).SOPClassUID == sop_class


def test_without_a_segmentation_the_report_says_so_and_has_no_companion():
    (only,) = b.rendered(replace(b.produced(), report=b.report(b.study(b.ct_series())), study=b.study(b.ct_series())))
    ds = dataset(only)
    assert names(ds)[-2:] == ["Qualitative Evaluations", "Report template"]
    assert "No segmentation of a tumour" in as_text(ds)


def test_our_own_objects_are_no_evidence_of_themselves():
    ours = b.rendered()[0]
    came_back = replace(
        b.segmentation_series(),
        modality="SR",
        series_instance_uid=ours.series_instance_uid,
        instances=(replace(b.instance(5, 1), sop_instance_uid=ours.sop_instance_uid),),
    )
    again = b.study(b.ct_series(), b.segmentation_series(), came_back)
    options = replace(b.OPTIONS, ours=frozenset({ours.sop_instance_uid}))

    produced = produce(again, (b.tumour(),), None, options)
    assert produced.content_hash == b.produced().content_hash
    assert b.rendered(produced) == b.rendered()


def test_series_uids_are_one_for_all_versions_and_differ_by_kind():
    uids = {series_uid(b.OPTIONS, b.STUDY_UID, kind) for kind in ("report", "companion")}
    assert len(uids) == 2
    assert all(is_uid(u) for u in uids)


class TestText:
    def test_reads_like_a_report(self, sr):
        text = as_text(sr)
        assert text.startswith("Oncology Measurement Report  [PRELIMINARY, PARTIAL, UNVERIFIED]")
        assert (
            "DRAFT, NOT VERIFIED. Segmented right mass, LMS-T1: 134 x 112 x 87 mm (CC x TR x AP), 684 mL (proposed from the segmentation)."
            in text
        )
        assert "2.25." not in text
        assert "(no name)" not in text

    def test_a_group_opens_with_what_viewers_hide_below_its_items(self, sr):
        (comment,) = [t for t in as_text(sr).splitlines() if t.strip().startswith("Comment: ")]
        assert comment.strip() == (
            "Comment: LMS-T1, proposed from the segmentation and by a rule, not confirmed: Mass, right · "
            "Long axis: 80 mm (axial, slice 14) · Short axis: 64 mm · Extent (CC x TR x AP): 134 x 112 x 87 mm · "
            "Volume: 684 mL (voxel count of segment 'Tumour') · Mean attenuation: 61 HU, SD 24 (portal venous) · "
            "Part below 30 HU: 22 % · Clinical T category by size: cT3 (AJCC, 8th edition)"
        )

    def test_what_could_not_be_measured_stands_before_the_numbers_and_once(self):
        segment = replace(b.tumour(), remarks=("The segment is in 2 separate parts",), refusals=("No extents: why",))
        rows = as_text(dataset(b.rendered(b.produced(None, segment))[0])).splitlines()
        found = [n for n, row in enumerate(rows) if "2 separate parts" in row or "No extents" in row]
        assert [rows[n].strip() for n in found] == [
            "Remark: The segment is in 2 separate parts",
            "Remark: No extents: why",
        ]
        assert found[-1] < next(n for n, row in enumerate(rows) if "Long Axis: " in row)

    def test_a_proposal_among_confirmed_answers_is_never_taken_for_confirmed(self):
        """The basis of a container is what viewers show; that of an item they hide."""
        produced = b.produced()
        left = {"sz.volume", "hd.indications"}
        answers = tuple(
            replace(a, status=Status.CONFIRMED) if a.status is Status.PROPOSED and a.item not in left else a
            for a in produced.report.answers
        )
        text = as_text(dataset(b.rendered(replace(produced, report=replace(produced.report, answers=answers)))[0]))
        group = text[text.index("Measurement Group") :]
        assert "\n    Basis: Proposed from the segmentation, not confirmed\n" in group
        assert "Long Axis: 80.4 mm (Basis: Confirmed, first proposed from the segmentation" in group
        assert "LMS-T1, partly proposed from the segmentation, not confirmed: " in group

    def test_after_confirmation_the_word_proposed_is_gone(self):
        produced = b.produced()
        answers = tuple(
            replace(a, status=Status.CONFIRMED) if a.status is Status.PROPOSED and a.item != "hd.impression_el" else a
            for a in produced.report.answers
        )
        # (the impression is made of the answers as they stand, so with these confirmed it is made anew)
        report = derive(replace(produced.report, answers=answers), produced.template)
        left = tuple(a for a in report.answers if a.status is not Status.PROPOSED)
        renditions = b.rendered(replace(produced, report=replace(report, answers=left)))
        for rendition in renditions:
            text = as_text(dataset(rendition))
            assert "(proposed" not in text
            assert "not confirmed" not in text
            assert "DRAFT, proposed" not in text

    def test_what_the_software_records_is_no_proposal(self, sr):
        text = as_text(sr)
        library = text[text.index("Image Library Group") : text.index("Imaging Measurements")]
        assert "Modality: Computed Tomography\n" in library
        assert "Basis: Proposed from the header, not confirmed" in library

    def test_values_are_escaped_in_the_page(self):
        evil = b.study(b.series(2, ReasonForTheRequestedProcedure="<script>alert(1)</script>"))
        ds = dataset(b.rendered(replace(b.produced(), report=b.report(evil), study=evil))[0])
        assert "<script>" not in as_html(ds)
        assert "&lt;script&gt;" in as_html(ds)

    def test_what_is_no_sr_is_refused(self):
        with pytest.raises(InputError, match="not an SR document"):
            as_text(Dataset())


class TestGate:
    def check(self, part10: bytes, **changes: object) -> None:
        arguments = {
            "report": b.produced().report,
            "template": load_template("baseline"),
            "study": b.study(),
            **changes,
        }
        gate.check(part10, **arguments)

    def altered(self, pair, change) -> bytes:
        ds = dataset(pair[0])
        change(ds)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, ds)
        return buffer.getvalue()

    def test_a_good_report_passes(self, pair):
        self.check(pair[0].part10)

    def test_two_patients_in_one_study_are_refused(self, pair):
        both = b.study(patient_ids=(("P-1", "HOSPITAL"), ("P-2", "HOSPITAL")))
        with pytest.raises(GateError, match="2 different patients"):
            self.check(pair[0].part10, study=both)

    def test_another_report_than_the_one_meant_is_refused(self, pair):
        with pytest.raises(GateError, match=r"reads back as another report: .*sz.volume LMS-T1"):
            self.check(pair[0].part10, report=b.report(b.study()))

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda ds: setattr(ds, "VerificationFlag", "VERIFIED"), "verifying observer"),
            (lambda ds: setattr(ds, "PreliminaryFlag", "FINAL"), "preliminary"),
            (lambda ds: setattr(ds, "SpecificCharacterSet", "ISO_IR 100"), "ISO_IR 192"),
            (lambda ds: setattr(ds.ContentSequence[-2], "ContinuityOfContent", "CONTINUOUS"), "not SEPARATE"),
            (lambda ds: delattr(ds.ContentSequence[-2].ContentSequence[0].ContentSequence[3], "ConceptNameCodeSequence"), "no concept name"),
            (lambda ds: ds.ContentSequence[-2].ContentSequence[0].ContentSequence.pop(2), "tracking UID"),
            (lambda ds: delattr(ds, "CurrentRequestedProcedureEvidenceSequence"), "evidence does not list"),
            (lambda ds: setattr(ds.ContentTemplateSequence[0], "TemplateIdentifier", "2000"), "template 1500"),
            (lambda ds: setattr(ds, "PatientID", "P-9"), "PatientID is not the study's"),
            (lambda ds: setattr(ds, "ContentTime", "25:00"), "ContentTime does not fit"),
        ],
    )  # fmt: skip
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_a_damaged_report_is_refused_with_its_reason(self, pair, change, problem):
        with pytest.raises(GateError, match=problem):
            self.check(self.altered(pair, change))

    def test_garbage_is_refused(self):
        with pytest.raises(GateError, match="cannot be read back"):
            self.check(b"no DICOM")


class TestParse:
    def test_reads_back_what_was_written(self, sr):
        assert parse(sr, load_template("baseline")) == b.produced().report

    def test_the_companion_is_no_report(self, companion):
        with pytest.raises(InputError, match="not a report"):
            parse(companion, load_template("baseline"))

    def test_a_group_without_tracking_uid_is_named(self, pair):
        ds = dataset(pair[0])
        del ds.ContentSequence[-2].ContentSequence[0].ContentSequence[2]
        with pytest.raises(InputError, match="measurement group 1 has no tracking"):
            parse(ds, load_template("baseline"))

    def test_lesions_keep_their_segment(self, sr):
        (lesion,) = parse(sr, load_template("baseline")).subjects_of(Scope.LESION)
        assert lesion.segment == b.tumour().source


def test_the_page_names_the_patient_as_people_do():
    ds = dataset(b.rendered()[0])
    page = as_html(ds)
    assert "Müller, Jörg · ID P-1 · born 1960-01-01 · study of 2026-03-01 · accession A123" in page
    ds.PatientName = "=山田^太郎=やまだ^たろう"
    assert "山田, 太郎 · ID P-1" in as_html(ds)


def item_of(root, *path: str) -> Dataset:
    """Return the first item that stands under the named ones."""
    for name in path:
        root = next(c for c in root.ContentSequence if c.ConceptNameCodeSequence[0].CodeMeaning == name)
    return root


def group_of(ds: Dataset, tracking_id: str) -> Dataset:
    """Return the measurement group of that name."""
    return next(
        g
        for g in item_of(ds, "Imaging Measurements").ContentSequence
        if any(c.get("TextValue") == tracking_id for c in g.get("ContentSequence", []))
    )


@pytest.fixture(scope="module")
def full():
    """Return a draft with an answer to everything, of a person and of the software: all scopes, matrices, reasons, observers."""
    produced = b.produced(None, b.tumour(1), b.tumour(2))
    report = filled(produced.report, produced.template, random.Random(5), person="Reader^One")
    return replace(produced, report=report, content_hash="full")


@pytest.fixture(scope="module")
def full_part10(full) -> bytes:
    return b.rendered(full)[0].part10


class TestGateOfEveryReport:
    def altered(self, full, part10: bytes, change) -> None:
        ds = pydicom.dcmread(io.BytesIO(part10))
        change(ds)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, ds)
        gate.check(buffer.getvalue(), report=full.report, template=full.template, study=full.study)

    def test_a_full_report_passes(self, full, full_part10):
        self.altered(full, full_part10, lambda ds: None)

    def test_a_tracking_item_may_be_missing_in_no_group(self, full, full_part10):
        groups = [s.tracking_id for s in full.report.subjects if s.scope in SCOPES]
        assert len(groups) > 30
        for name in groups[:: len(groups) // 6]:
            for place in ("Tracking Identifier", "Tracking Unique Identifier"):

                def change(ds, name=name, place=place):
                    group = group_of(ds, name)
                    group.ContentSequence.remove(item_of(group, place))

                with pytest.raises(GateError, match="lacks its tracking identifier or its tracking UID"):
                    self.altered(full, full_part10, change)

    def unknown(self, sequence) -> None:
        sequence[0].CodeValue, sequence[0].CodingSchemeDesignator = "MADE_UP", "99LMSSR"

    @pytest.mark.parametrize(
        "where",
        [
            lambda ds: item_of(ds, "Summary (automatic, not verified)").ConceptNameCodeSequence,
            lambda ds: item_of(group_of(ds, "LMS-T1"), "Finding").ConceptCodeSequence,
            lambda ds: item_of(group_of(ds, "LMS-T2"), "Long Axis").MeasuredValueSequence[0].MeasurementUnitsCodeSequence,
        ],
    )  # fmt: skip
    def test_a_private_code_that_nobody_defined(self, full, full_part10, where):
        with pytest.raises(GateError, match=r"code MADE_UP of 99LMSSR is not in codes\.csv"):
            self.altered(full, full_part10, lambda ds: self.unknown(where(ds)))

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda ds: setattr(item_of(ds, "Report template").ConceptNameCodeSequence[0], "CodeValue", "X" * 17), "CodeValue does not fit"),
            (lambda ds: setattr(item_of(group_of(ds, "LMS-T1"), "Long Axis").MeasuredValueSequence[0], "NumericValue", "1.23456789012345678"), "NumericValue does not fit"),
            (lambda ds: setattr(item_of(group_of(ds, "LMS-T1"), "Tracking Unique Identifier"), "UID", "2.25.x"), "UID does not fit"),
            (lambda ds: setattr(item_of(ds, "Language of Content Item and Descendants"), "RelationshipType", "INFERRED FROM"), "may not have a child of type CODE by 'INFERRED FROM'"),
            (lambda ds: setattr(item_of(group_of(ds, "LMS-T1"), "Tracking Unique Identifier"), "RelationshipType", "HAS CONCEPT MOD"), "may not have a child of type UIDREF by 'HAS CONCEPT MOD'"),
            (lambda ds: setattr(item_of(ds, "Imaging Measurements").ContentSequence[-1], "RelationshipType", "HAS OBS CONTEXT"), "may not have a child of type CONTAINER by 'HAS OBS CONTEXT'"),
            (lambda ds: setattr(item_of(group_of(ds, "LMS-T1"), "Long Axis", "Source of Measurement"), "RelationshipType", "HAS OBS CONTEXT"), r"'Long Axis' \(NUM\) may not have a child of type SCOORD by 'HAS OBS CONTEXT'"),
            (lambda ds: delattr(item_of(group_of(ds, "LMS-T1"), "Long Axis"), "RelationshipType"), "may not have a child of type NUM by ''"),
            (lambda ds: setattr(item_of(group_of(ds, "LMS-T1"), "Long Axis"), "MeasuredValueSequence", []), "number 'Long Axis' has neither a value nor a reason"),
            (lambda ds: ds.ContentSequence.remove(item_of(ds, "Report template")), "does not name the template"),
            (lambda ds: setattr(item_of(ds, "Report template"), "TextValue", "baseline, version 999"), "does not name the template"),
            (lambda ds: setattr(item_of(ds, "Report template"), "TextValue", "response, version 1"), "a report of template 'response', not of 'baseline'"),
        ],
    )  # fmt: skip
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_what_no_reader_could_take(self, full, full_part10, change, problem):
        with pytest.raises(GateError, match=problem):
            self.altered(full, full_part10, change)

    def test_an_observer_may_stand_below_what_was_answered_by_another_than_the_rest(self, full):
        """Of CODE, NUM and TEXT (PS3.3 A.35.3.3.1.2); below a DATE it is said in words."""
        (first, *_) = b.rendered(two_readers(full))
        found = [
            (str(parent.ValueType), str(child.ValueType))
            for parent, child in pairs(dataset(first))
            if child.get("PersonName") == "Reader^Two" or child.get("TextValue") == "Reader^Two"
        ]
        assert {("CODE", "PNAME"), ("NUM", "PNAME"), ("TEXT", "PNAME"), ("DATE", "TEXT")} <= set(found)


def two_readers(full):
    """Return the full report with answers of another person among those of the first."""
    answers = tuple(
        replace(a, observer="Reader^Two") if a.status is Status.CONFIRMED and n % 5 == 0 else a
        for n, a in enumerate(full.report.answers)
    )
    return replace(full, report=replace(full.report, answers=answers), content_hash="two readers")


def test_in_enhanced_sr_another_observer_stands_in_words(full):
    """Enhanced SR knows no observation context below a value (PS3.3 A.35.2.3.1.2): dcmtk does not read such a document."""
    both = two_readers(full)
    part10 = b.rendered(both, sop_class_uid=ENHANCED_SR)[0].part10
    found = [
        str(child.ValueType)
        for parent, child in pairs(pydicom.dcmread(io.BytesIO(part10)))
        if child.RelationshipType == "HAS OBS CONTEXT" and parent.ValueType != "CONTAINER"
    ]
    assert found == []
    ds = pydicom.dcmread(io.BytesIO(b.rendered(both)[0].part10))
    ds.SOPClassUID = ENHANCED_SR
    assert any("in Enhanced SR" in p for p in gate.document_problems(ds))


def pairs(item):
    """Yield every item with its parent."""
    for child in item.get("ContentSequence", []):
        yield item, child
        yield from pairs(child)


def test_what_all_groups_share_stands_above_them_once(full):
    settled = replace(full, report=confirmed(full.report, "Reader^One"), content_hash="confirmed")
    above = item_of(dataset(b.rendered(settled)[0]), "Imaging Measurements")
    assert names(above)[:3] == ["Person Observer Name", "Basis", "Measurement Group"]
    groups = above.ContentSequence[2:]
    assert sum("Basis" in names(g) for g in groups) < len(groups) / 4


def test_a_proposal_is_never_stated_above_the_groups_nor_a_person_for_a_machine():
    above = item_of(dataset(b.rendered(b.produced(None, b.tumour(1), b.tumour(2)))[0]), "Imaging Measurements")
    assert names(above) == ["Measurement Group", "Measurement Group"]
    assert all("Basis" in names(g) for g in above.ContentSequence)


def test_no_person_is_inherited_by_what_is_the_softwares_alone(full):
    lesions = {s.key for s in full.report.subjects_of(Scope.LESION)}
    answers = tuple(a for a in full.report.answers if a.subject not in lesions or a.status is not Status.CONFIRMED)
    report = replace(full.report, answers=answers)
    above = item_of(dataset(b.rendered(replace(full, report=report, content_hash="rows"))[0]), "Imaging Measurements")
    assert set(names(above)) == {"Measurement Group"}


@pytest.mark.parametrize("template", template_names())
def test_highdicom_builds_the_same_items(template):
    """The items are put together without it; it checks what it builds."""
    of = load_template(template)
    produced = produce(b.study(), (b.tumour(1), b.tumour(2)), None, replace(b.OPTIONS, template=template))
    report = filled(produced.report, of, random.Random(7), person="Reader^One")
    root = encode(report, of, Presentation())
    drawn = companion_tree(report, of, spacings(produced.study), "ohif")
    for made in (root, drawn):
        assert written(plainly(made)) == written(made)


def test_a_site_code_of_any_length_reads_back():
    long = Code("1.2.840.113619.2.55", "99SITE", "a code value of more than 16 characters")
    urn = Code("urn:oid:1.2.3.4.5.6.7", "99SITE", "a code that is a URN")
    for code in (long, urn):
        item = items.code(long, code)
        assert written(plainly(item)) == written(item)
        assert tree.code(item) == code
        assert tree.concept(item) == (long.value, long.scheme)


def test_a_number_that_is_none_has_an_empty_value_and_says_why(full):
    missing = [
        a
        for a in full.report.answers
        if any(isinstance(v, Quantity) and v.number is None and v.qualifier is not None for v in a.values)
    ]
    assert missing
    ds = pydicom.dcmread(io.BytesIO(b.rendered(full)[0].part10))
    empty = [c for _, c in pairs(ds) if c.ValueType == "NUM" and not c.MeasuredValueSequence]
    assert len(empty) == len(missing)
    assert {c.NumericValueQualifierCodeSequence[0].CodeValue for c in empty} == {"114007"}
    assert as_text(ds).count(": Measurement not attempted") >= len(missing)
    assert parse(ds, full.template) == full.report


def test_a_role_that_was_not_evaluated_does_not_identify_the_observer(full):
    reader = Person(name="Reader^One", organisation="Radiology")
    role = Answer(
        item="tid.person_role_proc",
        values=(load_codes()["v.not_evaluated"],),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        reason="nobody said",
    )
    kept = tuple(a for a in full.report.answers if a.item != role.item)
    report = observed(replace(full.report, answers=(*kept, role)), full.template, reader)
    ds = dataset(b.rendered(replace(full, report=report, content_hash="role"))[0])
    assert "Person Observer Name" in names(ds)
    assert "Person Observer's Role in this Procedure" not in names(ds)
    assert "Person Observer's Role in this Procedure: Not Evaluated" in as_text(ds)


@pytest.mark.parametrize(("side", "below"), [("v.left", True), ("v.midline", False), ("v.not_evaluated", False)])
def test_only_a_side_of_cid_244_hangs_below_the_site(full, side, below):
    def changed(a):
        if a.subject != "LMS-T1" or a.item not in {"tid.laterality", "tid.finding_site"}:
            return a
        value = side if a.item == "tid.laterality" else "site.retroperitoneum"
        return replace(a, values=(load_codes()[value],), reason="", status=Status.CONFIRMED)

    report = replace(full.report, answers=tuple(changed(a) for a in full.report.answers))
    group = group_of(dataset(b.rendered(replace(full, report=report, content_hash=side))[0]), "LMS-T1")
    assert ("Laterality" in names(item_of(group, "Finding Site"))) is below
    assert ("Laterality" in names(group)) is not below


def test_what_was_not_evaluated_has_no_place_in_a_sentence(full):
    def changed(a):
        if a.subject == "LMS-T1" and a.item == "tid.finding_site":
            return replace(a, values=(load_codes()["v.not_evaluated"],), reason="motion")
        return a

    report = replace(full.report, answers=tuple(changed(a) for a in full.report.answers))
    subject = report.subject("LMS-T1")
    assert "not evaluated" not in words.lesion_comment(report, subject).lower()
    assert "not evaluated" not in words.summary(report, completeness(report, full.template), draft=True).lower()


def people_of(item) -> list[str]:
    """Return the person observers that stand directly below an item."""
    return [str(c.PersonName) for c in item.get("ContentSequence", []) if c.ValueType == "PNAME"]


def test_a_group_says_who_where_the_container_around_it_says_somebody_else(full):
    """The nearest observer counts (PS3.16 TID 1001): nothing may be read as another person's."""

    def by(a):
        lesion = full.report.subject(a.subject)
        who = "Reporter^R" if lesion is not None and lesion.scope is Scope.LESION else "Xavier^X"
        return replace(a, observer=who) if a.observer else a

    report = confirmed(full.report, "Reader^One")
    answers = [by(a) for a in report.answers if a.item != "tid.person_observer_name"]
    named = Answer(
        item="tid.person_observer_name",
        values=(PersonName("Reporter^R"),),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
    )
    report = canonical(replace(report, answers=(*answers, named)), full.template)
    ds = dataset(b.rendered(replace(full, report=report, content_hash="two people"))[0])
    above = item_of(ds, "Imaging Measurements")
    assert people_of(above) == ["Xavier^X"]
    assert people_of(group_of(ds, "LMS-T1")) == ["Reporter^R"]
    assert parse(ds, full.template) == report


def test_no_person_stands_over_what_a_machine_proposes(full):
    lesions = [a for a in full.report.answers if a.subject == "LMS-T1"]
    assert {Status.PROPOSED, Status.CONFIRMED} <= {a.status for a in lesions}
    ds = dataset(b.rendered(full)[0])
    group = group_of(ds, "LMS-T1")
    assert people_of(group) == []
    assert any(people_of(c) == ["Reader^One"] for c in group.ContentSequence)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: setattr(n.MeasurementUnitsCodeSequence[0], "CodeValue", "cm"), "not in the unit"),
        (
            lambda n: n.__setitem__(
                "NumericValue", DataElement(0x0040A30A, "DS", "nan", validation_mode=pydicom.config.IGNORE)
            ),
            "not finite",
        ),
    ],
    ids=["another unit", "not a number"],
)
def test_a_number_that_an_editor_changed_into_another_kind_is_refused(full, full_part10, change, said):
    ds = pydicom.dcmread(io.BytesIO(full_part10))
    change(item_of(group_of(ds, "LMS-T1"), "Long Axis").MeasuredValueSequence[0])
    with pytest.raises(InputError, match=said):
        parse(ds, full.template)
