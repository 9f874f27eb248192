"""The life of a report on both databases: draft, answered, signed, amended, added to, withdrawn; and what comes back from viewers."""

from __future__ import annotations

import io
import threading
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session

from service.errors import AnswerError, GateError, NotAllowed
from service.flow import produce as making
from service.flow.given import Given, What, parse_text
from service.flow.lifecycle import Action, State
from service.flow.produce import COMPREHENSIVE_SR
from service.model.code import Code
from service.model.events import StudyState
from service.model.report import CompletionFlag, Provenance, Scope, Status, VerificationFlag
from service.model.report_json import to_json
from service.model.signing import Person
from service.sr.parse import parse
from service.store import events, inbox, life, outbox, registry
from service.store.outbox import OutboxState
from service.work import completing, composing, issuing, revising, taking
from tests.integration.world import (
    STS,
    STUDY,
    as_data_set,
    as_file,
    edit_of,
    image,
    images,
    node,
    predecessors,
    text_of,
)
from tests.small_template import small

KOS = "1.2.840.10008.5.1.4.1.1.88.59"
WHO = Person(name="Roe^Jane", organisation="St Elsewhere", code=Code("4711", "99HOSPITAL", "Jane Roe"))
OTHER = Person(name="Doe^John", organisation="St Elsewhere")
STS_FILES = (*sorted(STS.glob("CT/*.dcm")), STS / "CT_SEG.dcm")
#: everything that the small template asks of a study without a segmentation
COMPLETE = (
    "ctx.dx_status=ctx.dx_status.biopsy",
    "hd.indications=retroperitoneal mass",
    "tid.finding=tum.mass",
    "tid.finding_site=site.retroperitoneum",
    "tid.laterality=v.right",
    "gp=gp.extra",
    "mar=mar.smooth",
    "sz.long_axis=118",
    "ves.relation@*=vr.none",
    "ln.lymphadenopathy=v.absent",
    "hd.impression_el=A mass.",
)


