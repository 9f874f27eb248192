"""A report that is not to be used any more: the note that says so to an archive, and the last version that says so to a reader.

The note is a rejection note of IHE IOCM (RAD TF-3 4.66): a Key Object Selection titled "Rejected for Patient Safety Reasons" that names
the documents. An archive that understands it hides them. One that only stores it goes on showing the newest instance of the series, so
that instance has to say it, too: a last version without any answer, which begins with the word WITHDRAWN.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Report
from service.model.study import Study
from service.sr import items, tree
from service.sr.document import Envelope
from service.sr.encode import preamble, template_line
from service.sr.items import ContentItem
from service.sr.key_objects import selection
from sr_templates import Template

#: CID 7010 and 7031; pydicom's dictionary: DCM.RejectedForPatientSafetyReasons
REJECTED = Code("113037", "DCM", "Rejected for Patient Safety Reasons")


#: the first sentence of the last version
NOT_TO_BE_USED = "WITHDRAWN. This report is not to be used."


def is_withdrawn(ds: Dataset) -> bool:
    """Say whether a document of ours is the last version of a withdrawn report (`withdrawn`)."""
    summary, said = items.key("rep.summary"), items.key("hd.summary")
    return any(
        tree.text(c) == NOT_TO_BE_USED
        for section in tree.children(ds)
        if tree.concept(section) == tree.pair(summary)
        for c in tree.children(section)
        if tree.concept(c) == tree.pair(said)
    )


def withdrawn(report: Report, template: Template) -> ContentItem:
    """Return the root of the last version of a withdrawn report: its remarks say what happened, and nothing else stands in it.

    Parameters
    ----------
    report:
        Without subjects; of its answers only those that identify device, person and procedure are written.
    template:
        Its template.
    """
    root = items.container(template.title, relation=None, template="1500")
    items.add(root, *preamble(report, template))
    said = items.text(items.key("hd.summary"), NOT_TO_BE_USED)
    remarks = (items.text(items.key("rep.remark"), r) for r in report.remarks)
    items.add(root, items.container(items.key("rep.summary"), [said, *remarks]))
    # TID 1500 wants one of three containers
    nothing = items.text(items.key("tid.comment"), "No measurement: the report was withdrawn")
    items.add(root, items.container(items.key("tid.qualitative_evaluations"), [nothing]))
    items.add(root, items.text(items.key("rep.template"), template_line(report)))
    return root


def note(
    rejected: tuple[Reference, ...], study: Study, envelope: Envelope, *, description: str, device_uid: str
) -> bytes:
    """Return the rejection note as a DICOM file.

    Parameters
    ----------
    rejected:
        The documents that are not to be used, each once.
    study, envelope:
        The study, and what the note is called; ``envelope.sop_class_uid`` is `KEY_OBJECT_SELECTION`.
    description:
        Who withdrew the report and why, in one line.
    device_uid:
        Device Observer UID (121012, DCM): whose note it is.

    Raises
    ------
    ValueError
        There is nothing to reject.
    """
    return selection(
        rejected, study, envelope, title=REJECTED, kind="COMPOSITE", description=description, device_uid=device_uid
    )
