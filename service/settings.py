"""Every setting, with its type, its default and what it is for.

Precedence: environment, then the file named by ``--config``, then the defaults here. ``service.configuration`` reads them.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

#: VR AE, PS3.5 6.2
MAX_AE_TITLE = 16
#: how a fingerprint begins where the name of a certificate may stand
FINGERPRINT = "sha256:"

Port = Annotated[int, Field(ge=0, le=65535)]


def _ae_title(text: str) -> str:
    title = text.strip()
    if not 0 < len(title) <= MAX_AE_TITLE or not title.isascii() or not title.isprintable() or "\\" in title:
        msg = f"'{text}' is no AE title: 1 to 16 printable ASCII characters, no backslash (PS3.5 6.2)"
        raise ValueError(msg)
    return title


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        msg = f"'{name}' is no time zone; use a name such as 'Europe/Berlin' or 'UTC'"
        raise ValueError(msg) from error
    return name


def _certificate_name(text: str) -> str:
    """Return a name as certificates are compared by: lower case, addresses and fingerprints in one spelling."""
    name = text.strip().lower()
    if name.startswith(FINGERPRINT):
        digits = name.removeprefix(FINGERPRINT).replace(":", "")
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            msg = f"'{text}' is no fingerprint: sha256: and 64 hexadecimal digits (openssl x509 -noout -fingerprint -sha256)"
            raise ValueError(msg)
        return FINGERPRINT + digits
    if not name or not name.isascii() or not name.isprintable():
        msg = f"'{text}' is no name of a certificate: a host name, an address, a URI, or sha256: and a fingerprint"
        raise ValueError(msg)
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


AeTitle = Annotated[str, AfterValidator(_ae_title)]
CertificateName = Annotated[str, AfterValidator(_certificate_name)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class Section(BaseModel):
    """A section of the file: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Site(Section):
    """The hospital."""

    timezone: ZoneName = Field(
        default="UTC", description="zone of the dates and times that we write, for example Europe/Berlin"
    )
    issuer: str = Field(default="", max_length=64, description="Issuer of Patient ID where objects name none")
    institution: str = Field(default="", max_length=64, description="Institution Name where the images name none")


class Local(Section):
    """Our own application entity."""

    ae_title: AeTitle = Field(default="LMS_SR", description="the title that peers call, and that we call them with")
    bind: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: Port = Field(default=11112, description="DICOM port without TLS; 0 switches the listener off")
    tls_port: Port = Field(
        default=0, description="DICOM port with TLS (2762 is registered for it); 0 switches the listener off"
    )
    max_associations: int = Field(
        default=50,
        ge=1,
        le=500,
        description="associations at the same time; more are told to come later. A tenth more (at least two) is kept for nodes that "
        "have none open",
    )
    receive_processes: int = Field(
        default=0,
        ge=0,
        le=32,
        description="processes that receive, behind one front door; 0: half as many as processor cores, 2 to 4 (1 on a single core). "
        "1: door and all in one",
    )
    fast_path: bool = Field(
        default=True,
        description="read objects straight from the network into the spool; false: through pynetdicom's own reading, which is slower "
        "and holds each object in memory",
    )


class Tls(Section):
    """DICOM over TLS, to us and from us; all files are PEM, and a changed file is in force a second later."""

    profile: Literal["B.12", "B.13"] = Field(
        default="B.12",
        description="profile of PS3.15: BCP 195 RFC 8996, 9325 (B.12), or Modified BCP 195 RFC 8996, 9325 (B.13), "
        "which limits the cipher suites to those it lists",
    )
    mutual: bool = Field(
        default=True,
        description="who calls must show a certificate of one of our CAs; false: may, and then a good one",
    )
    certificate: str = Field(
        default="",
        description="our certificate, followed by those between it and its CA; shown to callers and to called",
    )
    key: str = Field(default="", description="its private key; empty: in the certificate's file")
    key_passphrase: SecretStr = Field(default=SecretStr(""), description="passphrase of the key")
    key_passphrase_file: str = Field(
        default="", description="file that holds the passphrase of the key; read again whenever the key is"
    )
    ca: tuple[str, ...] = Field(
        default=(),
        description="certificates of the CAs that we believe, our own's among them; several while one replaces another",
    )
    crl: tuple[str, ...] = Field(
        default=(),
        description="revocation lists, one for each CA whose certificates are to be used; empty: none is looked at",
    )


class Storage(Section):
    """The spool: where received objects lie."""

    spool: Path = Field(
        default=Path("lms-sr-data/spool"), description="folder for received objects; needs one file system"
    )
    durability: Literal["commit", "write"] = Field(
        default="commit",
        description="before an object is acknowledged: commit flushes it to the disk, write leaves that to the system",
    )
    reserve_mb: int = Field(
        default=2048, ge=0, description="free space below which objects are refused (A700: out of resources)"
    )
    max_object_mb: int = Field(
        default=16384,
        ge=1,
        description="size of one object above which its sender is cut off: it has no end, or no place here",
    )