def sts_uid() -> str:
    return str(dcmread(STS_FILES[0], stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture
def template(tmp_path, monkeypatch):
    found = small(tmp_path / "small")
    for module in (making, revising, taking):
        monkeypatch.setattr(module, "load_template", lambda _name, _folder=None: found)
    return found


@pytest.fixture
def draft(world, template):
    world.composed()
    world.run()
    return world


def give(world, *texts, study=STUDY, who=WHO, reason=""):
    return revising.answer(world.services, study, tuple(parse_text(t, reason=reason) for t in texts), who)


@pytest.fixture
def answered(draft):
    give(draft, *COMPLETE)
    draft.run()
    return draft


@pytest.fixture
def signed(answered):
    revising.sign(answered.services, STUDY, WHO)
    answered.run()
    return answered


def newest(world, study=STUDY):
    with world.services.reading() as session:
        return registry.newest(session, study)


def content(world, study=STUDY):
    with world.services.reading() as session:
        record = registry.newest(session, study)
        return registry.read_content(session, record.id)


def steps(world, study=STUDY):
    with world.services.reading() as session:
        return [
            (s.version, s.transition.action, s.transition.after, s.transition.who) for s in life.history(session, study)
        ]


def differences(world, study=STUDY):
    with world.services.reading() as session:
        return life.differences(session, registry.newest(session, study).id)


def later(world, *objects, **how):
    """Let objects arrive, and do what follows; return the outcomes."""
    world.arrive(*objects, **how)
    return world.run(900)


def flags(ds):
    return ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag


def purposes(ds):
    return {
        str(sop.ReferencedSOPInstanceUID): str(sop.PurposeOfReferenceCodeSequence[0].CodeValue)
        for item in ds.get("PredecessorDocumentsSequence") or ()
        for series in item.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }


class TestAnswering:
    def test_a_draft_is_a_first_step(self, draft):
        assert steps(draft) == [(1, Action.RECOMPOSE, State.DRAFT, "")]
        assert newest(draft).state is State.DRAFT

    def test_one_command_is_one_version(self, draft):
        assert give(draft, "gp=gp.mixed", "ves.relation@*=vr.none") == "version 2"
        assert draft.run() == ["sent"]
        first, second = draft.pacs.reports
        assert flags(second) == ("PARTIAL", "UNVERIFIED", "PRELIMINARY")
        assert purposes(second) == {str(first.SOPInstanceUID): "121362"}
        assert steps(draft)[1:] == [(2, Action.ANSWER, State.IN_PROGRESS, "Roe^Jane")]
        assert "answer by a person, now in progress" in draft.told()
        assert "Roe" not in draft.told()

    def test_the_registry_has_who_said_it_and_why(self, draft):
        give(draft, "gp=v.not_evaluated", reason="arterial phase only")
        with draft.services.reading() as session:
            row = session.query(registry.AnswerRow).filter_by(report_id=newest(draft).id, item="gp").one()
        assert (row.reason, row.observer, row.status) == ("arterial phase only", "Roe^Jane", "confirmed")

    def test_what_was_answered_is_in_the_document(self, draft, template):
        give(draft, "gp=gp.mixed", reason="seen on two phases")
        draft.run()
        back = parse(draft.pacs.reports[-1], template)
        assert to_json(back) == to_json(content(draft))
        (answer,) = back.answers_of("gp", "LMS-T1")
        assert (answer.observer, answer.reason) == ("Roe^Jane", "seen on two phases")

    def test_nothing_is_issued_for_an_answer_that_does_not_fit(self, draft):
        with pytest.raises(AnswerError, match=r"did you mean gp\.mixed"):
            give(draft, "mar=mar.smooth", "gp=gp.mixd")
        assert draft.versions() == [1]

    def test_nothing_is_issued_for_what_stands_already(self, draft):
        give(draft, "gp=gp.mixed")
        with pytest.raises(NotAllowed, match="says already"):
            give(draft, "gp=gp.mixed")
        assert draft.versions() == [1, 2]

    def test_a_study_without_a_report_is_told(self, world):
        world.arrive(*images())
        with pytest.raises(Exception, match="has no report yet"):
            give(world, "gp=gp.mixed")

    def test_answers_while_images_still_come_leave_the_study_where_it_is(self, draft):
        draft.arrive(image(2))
        assert draft.state is StudyState.RECEIVED
        give(draft, "gp=gp.mixed")
        assert draft.state is StudyState.RECEIVED
        draft.run(900)
        assert (draft.state, draft.versions()) == (StudyState.SENT, [1, 2, 3])
        assert content(draft).answers_of("gp", "LMS-T1")[0].observer == "Roe^Jane"

    def test_two_people_at_once_lose_nothing(self, draft, monkeypatch):
        original, done = issuing.render, []

        def render(*args):
            made = original(*args)
            if not done:
                done.append("begun")
                done[0] = give(draft, "mar=mar.smooth", who=OTHER)
            return made

        monkeypatch.setattr(issuing, "render", render)
        assert give(draft, "gp=gp.mixed") == "version 3"
        assert done == ["version 2"]
        report = content(draft)
        assert {a.item: a.observer for a in report.answers if a.status is Status.CONFIRMED} == {
            "gp": "Roe^Jane",
            "mar": "Doe^John",
        }

    def test_over_an_edit_that_is_not_in_the_report_nothing_is_issued(self, draft):
        draft.pacs.put(edit_of(draft.pacs.reports[0]))
        with pytest.raises(NotAllowed, match="'lms-sr start"):
            give(draft, "gp=gp.mixed")
        assert draft.versions() == [1]


class TestSigning:
    def test_a_signed_report_says_so_everywhere(self, signed):
        report = signed.pacs.reports[-1]
        assert flags(report) == ("COMPLETE", "VERIFIED", "FINAL")
        (observer,) = report.VerifyingObserverSequence
        assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == ("Roe^Jane", "St Elsewhere")
        assert observer.VerifyingObserverIdentificationCodeSequence[0].CodeValue == "4711"
        assert str(observer.VerificationDateTime).startswith("20")
        assert "Roe" in text_of(report)
        assert "DRAFT" not in text_of(report)
        record = newest(signed)
        assert (record.completion, record.verification) == (CompletionFlag.COMPLETE, VerificationFlag.VERIFIED)
        assert (record.state, record.signature.person) == (State.SIGNED, WHO)
        assert steps(signed)[-1] == (3, Action.SIGN, State.SIGNED, "Roe^Jane")

    def test_what_is_open_or_proposed_is_listed_in_words(self, draft):
        give(draft, "gp=gp.extra")
        with pytest.raises(NotAllowed) as refused:
            revising.sign(draft.services, STUDY, WHO)
        lines = str(refused.value).splitlines()
        assert "Margin: open (mar@LMS-T1)" in lines
        assert any(line.startswith("Vessel relations: open (ves.relation@ves.ivc") for line in lines)
        assert not any(line.startswith("Growth pattern") for line in lines)
        assert draft.versions() == [1, 2]

    def test_a_contradiction_is_not_signed(self, answered):
        give(answered, "ves.caliber@ves.ivc=cal.narrowed")
        with pytest.raises(NotAllowed, match="A vessel without contact is not narrowed"):
            revising.sign(answered.services, STUDY, WHO)
        give(answered, "ves.relation@ves.ivc=vr.abut")
        assert revising.sign(answered.services, STUDY, WHO).startswith("version")

    def test_a_signature_needs_a_name_and_an_organisation(self, answered):
        with pytest.raises(NotAllowed, match="--as"):
            revising.sign(answered.services, STUDY, Person(name=" "))
        with pytest.raises(NotAllowed, match="organisation"):
            revising.sign(answered.services, STUDY, Person(name="Roe^Jane"))
        with pytest.raises(AnswerError, match="Family\\^Given"):
            revising.sign(answered.services, STUDY, Person(name="^^", organisation="X"))

    def test_the_service_never_signs_by_itself(self, answered):
        """However often it is composed anew, and whatever the names in the headers are."""
        later(answered, image(5, name="Roe^Jane"))
        completing.start_by_hand(answered.services, STUDY)
        answered.run(900)
        assert {flags(r) for r in answered.pacs.reports} == {("PARTIAL", "UNVERIFIED", "PRELIMINARY")}

    def test_a_signed_report_is_not_answered_nor_signed_again(self, signed):
        with pytest.raises(NotAllowed, match="'lms-sr report amend'"):
            give(signed, "gp=gp.mixed")
        with pytest.raises(NotAllowed, match="it is signed already"):
            revising.sign(signed.services, STUDY, WHO)

    def test_its_own_copy_from_the_pacs_is_no_news(self, signed):
        before = signed.versions()
        later(signed, *(as_data_set(as_file(r)) for r in signed.pacs.reports))
        completing.start_by_hand(signed.services, STUDY)
        signed.run(900)
        assert (signed.versions(), signed.study().flag) == (before, "")

    def test_another_class_carries_the_same_signature(self, answered):
        revising.sign(answered.services, STUDY, WHO)
        answered.pacs.accepts = {"1.2.840.10008.5.1.4.1.1.88.22"}
        assert answered.run() == ["class changed", "sent"]
        report = answered.pacs.reports[-1]
        assert flags(report) == ("COMPLETE", "VERIFIED", "FINAL")
        assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "Roe^Jane"
        assert set(purposes(report).values()) == {"121362"}

    def test_the_measurements_share_the_flags(self, world, template):
        uid = sts_uid()
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        given = [parse_text(t) for t in COMPLETE if not t.startswith(("sz.", "tid.finding=", "tid.laterality"))]
        proposals = {a.item for a in content(world, uid).answers if a.status is Status.PROPOSED}
        given += [Given(item=i, what=What.CONFIRM) for i in sorted(proposals) if i not in {g.item for g in given}]
        if "tid.laterality" not in proposals:
            given.append(parse_text("tid.laterality=v.right"))
        revising.answer(world.services, uid, tuple(given), WHO)
        revising.sign(world.services, uid, WHO)
        world.run()
        report, lines = (
            next(r for r in reversed(world.pacs.reports) if int(r.SeriesNumber) == n) for n in (9901, 9902)
        )
        assert flags(report) == flags(lines) == ("COMPLETE", "VERIFIED", "FINAL")
        assert report.InstanceNumber == lines.InstanceNumber
        assert "DRAFT" not in text_of(lines)


class TestAfterSigning:
    def test_an_amendment_is_signed_again_and_replaces(self, signed):
        before = signed.pacs.reports[-1]
        given = (parse_text("gp=gp.mixed"),)
        with pytest.raises(NotAllowed, match="--reason"):
            revising.amend(signed.services, STUDY, given, OTHER, "")
        assert revising.amend(signed.services, STUDY, given, OTHER, "second reading") == "version 4"
        signed.run()
        report = signed.pacs.reports[-1]
        assert flags(report) == ("COMPLETE", "VERIFIED", "FINAL")
        assert purposes(report) == {str(before.SOPInstanceUID): "121360"}
        assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "Doe^John"
        assert newest(signed).state is State.AMENDED
        with signed.services.reading() as session:
            last = life.history(session, STUDY)[-1].transition
        assert (last.before, last.after, last.who, last.why) == (
            State.SIGNED,
            State.AMENDED,
            "Doe^John",
            "second reading",
        )

    def test_an_amendment_has_to_change_something_and_stay_complete(self, signed):
        with pytest.raises(NotAllowed, match="says already"):
            revising.amend(signed.services, STUDY, (parse_text("gp=gp.extra"),), WHO, "again")
        with pytest.raises(NotAllowed, match="Growth pattern: open"):
            revising.amend(signed.services, STUDY, (Given(item="gp", what=What.CLEAR),), WHO, "taken back")

    def test_another_signer_alone_is_no_change(self, signed):
        with pytest.raises(NotAllowed, match="says already"):
            revising.amend(signed.services, STUDY, (parse_text("gp=gp.extra"),), OTHER, "second reading")

    def test_why_it_is_amended_is_not_why_an_answer_is_so(self, signed):
        given = (parse_text("gp=gp.mixed", reason="thrombus enhances"),)
        revising.amend(signed.services, STUDY, given, WHO, "second reading")
        by_item = {a.item: a for a in content(signed).answers}
        assert by_item["gp"].reason == "thrombus enhances"
        with signed.services.reading() as session:
            assert life.history(session, STUDY)[-1].transition.why == "second reading"

    def test_over_what_was_saved_since_it_is_signed_only_on_demand(self, signed):
        signed.pacs.put(edit_of(signed.pacs.reports[-1]))
        given = (parse_text("gp=gp.mixed"),)
        with pytest.raises(NotAllowed, match="--over-edits"):
            revising.amend(signed.services, STUDY, given, WHO, "second reading")
        with pytest.raises(NotAllowed, match="--over-edits"):
            revising.addendum(signed.services, STUDY, "Seen at the board.", WHO, "board")
        revising.amend(signed.services, STUDY, given, WHO, "second reading", over_edits=True)
        signed.run()
        assert len(purposes(signed.pacs.reports[-1])) == 2
        # decided once
        revising.addendum(signed.services, STUDY, "Seen at the board.", WHO, "board")

    def test_what_is_saved_over_a_signed_report_is_flagged_with_the_way_out(self, signed):
        signed.pacs.put(edit_of(signed.pacs.reports[-1]))
        assert later(signed, image(2))[-1] == "flagged"
        assert f"'lms-sr report amend {STUDY}'" in signed.study().flag
        assert "--over-edits" in signed.study().flag

    def test_only_a_signed_report_is_amended(self, answered):
        with pytest.raises(NotAllowed, match="not signed yet"):
            revising.amend(answered.services, STUDY, (parse_text("gp=gp.mixed"),), WHO, "why")

    def test_addenda_stand_beside_the_answers(self, signed):
        before = signed.pacs.reports[-1]
        revising.addendum(signed.services, STUDY, "Seen at the sarcoma board.", OTHER, "board of today")
        signed.run()
        report = signed.pacs.reports[-1]
        assert purposes(report) == {str(before.SOPInstanceUID): "121361"}
        assert "John Doe: Seen at the sarcoma board." in text_of(report).replace("Doe John", "John Doe")
        revising.addendum(signed.services, STUDY, "Biopsy agreed.", WHO, "telephone")
        (answer,) = content(signed).answers_of("hd.addendum")
        assert len(answer.values) == 2
        assert newest(signed).state is State.ADDENDUM
        answers = {a.item: a.values for a in content(signed).answers if a.item == "gp"}
        assert answers["gp"][0].value

    def test_new_facts_flag_a_signed_report_and_leave_it(self, signed):
        assert later(signed, image(2))[-1] == "flagged"
        assert signed.versions() == [1, 2, 3]
        assert signed.study().flag.startswith("version 3 is signed and does not change by itself")

    def test_a_measurement_that_comes_back_is_kept_as_a_difference(self, signed):
        edit = dcmread(io.BytesIO(edit_of(signed.pacs.reports[-1], number=4)))
        _set_number(edit, "103339001", "121.4")
        later(signed, as_data_set(as_file(edit)))
        assert signed.versions() == [1, 2, 3]
        (difference,) = (d for d in differences(signed) if d.item == "sz.long_axis")
        assert "118.0 mm" in difference.stands
        assert "121.4 mm" in difference.found
        assert "1 fields in which facts say something else than report version 3" in signed.told()


class TestWithdrawing:
    def test_readers_and_archives_are_told(self, signed):
        signed.pacs.accepts = {COMPREHENSIVE_SR, KOS}
        rejected = {str(r.SOPInstanceUID) for r in signed.pacs.reports}
        assert revising.withdraw(signed.services, STUDY, WHO, "images of another patient") == "version 4"
        signed.run()
        last = next(r for r in reversed(signed.pacs.reports) if int(r.SeriesNumber) == 9901)
        assert int(last.InstanceNumber) == 4
        said = text_of(last)
        assert "WITHDRAWN" in said
        assert "images of another patient" in said
        assert "118" not in said
        (note,) = (d for d in signed.pacs.objects.values() if d.SOPClassUID == KOS)
        assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
        named = {
            str(c.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            for c in note.ContentSequence
            if c.ValueType == "COMPOSITE"
        }
        assert named == rejected
        assert (note.Modality, note.SeriesInstanceUID != last.SeriesInstanceUID) == ("KO", True)

    def test_the_registry_has_no_current_report_any_more(self, signed):
        revising.withdraw(signed.services, STUDY, WHO, "wrong patient")
        with signed.services.reading() as session:
            assert registry.current(session, STUDY) is None
            assert registry.list_cases(session) == ()
        assert (newest(signed).state, newest(signed).current) == (State.WITHDRAWN, False)
        for action in (
            lambda: give(signed, "gp=gp.mixed"),
            lambda: revising.withdraw(signed.services, STUDY, WHO, "x"),
        ):
            with pytest.raises(NotAllowed, match="'lms-sr start', for a new draft"):
                action()

    def test_a_node_that_takes_no_notes_gets_the_last_version_alone(self, signed):
        revising.withdraw(signed.services, STUDY, WHO, "wrong patient")
        assert {r.kind for r in signed.rows() if r.version == 4} == {"report"}
        signed.run()
        assert "WITHDRAWN" in text_of(signed.pacs.reports[-1])

    def test_a_note_that_is_refused_when_it_comes_is_given_up(self, signed):
        signed.pacs.accepts = {COMPREHENSIVE_SR, KOS}
        revising.withdraw(signed.services, STUDY, WHO, "wrong patient")
        signed.pacs.accepts = {COMPREHENSIVE_SR}
        assert sorted(signed.run()) == ["not taken", "sent"]
        (row,) = (r for r in signed.rows() if r.kind == "rejection")
        assert row.state is OutboxState.SUPERSEDED
        assert signed.state is StudyState.SENT
        assert "PACS takes no rejection notes" in signed.told()

    def test_what_never_left_is_not_rejected(self, draft):
        draft.pacs.objects.clear()
        draft.pacs.accepts = {COMPREHENSIVE_SR, KOS}
        with Session(draft.services.engine) as session, session.begin():
            session.execute(inbox.text("UPDATE outbox SET state = 'queued', begun = 0, attempt = 0"))
        revising.withdraw(draft.services, STUDY, WHO, "wrong patient")
        assert [r.kind for r in draft.rows() if r.version == 2] == ["report"]

    def test_new_images_bring_no_report_back_but_a_person_does(self, signed):
        revising.withdraw(signed.services, STUDY, WHO, "wrong patient")
        signed.run()
        assert later(signed, image(2))[-1] == "flagged"
        assert "the report was withdrawn" in signed.study().flag
        completing.start_by_hand(signed.services, STUDY)
        assert signed.run() == ["version 5", "sent"]
        assert (newest(signed).state, newest(signed).current) == (State.DRAFT, True)
        # nothing of what was withdrawn is in the new draft
        assert not [a for a in content(signed).answers if a.status is Status.CONFIRMED]
        last, fresh = signed.pacs.reports[-2:]
        assert purposes(fresh) == {str(last.SOPInstanceUID): "121360"}

    def test_what_was_withdrawn_does_not_come_back_with_an_edit_of_it(self, answered):
        edit = dcmread(io.BytesIO(edit_of(answered.pacs.reports[-1])))
        _set_number(edit, "103339001", "121.4")
        edit.VerificationFlag = "VERIFIED"
        observer = Dataset()
        observer.VerifyingObserverName = "Poe^Ann"
        edit.VerifyingObserverSequence = [observer]
        later(answered, as_data_set(as_file(edit)))
        revising.withdraw(answered.services, STUDY, WHO, "wrong patient")
        answered.run()
        completing.start_by_hand(answered.services, STUDY)
        answered.run()
        assert newest(answered).state is State.DRAFT
        assert not [a for a in content(answered).answers if a.status is Status.CONFIRMED]

    def test_a_note_outlives_a_newer_version(self, signed):
        signed.pacs.accepts = {COMPREHENSIVE_SR, KOS}
        revising.withdraw(signed.services, STUDY, WHO, "wrong patient")
        completing.start_by_hand(signed.services, STUDY)
        composing.compose(signed.services, STUDY, signed.study().revision, by_hand=True)
        (row,) = (r for r in signed.rows() if r.kind == "rejection")
        assert row.state is OutboxState.QUEUED


def _set_number(ds, concept, number):
    """Change every number with a concept, as a viewer does when a line is drawn anew."""

    def walk(items):
        for item in items:
            named = item.get("ConceptNameCodeSequence")
            if named and named[0].CodeValue == concept and item.ValueType == "NUM":
                item.MeasuredValueSequence[0].NumericValue = number
            walk(item.get("ContentSequence") or ())

    walk(ds.ContentSequence)


class TestComingBack:
    def test_what_was_confirmed_stays_when_facts_change(self, answered):
        before = content(answered)
        assert later(answered, image(2))[-2:] == ["version 3", "sent"]
        after = content(answered)
        kept = [a for a in before.answers if a.status is Status.CONFIRMED]
        assert [a for a in after.answers if a.status is Status.CONFIRMED] == kept
        assert len(after.subjects_of(Scope.SERIES)) == 2
        assert newest(answered).state is State.IN_PROGRESS

    def test_an_edited_number_is_taken_in_as_a_proposal(self, answered):
        edit = dcmread(io.BytesIO(edit_of(answered.pacs.reports[-1])))
        _set_number(edit, "103339001", "121.4")
        before = content(answered)
        (confirmed,) = before.answers_of("sz.long_axis", "LMS-T1")
        later(answered, as_data_set(as_file(edit)))
        # the radiologist has said 118: that stands, and the other is told
        assert content(answered).answers_of("sz.long_axis", "LMS-T1") == (confirmed,)
        assert any(d.item == "sz.long_axis" and "121.4" in d.found for d in differences(answered))
        assert int(answered.pacs.reports[-1].InstanceNumber) == 4
        assert purposes(answered.pacs.reports[-1])[str(edit.SOPInstanceUID)] == "121360"

    def test_where_facts_differ_is_known_to_the_versions_of_a_person_too(self, answered):
        edit = dcmread(io.BytesIO(edit_of(answered.pacs.reports[-1])))
        _set_number(edit, "103339001", "121.4")
        later(answered, as_data_set(as_file(edit)))
        told = [d for d in differences(answered) if d.item == "sz.long_axis"]
        assert told
        give(answered, "mar=mar.lobulated")
        assert [d for d in differences(answered) if d.item == "sz.long_axis"] == told
        # the radiologist decides: what is answered anew differs from nothing any more
        give(answered, "sz.long_axis=121.4")
        assert not [d for d in differences(answered) if d.item == "sz.long_axis"]

    def test_an_edit_that_cannot_be_read_is_flagged_at_once(self, draft):
        edit = dcmread(io.BytesIO(edit_of(draft.pacs.reports[0], number=7)))
        del edit.ContentSequence
        draft.pacs.put(as_file(edit))
        later(draft, as_data_set(as_file(edit)))
        assert draft.versions() == [1]
        assert f"'lms-sr start {STUDY}' issues a version that replaces it" in draft.study().flag
        completing.start_by_hand(draft.services, STUDY)
        assert draft.run()[-2:] == ["version 8", "sent"]
        assert draft.study().flag == ""

    def test_an_edit_of_a_draft_counts_as_measured_until_somebody_verifies_it(self, world, template):
        uid = sts_uid()
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        edit = dcmread(io.BytesIO(edit_of(world.pacs.reports[0])))
        _set_number(edit, "103339001", "77.7")
        later(world, as_data_set(as_file(edit)), called="LMS_ALWAYS")
        (taken,) = content(world, uid).answers_of("sz.long_axis", "LMS-T1")
        assert (taken.status, taken.provenance) == (Status.PROPOSED, Provenance.MEASUREMENT_SR)
        assert str(taken.values[0].number) == "77.7"
        (difference,) = (d for d in differences(world, uid) if d.item == "sz.long_axis")
        assert difference.source == "from the segmentation"
        assert newest(world, uid).state is State.IN_PROGRESS
        assert "content of 1 structured reports of others taken in" in world.told(uid)
        # answered by a person afterwards, it still names what it took in
        revising.answer(world.services, uid, (parse_text("gp=gp.mixed"),), WHO)
        world.run()
        assert content(world, uid).answers_of("sz.long_axis", "LMS-T1") == (taken,)

    def test_an_edit_that_a_person_verified_is_confirmed_by_that_person(self, world, template):
        uid = sts_uid()
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        edit = dcmread(io.BytesIO(edit_of(world.pacs.reports[0])))
        _set_number(edit, "103339001", "77.7")
        edit.VerificationFlag = "VERIFIED"
        observer = Dataset()
        observer.VerifyingObserverName = "Poe^Ann"
        edit.VerifyingObserverSequence = [observer]
        later(world, as_data_set(as_file(edit)), called="LMS_ALWAYS")
        (taken,) = content(world, uid).answers_of("sz.long_axis", "LMS-T1")
        assert (taken.status, taken.observer) == (Status.CONFIRMED, "Poe^Ann")
        assert flags(world.pacs.reports[-1])[1] == "UNVERIFIED" or int(world.pacs.reports[-1].SeriesNumber) == 9902

    def test_an_edit_is_taken_in_once(self, answered):
        edit = dcmread(io.BytesIO(edit_of(answered.pacs.reports[-1])))
        later(answered, as_data_set(as_file(edit)))
        versions = answered.versions()
        later(answered, *(as_data_set(as_file(r)) for r in answered.pacs.reports))
        assert answered.versions() == versions

    def test_a_viewers_edit_of_our_measurements_is_drawn_by_the_next_version(self, world, template):
        uid = sts_uid()
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        lines = next(r for r in world.pacs.reports if int(r.SeriesNumber) == 9902)
        edit = dcmread(io.BytesIO(edit_of(lines)))
        (number,) = _numbers(edit, "103339001")
        data = [float(v) for v in number.ContentSequence[0].GraphicData]
        shift = 10.0
        data[2] += shift
        number.ContentSequence[0].GraphicData = data
        spacing = _spacing(number)
        length = (((data[2] - data[0]) * spacing[1]) ** 2 + ((data[3] - data[1]) * spacing[0]) ** 2) ** 0.5
        number.MeasuredValueSequence[0].NumericValue = f"{length:.1f}"
        later(world, as_data_set(as_file(edit)), called="LMS_ALWAYS")
        (taken,) = content(world, uid).answers_of("sz.long_axis", "LMS-T1")
        assert str(taken.values[0].number) == f"{length:.1f}"
        newest_lines = [r for r in world.pacs.reports if int(r.SeriesNumber) == 9902][-1]
        assert int(newest_lines.InstanceNumber) == 3
        (drawn,) = _numbers(newest_lines, "103339001")
        assert [round(float(v), 1) for v in drawn.ContentSequence[0].GraphicData] == [round(v, 1) for v in data]
        assert purposes(newest_lines)[str(edit.SOPInstanceUID)] == "121360"

    def test_a_viewers_own_report_is_named_as_evidence_and_not_drawn_twice(self, world, template):
        uid = sts_uid()
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        lines = next(r for r in world.pacs.reports if int(r.SeriesNumber) == 9902)
        foreign = dcmread(io.BytesIO(edit_of(lines)))
        foreign.SeriesInstanceUID = "1.2.3.4.5"
        _set_number(foreign, "103339001", "66.6")
        later(world, as_data_set(as_file(foreign)), called="LMS_ALWAYS")
        (taken,) = content(world, uid).answers_of("sz.long_axis", "LMS-T1")
        assert (taken.provenance, taken.basis) == (Provenance.MEASUREMENT_SR, "measured in a viewer")
        assert taken.evidence
        assert not any(e.points for e in taken.evidence)
        report = [r for r in world.pacs.reports if int(r.SeriesNumber) == 9901][-1]
        assert purposes(report)[str(foreign.SOPInstanceUID)] == "122073"

    def test_a_foreign_report_that_cannot_be_read_stops_nothing(self, draft):
        broken = dcmread(io.BytesIO(edit_of(draft.pacs.reports[0])))
        broken.SeriesInstanceUID = "1.2.3.4.5"
        del broken.ConceptNameCodeSequence
        assert "unchanged" in later(draft, as_data_set(as_file(broken)))


def _numbers(ds, concept):
    found = []

    def walk(items):
        for item in items:
            named = item.get("ConceptNameCodeSequence")
            if named and named[0].CodeValue == concept and item.ValueType == "NUM":
                found.append(item)
            walk(item.get("ContentSequence") or ())

    walk(ds.ContentSequence)
    return found


def _spacing(number):
    uid = str(number.ContentSequence[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    for path in STS_FILES:
        ds = dcmread(path, stop_before_pixels=True)
        if str(ds.SOPInstanceUID) == uid:
            return [float(v) for v in ds.PixelSpacing]
    raise AssertionError(uid)


def test_a_node_that_is_down_gets_everything_later(draft):
    draft.pacs.down = True
    give(draft, *COMPLETE)
    revising.sign(draft.services, STUDY, WHO)
    draft.run(60)
    draft.pacs.down = False
    draft.run(7200)
    report = draft.pacs.reports[-1]
    assert flags(report) == ("COMPLETE", "VERIFIED", "FINAL")
    # version 2 never left, so the signed one replaces the draft
    assert {int(r.InstanceNumber) for r in draft.pacs.reports} == {1, 3}
    assert purposes(report) == {str(draft.pacs.reports[0].SOPInstanceUID): "121362"}


def test_without_a_destination_nothing_is_signed(make_world, template):
    world = make_world(node(port=0, reports=False))
    world.composed()
    assert world.versions() == []
    world.configure(nodes=(node(),))
    completing.start_by_hand(world.services, STUDY)
    world.run()
    give(world, *COMPLETE)
    world.configure(nodes=())
    with pytest.raises(GateError, match="no node takes the report"):
        revising.sign(world.services, STUDY, WHO)
    assert newest(world).state is State.IN_PROGRESS


def test_a_command_waits_for_a_writer(draft):
    """SQLite has one writer: a command beside a busy service waits its turn."""
    begun, done = threading.Event(), []

    def write():
        with Session(draft.services.engine) as session, session.begin():
            events.append(session, "1.2.3", next(iter(events.StudyEvent)), draft.clock.now())
            session.flush()
            begun.set()
            threading.Event().wait(0.5)

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(5)
    done.append(give(draft, "gp=gp.mixed"))
    thread.join(5)
    assert done == ["version 2"]


def test_an_interrupted_command_leaves_nothing(draft, monkeypatch):
    def fails(*_args, **_kwargs):
        msg = "the process was killed"
        raise RuntimeError(msg)

    monkeypatch.setattr(outbox, "put", fails)
    with pytest.raises(RuntimeError, match="killed"):
        give(draft, "gp=gp.mixed")
    monkeypatch.undo()
    assert (draft.versions(), steps(draft)) == ([1], [(1, Action.RECOMPOSE, State.DRAFT, "")])
    assert predecessors(draft.pacs.reports[-1]) == set()
    assert replace(newest(draft), id=newest(draft).id) == newest(draft)
