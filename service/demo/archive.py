"""What the stand-in PACS holds, in memory or in a folder, and its answers to queries (Study Root, PS3.4 C.4.1 and C.6.2)."""

from __future__ import annotations

import fnmatch
import io
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import PersonName

SR_CLASSES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    }
)

#: level to its keys: what is matched, and what an answer holds where it is asked for
KEYS: Final = {
    "STUDY": (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "StudyDescription",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
    ),
    "SERIES": ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
_UNIQUE: Final = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_LEVELS: Final = tuple(KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One object, as the archive's index knows it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_number: int
    instance_number: int
    #: where it lies; None: in memory
    path: Path | None = None


@dataclass(slots=True)
class _Entry:
    held: Held
    head: Dataset
    content: bytes


class Unanswerable(ValueError):
    """A query that breaks the rules of the Study Root model."""


class Archive:
    """Objects by SOP Instance UID; the first one stays. For several threads.

    Parameters
    ----------
    folder:
        Where files go, named after their SOP Instance UID; None: nowhere.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        self._news = threading.Condition()
        #: SOP Instance UID to how often it was stored: more than once is a resend, never a second object
        self.stores: dict[str, int] = {}
        #: SOP Instance UIDs that came again with another content, one for each time
        self.conflicts: list[str] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, part10: bytes) -> Held:
        """Keep an object (PS3.10); return what the archive has under its UID."""
        head = dcmread(
            io.BytesIO(part10), stop_before_pixels=True, specific_tags=[k for ks in KEYS.values() for k in ks]
        )
        uid = str(head.SOPInstanceUID)
        with self._news:
            self.stores[uid] = self.stores.get(uid, 0) + 1
            known = self._entries.get(uid)
            if known is None:
                known = self._entries[uid] = _Entry(self._written(uid, head, part10), head, part10)
            elif _data_set(known.content) != _data_set(part10):
                self.conflicts.append(uid)
            self._news.notify_all()
            return known.held

    def _written(self, uid: str, head: Dataset, part10: bytes) -> Held:
        path = None
        # a UID is a file name; what only claims to be one is not
        if self._folder is not None and UID(uid).is_valid:
            path = self._folder / f"{uid}.dcm"
            path.write_bytes(part10)
        return Held(
            study_instance_uid=str(head.get("StudyInstanceUID", "")),
            series_instance_uid=str(head.get("SeriesInstanceUID", "")),
            sop_instance_uid=uid,
            sop_class_uid=str(head.get("SOPClassUID", "")),
            transfer_syntax_uid=str(head.file_meta.TransferSyntaxUID),
            series_number=int(head.get("SeriesNumber") or 0),
            instance_number=int(head.get("InstanceNumber") or 0),
            path=path,
        )

    def held(self, study_instance_uid: str = "", sop_classes: Collection[str] = ()) -> tuple[Held, ...]:
        """Return what it holds, of one study and of some classes where they are named, by series and instance number."""
        with self._news:
            chosen = [
                e.held
                for e in self._entries.values()
                if study_instance_uid in {"", e.held.study_instance_uid}
                and (not sop_classes or e.held.sop_class_uid in sop_classes)
            ]
        return tuple(
            sorted(
                chosen, key=lambda h: (h.series_number, h.series_instance_uid, h.instance_number, h.sop_instance_uid)
            )
        )

    def file(self, sop_instance_uid: str) -> bytes:
        """Return an object as a DICOM file.

        Raises
        ------
        KeyError
            It holds no such object.
        """
        with self._news:
            return self._entries[sop_instance_uid].content

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``condition`` holds, looking whenever something is stored; say whether it does."""
        with self._news:
            return self._news.wait_for(condition, seconds)

    def find(self, question: Dataset, hidden: Collection[str] = ()) -> list[Dataset]:
        """Answer a C-FIND identifier as if the ``hidden`` SOP Instance UIDs were not there.

        Raises
        ------
        Unanswerable
            No level, or without the unique keys of the levels above it (PS3.4 C.4.1.2.2.1: no relational queries here).
        """
        level = str(question.get("QueryRetrieveLevel", ""))
        if level not in _LEVELS:
            raise Unanswerable("Query/Retrieve Level is not STUDY, SERIES or IMAGE")
        levels = _LEVELS[: _LEVELS.index(level) + 1]
        for above in levels[:-1]:
            if not question.get(_UNIQUE[above]):
                msg = f"{_UNIQUE[above]} is missing at level {level}"
                raise Unanswerable(msg)
        with self._news:
            heads = [e.head for uid, e in self._entries.items() if uid not in hidden]
        matching = [h for h in heads if all(_matches(question, h, k) for above in levels for k in KEYS[above])]
        by_entity: dict[str, list[Dataset]] = {}
        for head in matching:
            by_entity.setdefault(str(head.get(_UNIQUE[level], "")), []).append(head)
        return [_answer(question, level, members) for members in by_entity.values()]


def _data_set(part10: bytes) -> bytes:
    """Return the data set: what follows the file meta information, which says who sent it (PS3.10 7.1)."""
    # preamble, prefix, then File Meta Information Group Length (0002,0000): tag, VR, length, value
    start = 128 + 4 + 12
    return part10[start + int.from_bytes(part10[start - 4 : start], "little") :]


def _matches(question: Dataset, head: Dataset, keyword: str) -> bool:
    """Say whether a key matches (PS3.4 C.2.2.2: universal, single value, list of UIDs, wildcard, range of dates)."""
    wanted = question.get(keyword)
    if wanted is None or str(wanted) == "":
        return True
    element: Any = head.get(keyword)
    has = "" if element is None else str(element)
    representation = question[keyword].VR
    if representation == "UI":
        return has in ([str(w) for w in wanted] if not isinstance(wanted, str) else [wanted])
    text = str(wanted)
    if representation in {"DA", "TM"} and "-" in text:
        low, _, high = text.partition("-")
        return bool(has) and low <= has and (not high or has <= high)
    if representation == "PN":
        has, text = has.casefold(), text.casefold()
    if "*" in text or "?" in text:
        return fnmatch.fnmatchcase(has, text.replace("[", "[[]"))
    return has == text


def _answer(question: Dataset, level: str, members: list[Dataset]) -> Dataset:
    answer = Dataset()
    answer.SpecificCharacterSet = "ISO_IR 192"
    answer.QueryRetrieveLevel = level
    head = members[0]
    for above in _LEVELS[: _LEVELS.index(level) + 1]:
        for keyword in KEYS[above]:
            if keyword in question or keyword == _UNIQUE[above]:
                value = head.get(keyword)
                # a name that was read with another character set would be written with it
                setattr(answer, keyword, str(value) if isinstance(value, PersonName) else value)
    for keyword, value in _counts(level, members):
        if keyword in question:
            setattr(answer, keyword, value)
    return answer


def _counts(level: str, members: list[Dataset]) -> Iterator[tuple[str, str | list[str]]]:
    """Return the computed keys of a level (PS3.4 Table C.3-1 and C.6.2.1)."""
    if level == "STUDY":
        yield "NumberOfStudyRelatedInstances", str(len(members))
        yield "NumberOfStudyRelatedSeries", str(len({str(m.get("SeriesInstanceUID", "")) for m in members}))
        yield "ModalitiesInStudy", sorted({str(m.get("Modality", "")) for m in members})
    elif level == "SERIES":
        yield "NumberOfSeriesRelatedInstances", str(len(members))