class Database(Section):
    """Where the state and the registry are kept."""

    url: SecretStr = Field(
        default=SecretStr("sqlite:///lms-sr-data/lms-sr.db"),
        description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
    )


class Completion(Section):
    """When a study counts as complete."""

    quiet_seconds: float = Field(
        default=60, gt=0, description="quiet after the last image, where the PACS gives no answer"
    )
    confirmed_quiet_seconds: float = Field(
        default=5, gt=0, description="quiet after the last image, where the PACS has no more than we"
    )
    max_seconds: float = Field(
        default=900, gt=0, description="after that a study is taken as it is, and the report says so"
    )
    ask_pacs: bool = Field(default=True, description="ask nodes with query = true which images a study has")


class Triage(Section):
    """Which studies get a report."""

    rules: str = Field(default="", description="path of a rules file; empty: the shipped rules")
    always: tuple[AeTitle, ...] = Field(
        default=(), description="called AE titles, accepted beside ae_title, whose studies always get a report"
    )


class Reports(Section):
    """What our objects look like in the PACS."""

    series_number: int = Field(default=9901, ge=1, le=2**31 - 2, description="Series Number of the report")
    companion_series_number: int = Field(
        default=9902, ge=1, le=2**31 - 2, description="Series Number of the measurements"
    )
    rejection_series_number: int = Field(
        default=9909, ge=1, le=2**31 - 2, description="Series Number of rejection notes (withdrawn reports)"
    )
    language: Literal["en", "de"] = Field(
        default="en",
        description="what reports and pages are written in; codes and their meanings stay in the standard's English",
    )


class Clinical(Section):
    """Thresholds that are choices: the literature leaves them open, and a hospital may choose otherwise."""

    volume_disagreement_percent: float = Field(
        default=40,
        gt=0,
        description="warn when the segmented volume and the ellipsoid of the three extents differ by more (irregular masses do)",
    )
    axis_shortfall_mm: float = Field(
        default=10, ge=0, description="warn when no extent reaches the long axis by more than this"
    )
    doubling_min_days: int = Field(
        default=14, ge=1, description="least interval in days for a volume doubling time; below it only the growth rate"
    )
    fat_fraction_percent: float = Field(
        default=75,
        gt=0,
        le=100,
        description="visual fat fraction from which a well-differentiated liposarcoma is favoured (Porrello 2023)",
    )
    encasement_degrees: float = Field(
        default=180,
        gt=0,
        lt=360,
        description="contact with more of a vessel is proposed as encasement, else as abutment (NCCN / SAR pancreatic convention)",
    )
    apart_mm: float = Field(
        default=5,
        gt=0,
        description="segments at least so far apart are proposed as without contact (our choice: no published threshold was found)",
    )
    intravascular_depth_mm: float = Field(
        default=3,
        gt=0,
        description="a tumour's segment so deep within a vein's outline suggests tumour in the vein (our choice; less is one wall)",
    )


class Measuring(Section):
    """What is measured on segmentations, and what counts as which structure."""

    low_attenuation_hu: float = Field(
        default=30,
        description="voxels of a CT below this many HU are of low attenuation, as fluid and necrosis are; the report asks for 30",
    )
    fat_attenuation_hu: float = Field(
        default=-20,
        description="voxels of a CT below this many HU attenuate as fat (Goodpaster, J Appl Physiol 2000;89:104); the report asks for -20",
    )
    metabolic_percent: float = Field(
        default=41,
        ge=0,
        lt=100,
        description="metabolic volume: voxels of at least this part of SUVmax (Boellaard, EANM 2.0, EJNMMI 2015;42:328); 0: all",
    )
    length_tolerance_mm: float = Field(
        default=1, ge=0, description="a length that differs by more from its own line on the image is flagged"
    )
    length_tolerance_percent: float = Field(
        default=2, ge=0, description="a length that differs by more from its own line on the image is flagged"
    )
    structures: str = Field(
        default="",
        description="TOML file of further codes and names of structures, in the shape of service/read/structures.toml; empty: none",
    )


class Signing(Section):
    """Who signs reports from this installation, where the command does not name somebody else."""

    person: str = Field(
        default="",
        max_length=64,
        description="who signs where --as names nobody, as Family^Given; empty: --as is needed",
    )
    organisation: str = Field(
        default="", max_length=64, description="Verifying Organization; empty: that of [site] institution"
    )
    id: str = Field(default="", max_length=16, description="identification code of [signing] person; empty: none")
    id_scheme: str = Field(
        default="",
        max_length=16,
        description="Coding Scheme Designator of identification codes, for example 99HOSPITAL",
    )


