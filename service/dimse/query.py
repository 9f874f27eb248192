"""What a node holds: C-FIND in the Study Root model (PS3.4 Annex C, as SCU).

Asked level by level, study, series, image, each with the keys of the levels above it: many archives refuse relational queries
(PS3.4 C.4.1.2.2.1), and some ignore keys that they do not know, so answers that do not match are dropped here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.dsutils import decode, encode

from service.dimse import statuses
from service.dimse.library import GARBAGE
from service.dimse.requestor import Accepted, Proposal, Requestor
from service.dimse.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from service.errors import PeerUnavailable, Rejected
from service.model.archive import Found, FoundSeries, FoundStudy
from service.settings import Node, Settings

__all__ = [
    "Found",
    "FoundSeries",
    "FoundStudy",
    "find_reports",
    "has_instance",
    "instances_at",
    "series_in",
    "studies_of",
]

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
#: answers to one question beyond which a node is not believed
MAX_ANSWERS: Final = 100_000
#: a whole inquiry takes at most this many times ``[outgoing] timeout_seconds``
_PATIENCE = 4

_PENDING = (0xFF00, 0xFF01)
_UNIQUE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
#: what is read of every answer
_READ = (*_UNIQUE, "SOPClassUID", "InstanceNumber")
_STUDY_KEYS = (
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "StudyDate", "ModalitiesInStudy", "StudyDescription",
)  # fmt: skip
_SERIES_KEYS = ("Modality", "BodyPartExamined", "SeriesDescription")
#: for a Patient ID beyond ASCII
_UTF8 = "ISO_IR 192"


def studies_of(settings: Settings, node: Node, patient_id: str) -> tuple[FoundStudy, ...]:
    """Return the studies that the node holds of a patient, the newest first; those without a date last.

    Answers about another Patient ID are dropped: an ID with ``*`` or ``?`` in it is a wild card to the node (PS3.4 C.2.2.2.4).

    Raises
    ------
    PeerUnavailable, Rejected
        As ``instances_at``.
    """
    with _Inquiry(settings, node) as inquiry:
        keys = dict.fromkeys(_STUDY_KEYS, "") | {"PatientID": patient_id}
        found = {
            uid: FoundStudy(
                study_instance_uid=uid,
                date=answer["StudyDate"],
                modalities=frozenset(answer["ModalitiesInStudy"].split("\\")) - {""},
                description=answer["StudyDescription"],
                issuer=answer["IssuerOfPatientID"],
                birth_date=answer["PatientBirthDate"],
            )
            for answer in inquiry.ask("STUDY", StudyInstanceUID="", **keys)
            if (uid := answer["StudyInstanceUID"]) and answer["PatientID"] == patient_id
        }
    return tuple(sorted(found.values(), key=lambda f: (f.date, f.study_instance_uid), reverse=True))


def series_in(settings: Settings, node: Node, study_uid: str) -> tuple[FoundSeries, ...]:
    """Return the series of a study that the node holds.

    Raises
    ------
    PeerUnavailable, Rejected
        As ``instances_at``.
    """
    with _Inquiry(settings, node) as inquiry:
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": "", **dict.fromkeys(_SERIES_KEYS, "")}
        found = {
            uid: FoundSeries(
                series_instance_uid=uid,
                modality=answer["Modality"],
                body_part=answer["BodyPartExamined"],
                description=answer["SeriesDescription"],
            )
            for answer in inquiry.ask("SERIES", **keys)
            if (uid := answer["SeriesInstanceUID"])
        }
    return tuple(found[uid] for uid in sorted(found))


def instances_at(settings: Settings, node: Node, study_uid: str) -> frozenset[str]:
    """Return the SOP Instance UIDs that the node holds of a study; empty where it does not know the study.

    Raises
    ------
    PeerUnavailable
        No connection, no association, no answer in time, out of resources.
    Rejected
        The node refuses the association or the query, or answers without end.
    """
    with _Inquiry(settings, node) as inquiry:
        return frozenset(found.sop_instance_uid for found in inquiry.images(study_uid, inquiry.series(study_uid)))


def has_instance(settings: Settings, node: Node, study_uid: str, series_uid: str, sop_instance_uid: str) -> bool:
    """Say whether the node holds an instance.

    Raises
    ------
    PeerUnavailable, Rejected
        As ``instances_at``.
    """
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": sop_instance_uid}
    with _Inquiry(settings, node) as inquiry:
        return any(answer["SOPInstanceUID"] == sop_instance_uid for answer in inquiry.ask("IMAGE", **keys))


def find_reports(settings: Settings, node: Node, study_uid: str, series_uids: Iterable[str]) -> tuple[Found, ...]:
    """Return what the node holds in some series of a study, ordered by series, Instance Number and UID.

    Raises
    ------
    PeerUnavailable, Rejected
        As ``instances_at``.
    """
    with _Inquiry(settings, node) as inquiry:
        found = set(inquiry.images(study_uid, series_uids))
    return tuple(sorted(found, key=lambda f: (f.series_instance_uid, f.instance_number or 0, f.sop_instance_uid)))


class _Inquiry:
    """An association over which questions are asked."""

    def __init__(self, settings: Settings, node: Node) -> None:
        self._timeout = settings.outgoing.timeout_seconds
        self._until = 0.0
        proposal = Proposal(abstract_syntax=STUDY_ROOT_FIND, transfer_syntaxes=(EXPLICIT_LITTLE, IMPLICIT_LITTLE))
        self._peer = Requestor(settings, node, [proposal])
        self._context: Accepted | None = None

    def __enter__(self) -> _Inquiry:
        self._until = time.monotonic() + _PATIENCE * self._timeout
        self._peer.__enter__()
        self._context = self._peer.context_for(STUDY_ROOT_FIND)
        return self

    def __exit__(self, *error: object) -> None:
        kind, value, trace = error
        self._peer.__exit__(kind, value, trace)  # type: ignore[arg-type]

    def series(self, study_uid: str) -> list[str]:
        """Return the series of a study."""
        answers = self.ask("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID="")
        return sorted({uid for answer in answers if (uid := answer["SeriesInstanceUID"])})

    def images(self, study_uid: str, series_uids: Iterable[str]) -> Iterator[Found]:
        """Iterate over the instances of some series."""
        for series_uid in series_uids:
            keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
            for answer in self.ask("IMAGE", **keys, SOPClassUID="", InstanceNumber=""):
                if uid := answer["SOPInstanceUID"]:
                    yield Found(
                        series_instance_uid=series_uid,
                        sop_instance_uid=uid,
                        sop_class_uid=answer["SOPClassUID"],
                        instance_number=_whole(answer["InstanceNumber"]),
                    )

    def ask(self, level: str, **keys: str) -> Iterator[dict[str, str]]:
        """Ask one question; iterate over the answers that match it, as text by keyword (of ``keys`` and ``_READ``).

        The iterator is to be used up before the next question.
        """
        context = self._context
        if context is None:
            msg = f"{self._peer} does not take C-FIND (Study Root): allow it there, or set query = false"
            raise Rejected(msg, statuses.CLASS_NOT_SUPPORTED)
        implicit = context.transfer_syntax == IMPLICIT_LITTLE
        message_id = self._peer.send(_question(level, keys, implicit=implicit), context)
        for _ in range(MAX_ANSWERS):
            response = self._peer.receive(message_id, deadline=min(self._until, time.monotonic() + self._timeout))
            status = response.Status
            if not isinstance(response, C_FIND) or status is None:
                msg = f"{self._peer} answers C-FIND without a status"
                raise PeerUnavailable(msg)
            if status not in _PENDING:
                self._conclude(status)
                return
            answer = self._decoded(response.Identifier or BytesIO(), (*_READ, *keys), implicit=implicit)
            if all(answer[key] in ("", keys[key]) for key in _UNIQUE if keys.get(key)):
                yield answer
        self._peer.cancel(message_id, context)
        msg = f"{self._peer} gives more than {MAX_ANSWERS} answers to one C-FIND"
        raise Rejected(msg)

    def _decoded(self, stream: BytesIO, keywords: tuple[str, ...], *, implicit: bool) -> dict[str, str]:
        try:
            answer = decode(stream, implicit, True)
            # pydicom looks at a value when it is asked for it
            return {keyword: _text(answer.get(keyword)) for keyword in keywords}
        except GARBAGE as error:
            msg = f"{self._peer} answers C-FIND with something that is no data set"
            raise PeerUnavailable(msg) from error

    def _conclude(self, status: int) -> None:
        """Take the last status (PS3.4 C.4.1.1.4)."""
        if status == statuses.SUCCESS:
            return
        msg = f"{self._peer} answers C-FIND with {statuses.describe(status)}"
        if statuses.what_to_do(status) is statuses.Action.PARK:
            raise Rejected(msg, status)
        # also a warning: the answers are not all there is (B001H), and half an answer is none
        raise PeerUnavailable(msg, status)


def _question(level: str, keys: dict[str, str], *, implicit: bool) -> C_FIND:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = _UTF8
    for key, value in keys.items():
        setattr(identifier, key, value)
    request = C_FIND()
    request.AffectedSOPClassUID = UID(STUDY_ROOT_FIND)
    request.Priority = 0
    request.Identifier = BytesIO(encode(identifier, implicit, True) or b"")
    return request


def _text(value: object) -> str:
    """Return a value as it is, whatever it was padded with; several parted by a backslash."""
    if isinstance(value, MultiValue):
        return "\\".join(_text(one) for one in value)
    return "" if value is None else str(value).strip("\0 ")


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
