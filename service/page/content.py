"""What stands on the page, in reading order: plain text in frozen values, the same for PDF and web page.

Everything here was said by the report or by its caller; the layouts add nothing to it. Text is as the report has it: the layouts make
it harmless (`service.page.legible`, escaping).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """What the layouts say themselves, in the language of the page; in braces what they put in."""

    #: RFC 5646: what the web page and the PDF say they are written in
    language: str = "en"
    #: how a proposal's origin begins, and what a cell of a matrix says
    proposed: str = "proposed"
    tumour: str = "Tumour"
    report: str = "Report"
    differential: str = "Differential diagnosis: features of this report"
    open_items: str = "Open items"
    item: str = "Item"
    value: str = "Value"
    code: str = "Code"
    source: str = "Source"
    diagnosis: str = "Diagnosis"
    favours: str = "Features that favour"
    argues_against: str = "Features that argue against"
    reference: str = "Reference"
    note: str = "Note"
    hollow: str = "Hollow points: proposed, not confirmed. Lines join the points and say nothing of the time between."
    volume: str = "Volume"
    examined: str = "Examination"
    this_examination: str = "this examination"
    stands: str = "Status"
    more_examinations: str = "{count} more examinations"
    page_of: str = "page {page} of {pages}"
    more_tables: str = "{count} more tables or rows of this page stand in the report only."
    more_pictures: str = "{count} more measured images in the report."
    more_rows: str = "{count} more rows in the report."
    more_lines: str = "{count} more lines in the report."
    more: str = "{count} more in the report"
    more_characters: str = "{count} characters more in the report"
    date: str = "{year}-{month}-{day}"
    decimal_mark: str = "."

    def characters(self, count: int) -> str:
        """Return how many characters of a text are not shown."""
        # a comma that parts thousands would be a decimal one elsewhere
        return self.more_characters.format(count=f"{count:,}" if self.decimal_mark == "." else count)

    def day(self, day: dt.date) -> str:
        """Return a date."""
        return self.date.format(year=f"{day:%Y}", month=f"{day:%m}", day=f"{day:%d}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who verified the report, and when (aware)."""

    name: str
    at: dt.datetime
    organisation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A line of the page's head: "Born", "1960-01-01"."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Prose under a label, with the words that say how far to trust it."""

    label: str
    text: str
    whence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer: item, value, unit, code, and where it came from ("proposed from the segmentation, not confirmed")."""

    item: str
    value: str
    unit: str = ""
    #: "SCT 85756007": of the value, or of the item where the value is no code
    code: str = ""
    whence: str = ""
    #: what it was taken from: "axial, slice 143"
    basis: str = ""
    proposed: bool = False
    #: a number, to be aligned with others
    numeric: bool = False
    #: a line of prose that takes the whole row
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a heading; remarks stand below it."""

    title: str
    rows: tuple[Row, ...]
    #: where most of the rows came from, said once; a row of other origin says its own
    whence: str = ""
    remarks: tuple[str, ...] = ()
    #: what a proposal says where the table's own line says the rest
    doubt: str = "proposed"

    def origin(self, row: Row) -> str:
        """Return what a row says of its origin beside the table's own line: a proposal says so in any case."""
        if not self.whence or row.whence != self.whence:
            return row.whence
        return self.doubt if row.proposed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a matrix."""

    text: str = ""
    proposed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixLine:
    """One structure of a matrix: "right renal vein" and its cells, as many as there are columns."""

    name: str
    cells: tuple[Cell, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Structures times questions: vessels, organs, nodes, metastases."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[MatrixLine, ...]
    whence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One diagnosis of the differential: which features of this report favour it, and which argue against it."""

    diagnosis: str
    favours: tuple[str, ...] = ()
    argues_against: tuple[str, ...] = ()
    #: where the rule stands in the literature
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseRow:
    """One examination of a table over time."""

    date: str
    #: as many as there are columns; empty: nothing, or nothing that can be compared
    cells: tuple[str, ...]
    #: "confirmed", "proposed", "partly proposed", "confirmed, added up"
    stands: str
    proposed: bool = False
    #: the examination that the report is about
    here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseTable:
    """What was measured over time, the oldest examination first: of the lesion, or the sum, that the title names."""

    title: str
    #: the heads of the columns, and the unit below each
    columns: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[CourseRow, ...]
    #: how many examinations are left out behind the first
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePoint:
    """The tumour at one examination; None where it was not measured then."""

    #: as DICOM writes it (DA)
    date: str
    #: the sum of the target lesions, or the long axis where there is one lesion; mm
    length_mm: float | None = None
    volume_ml: float | None = None
    #: the length was measured by a machine and not confirmed: drawn hollow
    proposed: bool = False
    #: so was the volume
    volume_proposed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn key image: RGB, 8 bit, rows × columns × 3 bytes, square pixels."""

    rows: int
    columns: int
    rgb: bytes
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContent:
    """Everything on the page."""

    title: str
    #: empty where the report is signed: "DRAFT, NOT VERIFIED"
    banner: str
    #: the line beside it: what is open, or who signed and when
    status: str
    #: the patient as people write the name, and the head's facts
    patient: str
    facts: tuple[Fact, ...]
    impression: tuple[Paragraph, ...]
    pictures: tuple[Picture, ...] = ()
    history: tuple[TimePoint, ...] = ()
    #: what the lengths of the history are: "Sum of target lesions", "Long axis (LMS-T1)"
    history_label: str = "Long axis"
    #: what its volumes are: "Volume (LMS-T1)"; empty: as the captions call them
    volume_label: str = ""
    courses: tuple[CourseTable, ...] = ()
    lesions: tuple[Table, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    evidence: tuple[EvidenceRow, ...] = ()
    #: what is said of the report as a whole, by section
    sections: tuple[Table, ...] = ()
    open_items: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    #: the foot: "Report version 2", the SOP Instance UID of the SR, what made it
    version: str = ""
    sop_instance_uid: str = ""
    made_by: str = ""
    #: aware; the PDF's creation date
    created_at: dt.datetime
    captions: Captions = Captions()