class Outgoing(Section):
    """How sending is retried."""

    first_retry_seconds: float = Field(
        default=30, gt=0, description="wait before the second attempt; doubles with each further one"
    )
    max_retry_seconds: float = Field(
        default=3600, gt=0, description="longest wait between two attempts; there is no last attempt"
    )
    timeout_seconds: float = Field(
        default=30, gt=0, description="how long a peer may take for a connection or an answer"
    )


class Priors(Section):
    """Earlier examinations that the registry has no report of: what nodes with ``retrieve`` are asked for."""

    max_studies: int = Field(
        default=5, ge=0, le=50, description="earlier studies of a patient that are asked for, the newest first; 0: none"
    )
    modalities: tuple[str, ...] = Field(
        default=("CT", "MR", "PT"),
        description="only studies with one of these (a study whose modalities are not told counts too)",
    )
    same_region: bool = Field(
        default=True,
        description="leave out studies that name body parts, none of which is of the region of the study at hand",
    )
    max_objects: int = Field(
        default=40, ge=1, le=1000, description="structured reports and segmentations of one study that are asked for"
    )
    max_headers: int = Field(
        default=12, ge=0, le=100, description="images of one study that are asked for, for their headers"
    )
    seconds: float = Field(
        default=60, gt=0, le=600, description="an attempt takes no longer: a draft waits for the first one only"
    )
    attempts: int = Field(
        default=6,
        ge=1,
        le=50,
        description="attempts in a row before a node is left alone; waits between them as [outgoing]",
    )


class Web(Section):
    """The page (its address goes into reports when ``public_url`` is set)."""

    bind: str = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=8080, description="port of the page; 0 switches it off")
    public_url: str = Field(
        default="", description="address of the page as a radiologist's browser sees it; empty: none in reports"
    )


class Log(Section):
    """Logging to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe event that is written"
    )
    format: Literal["text", "json"] = Field(default="text", description="text for people, json for a log collector")


Operation = Literal["echo", "store", "correct"]


class Node(Section):
    """A DICOM node: who may call us, and whom we may call."""

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="our name for the node, for commands and logs",
    )
    ae_title: AeTitle = Field(description="the node's AE title")
    host: str = Field(default="127.0.0.1", description="the node's address")
    port: Port = Field(default=0, description="the node's port; 0: it only calls us")
    from_: tuple[str, ...] = Field(
        default=(),
        alias="from",
        description="addresses, or networks (CIDR), that may call under this title; empty: the addresses of host",
    )
    certificate: tuple[CertificateName, ...] = Field(
        default=(),
        description="names or sha256: fingerprints, one of which the certificate must have with which it calls under this title; "
        "empty: any certificate that is believed, or none where it calls without TLS",
    )
    tls: bool = Field(default=False, description="we call it with TLS")
    tls_name: Annotated[str, AfterValidator(lambda text: _certificate_name(text) if text else text)] = Field(
        default="",
        description="name, or sha256: fingerprint, that its certificate must have when we call it; empty: host",
    )
    may: tuple[Operation, ...] = Field(
        default=("echo", "store"),
        description="what the node may ask of us: echo, store, and correct: what it stores again under another patient, order or study "
        "description, with the same images, takes the place of what we hold (a PACS that corrects; not a scanner)",
    )
    query: bool = Field(default=False, description="we may C-FIND it")
    retrieve: Literal["", "get", "move"] = Field(
        default="",
        description="we may ask it for a patient's earlier reports and segmentations: by C-GET, or by C-MOVE, for which it has to know "
        "our address; empty: not at all",
    )
    reports: bool = Field(
        default=False, description="reports go there; when no node says so, they go to the node that sent the study"
    )
    profile: Literal["standard", "ohif"] = Field(
        default="standard",
        description="tracking identifiers of the measurements: the standard's free wording, or the one that OHIF can edit",
    )

    objects: tuple[Literal["measurements", "pdf", "key-image", "key-objects", "presentation"], ...] = Field(
        default=("measurements",),
        description="what the node gets beside the report: its lines as a second SR, the page as a PDF, the measured slices as "
        "pictures with the plot over time, a selection of their originals, a presentation state over them",
    )

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, populate_by_name=True)


class Settings(Section):
    """All sections together."""

    site: Site = Site()
    local: Local = Local()
    tls: Tls = Tls()
    storage: Storage = Storage()
    database: Database = Database()
    completion: Completion = Completion()
    triage: Triage = Triage()
    reports: Reports = Reports()
    clinical: Clinical = Clinical()
    measuring: Measuring = Measuring()
    signing: Signing = Signing()
    outgoing: Outgoing = Outgoing()
    priors: Priors = Priors()
    web: Web = Web()
    log: Log = Log()
    nodes: tuple[Node, ...] = ()

    def node(self, name: str) -> Node | None:
        """Return the node called ``name``."""
        return next((n for n in self.nodes if n.name == name), None)
