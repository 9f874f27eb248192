"""A study whose headers the PACS corrects: its draft is issued anew, its signed report is flagged, others are told; on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from service.errors import NotAllowed
from service.flow.lifecycle import State
from service.model.signing import Person
from service.store import inbox, registry
from service.work import revising
from tests.integration.test_life import COMPLETE, WHO, give, template
from tests.integration.world import STUDY, images

__all__ = ["template"]

SECOND = "1.2.3.4"
OTHER = Person(name="Doe^John", organisation="St Elsewhere")


def correct(world, *objects):
    world.clock.advance(60)
    world.arrive(*objects, corrects=True)
    world.run(3600)


def newest(world, uid=STUDY):
    with world.services.reading() as session:
        record = registry.newest(session, uid)
        return record, registry.patient_of(session, record.case_id)


def sent(world, uid=STUDY):
    """Return the newest report that the PACS has of a study."""
    held = [d for d in world.pacs.objects.values() if d.StudyInstanceUID == uid and d.SeriesDescription == "LMS report"]
    return max(held, key=lambda d: int(d.InstanceNumber))


def test_a_draft_is_issued_anew_under_the_newest_identity(world):
    world.composed(*images(3))
    world.run(60)
    first = sent(world)
    correct(world, *images(3, patient="P-2", name="Winter^Jo"))
    record, patient = newest(world)
    assert (record.version, record.current, patient) == (2, True, ("P-2", ""))
    second = sent(world)
    assert (str(second.PatientID), str(second.PatientName)) == ("P-2", "Winter^Jo")
    (predecessor,) = second.PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert world.study().flag == ""
    with world.services.reading() as session:
        assert registry.studies_of(session, "P-1", "") == frozenset()
        assert registry.studies_of(session, "P-2", "") == {STUDY}


def test_a_name_alone_is_reason_enough(world):
    world.composed(*images(3))
    world.run(60)
    correct(world, *images(3, name="Sommer^Johanna"))
    assert newest(world)[0].version == 2
    assert str(sent(world).PatientName) == "Sommer^Johanna"
    assert "Sommer" not in world.told()


def test_a_study_half_corrected_waits_for_the_rest(world):
    world.composed(*images(3))
    world.run(60)
    correct(world, *images(1, patient="P-2"))
    assert newest(world)[0].version == 1
    assert "different patients" in world.study().flag
    correct(world, *images(3, patient="P-2"))
    assert newest(world)[0].version == 2
    assert world.study().flag == ""
    assert str(sent(world).PatientID) == "P-2"


def test_a_signed_report_is_flagged_and_amended_without_an_answer(world, template):
    world.composed(*images(3))
    give(world, *COMPLETE)
    revising.sign(world.services, STUDY, WHO)
    world.run(60)
    version = newest(world)[0].version
    with pytest.raises(NotAllowed, match="says already"):
        revising.amend(world.services, STUDY, (), OTHER, "no reason at all")
    correct(world, *images(3, patient="P-2"))
    record, patient = newest(world)
    assert (record.version, patient[0]) == (version, "P-1")
    assert f"signed version {version} names them as they were: 'lms-sr report amend {STUDY}'" in world.study().flag
    assert str(sent(world).PatientID) == "P-1"
    # more of it changes nothing more
    correct(world, *images(3, series=2, patient="P-2"))
    assert "patient or order were corrected" in world.study().flag
    revising.amend(world.services, STUDY, (), WHO, "patient corrected in the PACS")
    world.run(60)
    record, patient = newest(world)
    assert (record.version, record.state, patient[0]) == (version + 1, State.AMENDED, "P-2")
    assert str(sent(world).PatientID) == "P-2"
    with world.services.reading() as session:
        assert registry.studies_of(session, "P-1", "") == frozenset()


@pytest.mark.parametrize("to", ["P-2", "P-3"])
def test_reports_of_both_patients_are_told(world, to):
    world.composed(*images(2, study=SECOND))
    third = "1.2.3.5"
    world.composed(*images(2, study=third, patient="P-2"))
    world.composed(*images(3))
    world.run(60)
    correct(world, *images(3, patient=to))
    for uid, told in ((SECOND, True), (third, to == "P-2")):
        with world.services.reading() as session:
            flag = inbox.get_study(session, uid).flag
        assert ("may not hold" in flag) is told, (uid, flag)
    assert world.study().flag == ""


def test_what_was_read_of_it_as_an_earlier_examination_is_forgotten(world):
    world.composed(*images(2))
    with world.services.engine.begin() as connection:
        row = "INSERT INTO prior_study (study_instance_uid, prior_study_uid, node, instances, content) VALUES ('1.2', :uid, 'PACS', 2, 'x')"
        connection.execute(text(row), {"uid": STUDY})
    correct(world, *images(2, patient="P-2"))
    with world.services.engine.begin() as connection:
        assert connection.execute(
            text("SELECT instances, content FROM prior_study WHERE study_instance_uid = '1.2'")
        ).all() == [(0, "")]


def test_versions_made_before_identities_were_kept_are_left_alone(world):
    world.composed(*images(3))
    world.run(60)
    with world.services.engine.begin() as connection:
        connection.execute(text("UPDATE report SET identity_hash = ''"))
    correct(world, *images(3, name="Other^Name"))
    assert newest(world)[0].version == 1
