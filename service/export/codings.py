"""What each coding scheme is called elsewhere: the URI that FHIR wants, and the OID that HL7 and IHE want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.model.code import Code
from service.model.uids import CODING_SCHEME_UID
from sr_templates.codes import PRIVATE_SCHEME

OID = "urn:oid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A coding scheme: its name for people, its OID and its URI."""

    name: str
    oid: str
    uri: str


#: Coding Scheme Designator (0008,0102) → scheme: OIDs from PS3.16 Table 8-1 and PS3.6 Table A-1, URIs from the FHIR R4 and HL7
#: terminology registers ("Code Systems"); where those have no URI, the OID as a URI
SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "DCM": Scheme(
            name="DICOM Controlled Terminology",
            oid="1.2.840.10008.2.16.4",
            uri="http://dicom.nema.org/resources/ontology/DCM",
        ),
        "SCT": Scheme(name="SNOMED CT", oid="2.16.840.1.113883.6.96", uri="http://snomed.info/sct"),
        "LN": Scheme(name="LOINC", oid="2.16.840.1.113883.6.1", uri="http://loinc.org"),
        "UCUM": Scheme(name="UCUM", oid="2.16.840.1.113883.6.8", uri="http://unitsofmeasure.org"),
        "RADLEX": Scheme(name="RadLex", oid="2.16.840.1.113883.6.256", uri="http://radlex.org"),
        "NCIt": Scheme(
            name="NCI Thesaurus",
            oid="2.16.840.1.113883.3.26.1.1",
            uri="http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
        ),
        "ICDO3": Scheme(
            name="ICD-O-3", oid="2.16.840.1.113883.6.43.1", uri="http://terminology.hl7.org/CodeSystem/icd-o-3"
        ),
        "UMLS": Scheme(name="UMLS", oid="2.16.840.1.113883.6.86", uri="http://terminology.hl7.org/CodeSystem/umls"),
        "IBSI": Scheme(
            name="Image Biomarker Standardisation Initiative",
            oid="1.2.840.10008.2.16.13",
            uri=f"{OID}1.2.840.10008.2.16.13",
        ),
        "RFC5646": Scheme(name="Tags for languages", oid="2.16.840.1.113883.6.316", uri="urn:ietf:bcp:47"),
        PRIVATE_SCHEME: Scheme(
            name="LMS-SR leiomyosarcoma reporting", oid=CODING_SCHEME_UID, uri=f"{OID}{CODING_SCHEME_UID}"
        ),
    }
)
_DESIGNATORS = MappingProxyType({s.uri: d for d, s in SCHEMES.items()})


def system_of(code: Code) -> str:
    """Return the URI of a code's scheme; empty where the scheme is a site's own and has none that we know."""
    scheme = SCHEMES.get(code.scheme)
    return scheme.uri if scheme else ""


def designator_of(system: str) -> str:
    """Return the Coding Scheme Designator that stands for a URI; empty where we know none."""
    return _DESIGNATORS.get(system, "")
