"""The prose of a report in its language: phrases, meanings, labels, and what the software noted, each with English to fall back on.

A report's value has no language: answers are codes, numbers and what people wrote. What is said about them is put together here, from
the language file of the templates (``sr_templates/languages``). Concept names and code meanings of the SR stay in the standard's English.

A note that stands in the value ("report of 2026-01-05", a remark) stays in the value as it was made. Where prose repeats it, it is said
in the language as far as the file knows it; where it is read back, its English hangs below (`rep.original`).
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from service.errors import TemplateError
from service.model.code import Code
from service.model.report import Provenance, Subject
from sr_templates import Item, Template, load_codes
from sr_templates.language.labels import ENGLISH as ENGLISH_CODE
from sr_templates.language.labels import Language, language_names, load_language, places
from sr_templates.language.loader import structure_label

_SCHEME = "RFC5646"


class Phrase(enum.StrEnum):
    """What reports and pages say around their answers: the English, and the key of its translation."""

    # where an answer came from
    FROM_HEADER = "from the header"
    FROM_SEGMENTATION = "from the segmentation"
    FROM_MEASUREMENT_REPORT = "from the measurement report"
    FROM_EARLIER_REPORT = "from the earlier report"
    BY_RULE = "by a rule"
    BY_RADIOLOGIST = "by the radiologist"
    BY_PERSON = "by {person}"
    PROPOSED = "proposed"
    PROPOSED_WHENCE = "(proposed {whence})"
    PROPOSED_FROM = "(proposed from the {basis})"
    PROPOSED_UNCONFIRMED = "proposed {whence}, not confirmed"
    PARTLY_UNCONFIRMED = "partly proposed {whence}, not confirmed"
    STATED = "stated {by}"
    CONFIRMED = "{whence}, confirmed"
    CONFIRMED_BY = "{whence}, confirmed {by}"
    REASON = "reason: {reason}"
    AND = "{first} and {second}"
    # numbers, dates, series
    DECIMAL = "0.5"
    DATE = "{year}-{month}-{day}"
    DAYS = "days"
    NO_VALUE = "no value"
    SERIES = "Series {number}"
    NO_NUMBER = "without number"
    IMAGE = "image {image}"
    FRAME = "frame {frame}"
    DETAIL = "{caption} (detail)"
    SERIES_PHASE = "; enhancement phase {phase}"
    # a lesion or structure in words
    LESION = "lesion"
    PLACE = "{side} {site}"
    SIDE_OF = "{side} {structure}"
    T_CATEGORY = "Clinical T category by size: {category} (AJCC, 8th edition)"
    LONG_AXIS = "Long axis: {size}"
    SHORT_AXIS = "Short axis: {size}"
    EXTENT = "Extent (CC x TR x AP): {extents}"
    VOLUME = "Volume: {volume}"
    ATTENUATION = "Mean attenuation: {mean}"
    SPREAD = ", SD {deviation}"
    PART_BELOW_30 = "Part below 30 HU: {part}"
    PART_BELOW_FAT = "Part below -20 HU: {part}"
    # the summary
    DRAFT = "DRAFT, NOT VERIFIED."
    NO_SEGMENTATION = "No segmentation of a tumour was in the study when this draft was made."
    OPEN_ITEMS = "{open} of {prompts} essential items are open."
    SEGMENTED = "Segmented {side} {site} {finding}"
    MEASURED = "Measured {side} {site} {finding}"
    EXTENTS = "{extents} (CC x TR x AP)"
    LONG_AXIS_OF = "long axis {size}"
    NOT_MEASURED = "not measured"
    ALL_CONFIRMED = "{prompts} prompts: {confirmed} confirmed"
    COMPLETENESS = "{prompts} prompts: {proposed} proposed, {confirmed} confirmed, {open} open"
    NO_MEASUREMENT = "No measurement: the study holds no segmentation of a tumour"
    # kinds of structures
    VESSEL = "vessel"
    ORGAN = "organ"
    NODE = "lymph node"
    METASTASIS = "site of metastasis"
    # the page
    BANNER = "DRAFT, NOT VERIFIED"
    WITHDRAWN = "WITHDRAWN, NOT TO BE USED"
    VERIFIED_BY = "Verified by {who}, {when} ({timezone})"
    SUMMARY = "Summary (automatic, not verified)"
    PATIENT_ID = "Patient ID"
    BORN = "Born"
    SEX = "Sex"
    ACCESSION = "Accession"
    STUDY_DATE = "Study date"
    EXAMINATION = "Examination"
    MALE = "male"
    FEMALE = "female"
    OTHER = "other"
    NOT_KNOWN = "not known"
    NONE = "none"
    NO_NAME = "(no name)"
    VERSION = "Report version {version}"
    MADE_BY = "{software}, template {template}"
    CONTINUED = "{heading} (continued)"
    LENGTH_OVER_TIME = "Long axis"
    SHORT_OVER_TIME = "Short axis"
    SUM_OVER_TIME = "Sum of target lesions"
    VOLUME_OVER_TIME = "Volume"
    HEAD_TUMOUR = "Tumour"
    HEAD_REPORT = "Report"
    HEAD_DIFFERENTIAL = "Differential diagnosis: features of this report"
    HEAD_OPEN = "Open items"
    COLUMN_ITEM = "Item"
    COLUMN_VALUE = "Value"
    COLUMN_CODE = "Code"
    COLUMN_SOURCE = "Source"
    COLUMN_DIAGNOSIS = "Diagnosis"
    COLUMN_FAVOURS = "Features that favour"
    COLUMN_AGAINST = "Features that argue against"
    COLUMN_REFERENCE = "Reference"
    NOTE = "Note"
    HOLLOW = "Hollow points: proposed, not confirmed. Lines join the points and say nothing of the time between."
    # the table over time
    COURSE = "Course: {what}"
    COURSE_SUM = "Sum"
    COURSE_PCT_BASELINE = "from baseline"
    COURSE_PCT_NADIR = "from nadir"
    COURSE_PCT_VOLUME = "Volume change"
    COURSE_DOUBLING = "Doubling time"
    COURSE_ATTENUATION = "Attenuation"
    COURSE_OF = "Course of the tumour: {what}"
    NOT_FOR_MEASUREMENT = "Not for measurement: drawn from the numbers of the report."
    COLUMN_STANDS = "Status"
    IS_BASELINE = "baseline"
    IS_CONFIRMED = "confirmed"
    ADDED_UP = "{stands}, added up"
    PARTLY_PROPOSED = "partly proposed"
    THIS_EXAMINATION = "this examination"
    UNKNOWN_DATE = "an unknown date"
    MORE_EXAMINATIONS = "{count} more examinations"
    PAGE_OF = "page {page} of {pages}"
    MORE_TABLES = "{count} more tables or rows of this page stand in the report only."
    MORE_PICTURES = "{count} more measured images in the report."
    MORE_ROWS = "{count} more rows in the report."
    MORE_LINES = "{count} more lines in the report."
    MORE = "{count} more in the report"
    MORE_CHARACTERS = "{count} characters more in the report"
    DRAFT_TITLE = "{title}, draft, not verified"


_WHENCE: Mapping[Provenance, Phrase] = MappingProxyType(
    {
        Provenance.DICOM: Phrase.FROM_HEADER,
        Provenance.SEGMENTATION: Phrase.FROM_SEGMENTATION,
        Provenance.MEASUREMENT_SR: Phrase.FROM_MEASUREMENT_REPORT,
        Provenance.PRIOR: Phrase.FROM_EARLIER_REPORT,
        Provenance.RULE: Phrase.BY_RULE,
        Provenance.RADIOLOGIST: Phrase.BY_RADIOLOGIST,
    }
)


class Wording:
    """Says things in one language; what its file lacks is said in English."""

    def __init__(self, language: Language) -> None:
        self.language = language
        codes = load_codes()
        self._meanings = {
            (codes[key].scheme, codes[key].value): text for key, text in reversed(list(language.values.items()))
        }
        self._headings = {(codes[key].scheme, codes[key].value): text for key, text in language.headings.items()}
        self._notes = {k: v for k, v in language.notes.items() if not places(k)}
        self._patterns = tuple((_pattern(k), v) for k, v in language.notes.items() if places(k))

    @property
    def english(self) -> bool:
        """Say whether it is the language that everything is made in."""
        return self.language.code == ENGLISH_CODE

    @property
    def code(self) -> Code:
        """Return the code of the language (RFC 5646, PS3.16 CID 5000).

        Raises
        ------
        TemplateError
            ``codes.csv`` has no row for it.
        """
        if self.english:
            return load_codes()["tid.language.en_us"]
        tag = self.language.tag
        found = next((r.code for r in load_codes() if (r.code.scheme, r.code.value) == (_SCHEME, tag)), None)
        if found is None:
            msg = f"sr_templates/codes.csv has no row of {_SCHEME} for '{tag}': add it, so that a report can say its language"
            raise TemplateError(msg)
        return found

    def say(self, phrase: Phrase, **parts: object) -> str:
        """Return a phrase with its places filled."""
        text = self.language.phrases.get(phrase.value, phrase.value)
        return text.format(**parts) if parts else text

    def joined(self, phrase: Phrase, **parts: str) -> str:
        """Return a phrase some of whose parts may be empty, without the blanks that they leave."""
        return " ".join(self.say(phrase, **parts).split())

    def listed(self, texts: Iterable[str]) -> str:
        """Return texts joined by "and"."""
        return functools.reduce(lambda first, second: self.say(Phrase.AND, first=first, second=second), texts)

    def whence(self, provenance: Provenance) -> str:
        """Return where an answer came from: "from the header"."""
        return self.say(_WHENCE[provenance])

    # --- codes and items -------------------------------------------------------------------------------------------------

    def meaning(self, code: Code) -> str:
        """Return what a code means; codes of others in their own words."""
        return self._meanings.get((code.scheme, code.value), code.meaning)

    def inner(self, code: Code) -> str:
        """Return what a code means within a sentence: a translation as it stands, English in small letters."""
        return self._meanings.get((code.scheme, code.value)) or code.meaning.lower()

    def heading(self, code: Code) -> str:
        """Return a heading."""
        return self._headings.get((code.scheme, code.value), code.meaning)

    def label(self, item: Item) -> str:
        """Return what a reader calls an item."""
        return self.language.labels.get(item.key, item.label)

    def prompt(self, prompt: str, template: Template) -> str:
        """Return a prompt; an item that is asked alone is asked by its label."""
        if prompt in self.language.prompts:
            return self.language.prompts[prompt]
        return next((self.label(i) for i in template if i.prompt == i.label == prompt), prompt)

    def phase(self, code: Code) -> str:
        """Return an enhancement phase behind the word "phase", or as a phase of its own."""
        return code.meaning.removesuffix(" phase") if self.english else self.meaning(code)

    def structure(self, subject: Subject) -> str:
        """Return a structure with its side: "right renal vein"."""
        if subject.structure is None:
            return subject.tracking_id or subject.key
        if self.english:
            return structure_label(subject.structure, subject.side.meaning if subject.side is not None else "")
        name = self.meaning(subject.structure)
        return self.say(Phrase.SIDE_OF, side=self.meaning(subject.side), structure=name) if subject.side else name

    def series(self, key: str) -> str:
        """Return the name of a series as a reader reads it: "Series 2"."""
        return key if self.english else self.say(Phrase.SERIES, number=self.note(key.removeprefix("Series ")))

    # --- numbers and dates -----------------------------------------------------------------------------------------------

    @property
    def decimal_mark(self) -> str:
        """Return the decimal mark: what stands between the digits of "0.5"."""
        return self.say(Phrase.DECIMAL).strip("05")

    def decimal(self, number: Decimal) -> str:
        """Return a number with the decimal mark of the language."""
        return f"{number:f}".replace(".", self.decimal_mark)

    def date(self, written: str) -> str:
        """Return a date that DICOM writes (DA); what is none as it is."""
        if len(written) != len("YYYYMMDD"):
            return written
        return self.say(Phrase.DATE, year=written[:4], month=written[4:6], day=written[6:])

    # --- what the software noted in English ------------------------------------------------------------------------------

    def note(self, text: str) -> str:
        """Return a note of the software as far as the language knows it: text of people and headers stays as it is."""
        if text in self._notes or len(text) > _LONGEST_NOTE:
            return self._notes.get(text, text)
        for pattern, said in self._patterns:
            if found := pattern.fullmatch(text):
                parts = {
                    name.removeprefix("p"): self._part(part, len(text)) for name, part in found.groupdict().items()
                }
                return _filled(said, parts)
        return text

    def _part(self, part: str, whole: int) -> str:
        """Return what stands in a place of a note: a number, a date, another note, or anything, which stays as it is."""
        known = self.note(part) if len(part) < whole else part
        if known == part and _BETWEEN in part:
            known = _BETWEEN.join(self._notes.get(p, p) for p in part.split(_BETWEEN))
        if _DATE.fullmatch(part):
            return self.date(part.replace("-", ""))
        return part.replace(".", self.decimal_mark) if _NUMBER.fullmatch(part) else known


#: parts the names of elements in a note
_BETWEEN = ", "
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = re.compile(r"-?\d+\.\d+")
_PLACE = re.compile(r"\{(\d+)\}")
#: characters; the software notes nothing longer, and a long text of others is not searched
_LONGEST_NOTE = 400


def _pattern(note: str) -> re.Pattern[str]:
    parts = _PLACE.split(note)
    return re.compile("".join(f"(?P<p{p}>.+?)" if i % 2 else re.escape(p) for i, p in enumerate(parts)), re.DOTALL)


def _filled(text: str, parts: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda m: parts[m[1]], text)


#: what everything is made in, and what is said where nothing else is asked for
ENGLISH = Wording(load_language(ENGLISH_CODE))


@functools.cache
def wording(code: str) -> Wording:
    """Return how things are said in the language ``code`` of the installed templates.

    Raises
    ------
    TemplateError
        There is no such language, or its file is wrong.
    """
    return ENGLISH if code == ENGLISH_CODE else Wording(load_language(code))


def wording_of(language: Language) -> Wording:
    """Return how things are said in ``language``, which need not be one of the installed templates."""
    known = wording(language.code) if language.code in language_names() else None
    return known if known is not None and known.language is language else Wording(language)
