"""What destinations get beside and instead of the SRs, as their settings and their classes have it."""

from __future__ import annotations

import io

from pydicom import dcmread

from service.flow.produce import BASIC_TEXT_SR, CLASS_NAMES, COMPREHENSIVE_SR, ENCAPSULATED_PDF, EXTRAS
from service.store.outbox import OutboxState
from service.work import completing, sending
from tests.integration.test_composing import STS_FILES
from tests.integration.world import STUDY, World, as_data_set, as_file, edit_of, images, node, text_of

ALL = set(CLASS_NAMES)
EVERYTHING = ("measurements", *EXTRAS)


STS = str(dcmread(STS_FILES[0], stop_before_pixels=True).StudyInstanceUID)


def kinds(world: World, study: str = STUDY) -> list[str]:
    return [r.kind for r in world.rows(study)]


class TestBeside:
    def test_a_node_gets_what_its_settings_name(self, world):
        world.configure(nodes=(node(objects=EVERYTHING),))
        world.pacs.accepts = set(ALL)
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        assert kinds(world, STS) == ["report", "companion", *EXTRAS]
        assert set(world.run()) == {"sent"}
        classes = {str(dcmread(io.BytesIO(p), stop_before_pixels=True).SOPClassUID) for p in world.pacs.bytes.values()}
        assert {CLASS_NAMES[c] for c in classes} == {
            "Comprehensive 3D SR",
            "Encapsulated PDF",
            "Secondary Capture",
            "Key Object Selection",
            "Grayscale Softcopy Presentation State",
        }

    def test_each_node_gets_its_own(self, world):
        world.configure(nodes=(node(objects=()), node("SECOND", objects=("pdf",))))
        for archive in world.peers.archives.values():
            archive.accepts = set(ALL)
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        assert [(r.node, r.kind) for r in world.rows(STS)] == [
            ("PACS", "report"),
            ("SECOND", "report"),
            ("SECOND", "pdf"),
        ]

    def test_without_a_measured_line_there_is_only_the_page(self, world):
        world.configure(nodes=(node(objects=EVERYTHING),))
        world.composed(*images())
        assert kinds(world) == ["report", "pdf"]

    def test_a_class_that_the_node_does_not_take_parks_and_names_the_way_out(self, world):
        world.configure(nodes=(node(objects=("pdf",)),))
        world.pacs.accepts = {COMPREHENSIVE_SR}
        world.composed(*images())
        assert world.run() == ["sent", "parked"]
        row = world.row(2)
        assert row.last_message == (
            "PACS does not take Encapsulated PDF: allow it there, then 'lms-sr outbox retry 2', or take 'pdf' out of the node's objects"
        )
        world.pacs.accepts = {COMPREHENSIVE_SR, ENCAPSULATED_PDF}
        sending.retry(world.services, 2)
        assert world.run() == ["sent"]

    def test_the_next_version_makes_them_anew_in_the_same_series(self, world):
        world.configure(nodes=(node(objects=("pdf",)),))
        world.pacs.accepts = set(ALL)
        world.composed(*images())
        world.run()
        world.arrive(*images(4)[3:])
        world.run(3600)
        first, second = (r for r in world.rows() if r.kind == "pdf")
        assert first.series_instance_uid == second.series_instance_uid
        assert first.sop_instance_uid != second.sop_instance_uid
        assert (first.version, second.version) == (1, 2)

    def test_what_came_back_of_ours_makes_no_new_version(self, world):
        world.configure(nodes=(node(objects=EVERYTHING),))
        world.pacs.accepts = set(ALL)
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        for number, part10 in enumerate(list(world.pacs.bytes.values())):
            path = world.services.spool.root.parent / f"{number}.dcm"
            path.write_bytes(part10)
            world.arrive(path)
        world.run(3600)
        assert set(world.versions(STS)) == {1}


class TestInstead:
    def test_a_node_that_takes_no_coded_report_gets_it_in_words(self, world):
        world.pacs.accepts = {BASIC_TEXT_SR}
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        assert kinds(world, STS) == ["report"]
        assert world.run() == ["sent"]
        (sent,) = world.pacs.bytes.values()
        ds = dcmread(io.BytesIO(sent))
        assert ds.SOPClassUID == BASIC_TEXT_SR
        assert ds.ContentTemplateSequence[0].TemplateIdentifier == "2000"
        assert "DRAFT, NOT VERIFIED" in text_of(ds)

    def test_a_node_that_takes_no_report_at_all_gets_the_page(self, world):
        world.pacs.accepts = {ENCAPSULATED_PDF}
        world.composed(*images())
        (row,) = world.rows()
        assert (row.kind, row.sop_class_uid) == ("report", ENCAPSULATED_PDF)
        assert world.run() == ["sent"]

    def test_a_page_goes_over_what_was_taken_in_once(self, world):
        """A page names no predecessors: which reports of others are in it is known to the registry."""
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        lines = next(r for r in world.pacs.reports if int(r.SeriesNumber) == 9902)
        world.pacs.accepts = {ENCAPSULATED_PDF}
        foreign = dcmread(io.BytesIO(edit_of(lines)))
        foreign.SeriesInstanceUID = "1.2.3.4.5"
        world.arrive(as_data_set(as_file(foreign)), called="LMS_ALWAYS")
        world.run(900)
        versions = world.versions(STS)
        for _ in range(2):
            world.arrive(as_data_set(as_file(foreign)), called="LMS_ALWAYS")
            world.run(900)
            completing.start_by_hand(world.services, STS)
            world.run(900)
        assert world.versions(STS) == versions

    def test_once_it_takes_reports_the_page_is_no_predecessor(self, world):
        world.pacs.accepts = {ENCAPSULATED_PDF}
        world.composed(*images())
        world.run()
        world.pacs.accepts = {COMPREHENSIVE_SR}
        world.arrive(*images(4)[3:])
        assert world.run(3600)[-2:] == ["class changed", "sent"]
        (report,) = (ds for ds in world.pacs.reports if ds.Modality == "SR")
        assert "PredecessorDocumentsSequence" not in report

    def test_a_refused_class_goes_down_to_words_and_to_the_page(self, world):
        world.composed(*images())
        world.pacs.accepts = {BASIC_TEXT_SR}
        assert world.run() == ["class changed", "sent"]
        world.pacs.accepts = {ENCAPSULATED_PDF}
        world.arrive(*images(4)[3:])
        assert world.run(3600)[-2:] == ["class changed", "sent"]
        assert [r.sop_class_uid for r in world.rows()] == [BASIC_TEXT_SR, ENCAPSULATED_PDF]
        assert world.rows()[1].state is OutboxState.SENT
        assert "report made again as Encapsulated PDF" in world.told()
