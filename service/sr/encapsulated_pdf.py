"""The report's page as an object: Encapsulated PDF (PS3.3 A.45.1), which PACS and viewers show where they show no SR."""

from __future__ import annotations

from pydicom.dataset import Dataset

from service.model.code import Code
from service.model.measurement import Reference
from service.model.study import Study
from service.sr.document import Envelope, coded, common, part10

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
#: CID 7000; pydicom's dictionary: LN.DiagnosticImagingReport
DIAGNOSTIC_IMAGING_REPORT = Code("18748-4", "LN", "Diagnostic Imaging Report")
#: Document Title (0042,0010) is ST: at most 1,024 characters
_MAX_TITLE = 1024


def encapsulated_pdf(
    pdf: bytes, study: Study, envelope: Envelope, *, title: str, sources: tuple[Reference, ...]
) -> bytes:
    """Return the object that carries ``pdf``, as a DICOM file.

    Parameters
    ----------
    pdf:
        The page, as `service.page` makes it.
    study, envelope:
        The study it belongs to, and what the object is called; ``envelope.sop_class_uid`` is `ENCAPSULATED_PDF`.
    title:
        Document Title (0042,0010): "Oncology Measurement Report, draft".
    sources:
        What the page was made from: the SR. They stand in Source Instance Sequence (0042,0013).

    Raises
    ------
    ValueError
        ``pdf`` is no PDF.
    """
    if not pdf.startswith(b"%PDF-"):
        msg = "not a PDF: it does not begin with %PDF-"
        raise ValueError(msg)
    ds = common(study, envelope, "DOC")
    # PS3.3 C.8.6.1: made at a workstation, of what others acquired
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = ""
    # the patient's name stands on the page
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = title[:_MAX_TITLE]
    ds.ConceptNameCodeSequence = [coded(DIAGNOSTIC_IMAGING_REPORT)]
    ds.VerificationFlag = envelope.verification.value
    if sources:
        ds.SourceInstanceSequence = [_source(s) for s in sources]
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    # OB is of even length (PS3.5 6.2); the length without the padding stands beside it
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    ds.EncapsulatedDocumentLength = len(pdf)
    return part10(ds)


def _source(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item
