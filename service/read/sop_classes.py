"""What SOP classes say about modality where the header does not, or says it wrongly (PS3.4 B.5, PS3.3 C.7.3.1.1.1)."""

from __future__ import annotations

from pydicom import uid

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"

_IMAGES = {
    "CT": (uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage),
    "MR": (
        uid.MRImageStorage,
        uid.EnhancedMRImageStorage,
        uid.EnhancedMRColorImageStorage,
        uid.LegacyConvertedEnhancedMRImageStorage,
    ),
    "PT": (
        uid.PositronEmissionTomographyImageStorage,
        uid.EnhancedPETImageStorage,
        uid.LegacyConvertedEnhancedPETImageStorage,
    ),
    "US": (
        uid.UltrasoundImageStorage,
        uid.UltrasoundMultiFrameImageStorage,
        uid.EnhancedUSVolumeStorage,
        "1.2.840.10008.5.1.4.1.1.6",  # retired
        "1.2.840.10008.5.1.4.1.1.3",  # retired
    ),
    "NM": (uid.NuclearMedicineImageStorage, "1.2.840.10008.5.1.4.1.1.5"),
    "XA": (uid.XRayAngiographicImageStorage, uid.EnhancedXAImageStorage, uid.XRay3DAngiographicImageStorage),
    "RF": (uid.XRayRadiofluoroscopicImageStorage, uid.EnhancedXRFImageStorage),
    "CR": (uid.ComputedRadiographyImageStorage,),
    "DX": (uid.DigitalXRayImageStorageForPresentation, uid.DigitalXRayImageStorageForProcessing),
    "MG": (uid.DigitalMammographyXRayImageStorageForPresentation, uid.DigitalMammographyXRayImageStorageForProcessing),
}

_OBJECTS = {
    "SR": (
        uid.BasicTextSRStorage,
        uid.EnhancedSRStorage,
        uid.ComprehensiveSRStorage,
        uid.Comprehensive3DSRStorage,
        uid.ExtensibleSRStorage,
        uid.XRayRadiationDoseSRStorage,
        uid.RadiopharmaceuticalRadiationDoseSRStorage,
        uid.PatientRadiationDoseSRStorage,
    ),
    "KO": (uid.KeyObjectSelectionDocumentStorage,),
    "SEG": (SEGMENTATION, LABEL_MAP_SEGMENTATION, uid.SurfaceSegmentationStorage),
    "RTSTRUCT": (uid.RTStructureSetStorage,),
    "RTDOSE": (uid.RTDoseStorage,),
    "RTPLAN": (uid.RTPlanStorage, uid.RTIonPlanStorage),
    "PR": (
        uid.GrayscaleSoftcopyPresentationStateStorage,
        uid.ColorSoftcopyPresentationStateStorage,
        uid.BlendingSoftcopyPresentationStateStorage,
    ),
    "REG": (uid.SpatialRegistrationStorage, uid.DeformableSpatialRegistrationStorage),
    "RWV": (uid.RealWorldValueMappingStorage,),
    "DOC": (uid.EncapsulatedPDFStorage, uid.EncapsulatedCDAStorage),
    "M3D": (uid.EncapsulatedSTLStorage, uid.EncapsulatedOBJStorage, uid.EncapsulatedMTLStorage),
}

_IMAGE_MODALITY = {str(u): modality for modality, uids in _IMAGES.items() for u in uids}
_OBJECT_MODALITY = {str(u): modality for modality, uids in _OBJECTS.items() for u in uids}


def modality_of(declared: str, sop_class_uid: str) -> str:
    """Return the modality of an instance.

    Parameters
    ----------
    declared:
        Modality (0008,0060) as the header says, possibly empty.
    sop_class_uid:
        The SOP class, which prevails where it says that the object is no image: a report that calls itself "CT" is none.

    Returns
    -------
    str
        ``OT`` where neither says anything.
    """
    return _OBJECT_MODALITY.get(sop_class_uid) or declared.strip().upper() or _IMAGE_MODALITY.get(sop_class_uid, "OT")
