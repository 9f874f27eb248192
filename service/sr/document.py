"""The document around a content tree: patient, study, series, equipment and SR Document General modules (PS3.3 A.35), and its bytes.

Our own and not highdicom's: its documents copy from ``evidence[0]`` by attribute and fail on about 5 % of real files, and they take
the time twice. Here every attribute comes from the normalised study or from the envelope, and the same input gives the same bytes.
"""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from service import __version__
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import CompletionFlag, PreliminaryFlag, VerificationFlag
from service.model.signing import Predecessor, Signature
from service.model.study import Instance, Patient, Request, Study
from service.model.uids import CODING_SCHEME_UID, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from service.sr import evidence, origin
from service.sr.items import ContentItem
from sr_templates.codes import PRIVATE_SCHEME

MANUFACTURER = "LMS-SR"
#: the class whose relationships are fewer (PS3.3 A.35.2.3.1.2)
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Everything about a document that is not its content."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    series_description: str
    #: Instance Number (0020,0013): the version of the report
    version: int
    #: when the content was made; aware
    created_at: dt.datetime
    timezone: str = "UTC"
    #: who says that it is right; None: nobody yet
    signature: Signature | None = None
    #: documents whose content this one takes over and replaces
    predecessors: tuple[Reference, ...] = ()
    #: instances that the content rests on beside the study's own (the report, for its companion)
    further_evidence: tuple[Reference, ...] = ()

    @property
    def completion(self) -> CompletionFlag:
        """Return Completion Flag (0040,A491): complete once it is signed."""
        return CompletionFlag.COMPLETE if self.signature else CompletionFlag.PARTIAL

    @property
    def verification(self) -> VerificationFlag:
        """Return Verification Flag (0040,A493): verified once it is signed."""
        return VerificationFlag.VERIFIED if self.signature else VerificationFlag.UNVERIFIED

    @property
    def preliminary(self) -> PreliminaryFlag:
        """Return Preliminary Flag (0040,A496): final once it is signed."""
        return PreliminaryFlag.FINAL if self.signature else PreliminaryFlag.PRELIMINARY


def document(root: ContentItem, study: Study, envelope: Envelope) -> Dataset:
    """Return the SR as a data set, file meta included, without the evidence that `to_bytes` adds."""
    ds = common(study, envelope, "SR")
    ds.ReferencedPerformedProcedureStepSequence = []
    _general(ds, study, envelope)
    if envelope.sop_class_uid == ENHANCED_SR:
        origin.said_in_words(root)
    for name in (
        "ValueType",
        "ConceptNameCodeSequence",
        "ContinuityOfContent",
        "ContentTemplateSequence",
        "ContentSequence",
    ):
        ds[name] = root[name]
    return ds


def common(study: Study, envelope: Envelope, modality: str) -> Dataset:
    """Return what every object of ours begins with: file meta, SOP common, patient, study, series and equipment (PS3.3 C.7, C.12.1)."""
    ds = Dataset()
    ds.file_meta = _file_meta(envelope)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = UID(envelope.sop_class_uid)
    ds.SOPInstanceUID = UID(envelope.sop_instance_uid)
    ds.InstanceNumber = envelope.version
    _times(ds, study, envelope)
    _patient(ds, study.patient)
    _study(ds, study)
    _series(ds, envelope, modality)
    return ds


def part10(ds: Dataset) -> bytes:
    """Return an object as a DICOM file (PS3.10)."""
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def to_bytes(ds: Dataset, study: Study, envelope: Envelope) -> bytes:
    """Return a document as a DICOM file (PS3.10), with the evidence of the whole study at its place among the elements."""
    references = (*(_reference(i) for i in study.instances), *envelope.further_evidence)
    before, after = _split(ds)
    buffer = io.BytesIO()
    dcmwrite(buffer, before, enforce_file_format=True)
    if references:
        buffer.write(evidence.current_evidence(study.study_instance_uid, references))
    rest = DicomBytesIO()
    rest.is_little_endian, rest.is_implicit_VR = True, False
    write_dataset(rest, after, "utf-8")
    return buffer.getvalue() + rest.getvalue()


def _reference(instance: Instance) -> Reference:
    return Reference(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
    )


def _split(ds: Dataset) -> tuple[Dataset, Dataset]:
    """Part a document at the place of the evidence: elements stand in the order of their tags."""
    before, after = Dataset(), Dataset()
    before.file_meta = ds.file_meta
    for element in ds:
        (before if element.tag < evidence.CURRENT_REQUESTED_PROCEDURE_EVIDENCE else after).add(element)
    return before, after


