"""What a structured report says of itself: flags, verifiers, observers, predecessors, the instances that it lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from service.errors import InputError
from service.model.foreign import (
    Coded,
    Completion,
    Observer,
    ObserverKind,
    Preliminary,
    ValueType,
    Verification,
    Verifier,
)
from service.model.measurement import Reference
from service.read.sr_content import Content
from service.read.sr_tree import Node
from service.read.sr_values import Refuse, code_of, is_a, is_named, written

_Flag = TypeVar("_Flag", bound=StrEnum)

#: rows of TID 1003 and 1004 → field of `Observer`
_OBSERVER_ROWS: Mapping[str, str] = MappingProxyType(
    {
        "tid.person_observer_name": "name",
        "tid.person_observer_org": "organisation",
        "tid.person_login": "login",
        "tid.device_uid": "uid",
        "tid.device_name": "name",
        "tid.device_manufacturer": "manufacturer",
        "tid.device_model": "model",
        "tid.device_serial": "serial_number",
    }
)


@dataclass(slots=True)
class _ObserverParts:
    kind: ObserverKind
    rows: dict[str, str] = field(default_factory=dict)


class DocumentReader:
    """Reads what describes the document; what of it cannot be read is refused at the root, or at its row.

    Parameters
    ----------
    root:
        The content tree.
    refuse:
        Called with an item that cannot be read and the reason.
    """

    def __init__(self, root: Node, refuse: Refuse) -> None:
        self._root = root
        self._content = root.content
        self._refuse = refuse
        self._observers: list[_ObserverParts] = []
        self.language: Coded | None = None
        self.procedures: list[Coded] = []

    # --- attributes ------------------------------------------------------------------------------------------------------

    @property
    def completion(self) -> Completion | None:
        """Completion Flag (0040,A491)."""
        return self._flag(Completion, "CompletionFlag")

    @property
    def verification(self) -> Verification | None:
        """Verification Flag (0040,A493)."""
        return self._flag(Verification, "VerificationFlag")

    @property
    def preliminary(self) -> Preliminary | None:
        """Preliminary Flag (0040,A496)."""
        return self._flag(Preliminary, "PreliminaryFlag")

    @property
    def instance_number(self) -> int | None:
        """Instance Number (0020,0013), where it is a number."""
        try:
            return next(iter(self._content.whole_numbers("InstanceNumber")), None)
        except InputError as error:
            self._refuse(self._root, str(error))
            return None

    def listed(self, keyword: str) -> tuple[Reference, ...]:
        """Return the instances of a sequence of studies, series and instances (PS3.3 Table C.17-3).

        Raises
        ------
        InputError
            One of the sequences cannot be parsed.
        """
        found: list[Reference] = []
        for study in self._content.items(keyword):
            all_series = study.items("ReferencedSeriesSequence")
            if not all_series:
                self._refuse(self._root, f"an item of {keyword} lists no series")
            for series in all_series:
                instances = series.items("ReferencedSOPSequence")
                if not instances:
                    self._refuse(self._root, f"a series in {keyword} lists no instances")
                for sop in instances:
                    try:
                        found.append(_listed(series, sop))
                    except InputError as error:
                        self._refuse(self._root, f"an item of {keyword}: {error}")
        return tuple(found)

    def verifiers(self) -> Iterable[Verifier]:
        """Iterate over Verifying Observer Sequence (0040,A073)."""
        for item in self._content.items("VerifyingObserverSequence"):
            try:
                code = item.code("VerifyingObserverIdentificationCodeSequence")
            except InputError as error:
                self._refuse(self._root, str(error))
                code = None
            yield Verifier(
                name=item.text("VerifyingObserverName"),
                organisation=item.text("VerifyingOrganization"),
                at=item.text("VerificationDateTime"),
                code=code,
            )

    def observers(self) -> tuple[Observer, ...]:
        """Return the observers whose rows were taken."""
        return tuple(Observer(kind=o.kind, **o.rows) for o in self._observers)

    def _flag(self, kind: type[_Flag], keyword: str) -> _Flag | None:
        text = self._content.text(keyword).upper()
        if text in {str(m) for m in kind}:
            return kind(text)
        if text:
            self._refuse(self._root, f"{keyword} has none of the values that the standard defines")
        return None

    # --- rows of TID 1500 and 1001 at the root ---------------------------------------------------------------------------

    def take(self, node: Node) -> bool:
        """Take a row that describes the document, and say whether ``node`` was one and that was all of it."""
        if node.fault:
            return False
        try:
            taken = self._coded_row(node) if node.value_type is ValueType.CODE else self._observer_row(node)
        except InputError as error:
            self._refuse(node, str(error))
            return True
        # what has something below it is an evaluation as well, so that nothing is lost
        return taken and not node.children

    def _coded_row(self, node: Node) -> bool:
        if is_a(node, "tid.observer_type"):
            device = is_named(code_of(node), "tid.device")
            self._observers.append(_ObserverParts(ObserverKind.DEVICE if device else ObserverKind.PERSON))
        elif is_a(node, "tid.procedure_reported"):
            self.procedures.append(code_of(node))
        elif is_a(node, "tid.language") and self.language is None:
            self.language = code_of(node)
        else:
            return False
        return True

    def _observer_row(self, node: Node) -> bool:
        for key, name in _OBSERVER_ROWS.items():
            if is_a(node, key):
                text = written(node)
                self._observer_of(key, name).rows[name] = text
                return True
        return False

    def _observer_of(self, key: str, name: str) -> _ObserverParts:
        """Return the observer that a row belongs to: the last, unless that is of the other kind or has such a row."""
        kind = ObserverKind.DEVICE if key.startswith("tid.device") else ObserverKind.PERSON
        if not self._observers or self._observers[-1].kind is not kind or name in self._observers[-1].rows:
            self._observers.append(_ObserverParts(kind))
        return self._observers[-1]


def _listed(series: Content, sop: Content) -> Reference:
    return Reference(
        sop_class_uid=sop.uid("ReferencedSOPClassUID"),
        sop_instance_uid=sop.uid("ReferencedSOPInstanceUID"),
        series_instance_uid=series.uid("SeriesInstanceUID"),
    )