def _file_meta(envelope: Envelope) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(envelope.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(envelope.sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _times(ds: Dataset, study: Study, envelope: Envelope) -> None:
    """Our times in the site's zone, with the offset beside them; of the study's times only those that identify the study.

    Timezone Offset From UTC speaks for every time of the object, so no series, acquisition or content time is copied.
    """
    local = envelope.created_at.astimezone(ZoneInfo(envelope.timezone))
    ds.InstanceCreationDate = ds.ContentDate = local.strftime("%Y%m%d")
    ds.InstanceCreationTime = ds.ContentTime = local.strftime("%H%M%S")
    ds.TimezoneOffsetFromUTC = local.strftime("%z")
    ds.StudyDate = study.date
    ds.StudyTime = study.time


def _patient(ds: Dataset, patient: Patient) -> None:
    ds.PatientName = patient.name
    ds.PatientID = patient.patient_id
    if patient.issuer:
        ds.IssuerOfPatientID = patient.issuer
    ds.PatientBirthDate = patient.birth_date
    ds.PatientSex = patient.sex


def _study(ds: Dataset, study: Study) -> None:
    ds.StudyInstanceUID = study.study_instance_uid
    ds.ReferringPhysicianName = study.referring_physician
    ds.StudyID = study.study_id
    ds.AccessionNumber = study.accession_number
    if study.accession_issuer:
        ds.IssuerOfAccessionNumberSequence = [_issuer(study.accession_issuer)]
    if study.description:
        ds.StudyDescription = study.description


def _issuer(namespace: str) -> Dataset:
    item = Dataset()
    item.LocalNamespaceEntityID = namespace
    return item


def _series(ds: Dataset, envelope: Envelope, modality: str) -> None:
    ds.Modality = modality
    ds.SeriesInstanceUID = envelope.series_instance_uid
    ds.SeriesNumber = envelope.series_number
    ds.SeriesDescription = envelope.series_description
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = MANUFACTURER
    ds.DeviceSerialNumber = "1"
    ds.SoftwareVersions = __version__


def _general(ds: Dataset, study: Study, envelope: Envelope) -> None:
    ds.CompletionFlag = envelope.completion.value
    ds.VerificationFlag = envelope.verification.value
    ds.PreliminaryFlag = envelope.preliminary.value
    if envelope.signature is not None:
        ds.VerifyingObserverSequence = [_verifier(envelope.signature, envelope)]
    ds.PerformedProcedureCodeSequence = [coded(c) for c in study.procedure_codes]
    requests = referenced_requests(study)
    if requests:
        ds.ReferencedRequestSequence = requests
    ds.CodingSchemeIdentificationSequence = [_coding_scheme()]
    if envelope.predecessors:
        ds.PredecessorDocumentsSequence = [_predecessors(study, envelope.predecessors)]


def _verifier(signature: Signature, envelope: Envelope) -> Dataset:
    """Return the item of Verifying Observer Sequence (0040,A073): its identification code is Type 2, so it may be empty."""
    person = signature.person
    item = Dataset()
    item.VerifyingOrganization = person.organisation
    item.VerificationDateTime = signature.at.astimezone(ZoneInfo(envelope.timezone)).strftime("%Y%m%d%H%M%S")
    item.VerifyingObserverName = person.name
    item.VerifyingObserverIdentificationCodeSequence = [coded(person.code)] if person.code else []
    return item


def _predecessors(study: Study, references: tuple[Reference, ...]) -> Dataset:
    item = evidence.plain(study.study_instance_uid, references)
    purposes = {r.sop_instance_uid: r.purpose for r in references if isinstance(r, Predecessor) and r.purpose}
    for series in item.ReferencedSeriesSequence:
        for sop in series.ReferencedSOPSequence:
            if (purpose := purposes.get(str(sop.ReferencedSOPInstanceUID))) is not None:
                sop.PurposeOfReferenceCodeSequence = [coded(purpose)]
    return item


def coded(code: Code) -> Dataset:
    """Return the item of a code sequence (PS3.3 8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning[:64]
    return item


def referenced_requests(study: Study) -> list[Dataset]:
    """Return the items of Referenced Request Sequence (0040,A370), PS3.3 C.17.2: what the study was requested as."""
    return [_request(r, study) for r in study.requests if r.accession_number or r.requested_procedure_id]


def _request(request: Request, study: Study) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = request.study_instance_uid or study.study_instance_uid
    item.ReferencedStudySequence = []
    item.AccessionNumber = request.accession_number
    if request.accession_issuer:
        item.IssuerOfAccessionNumberSequence = [_issuer(request.accession_issuer)]
    item.PlacerOrderNumberImagingServiceRequest = request.placer_order_number
    item.FillerOrderNumberImagingServiceRequest = request.filler_order_number
    item.RequestedProcedureID = request.requested_procedure_id
    item.RequestedProcedureDescription = request.requested_procedure_description
    code = request.requested_procedure_code
    item.RequestedProcedureCodeSequence = [coded(code)] if code else []
    return item


def _coding_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = CODING_SCHEME_UID
    item.CodingSchemeName = "LMS-SR leiomyosarcoma reporting"
    item.CodingSchemeResponsibleOrganization = "LMS-SR"
    return item
