"""The structured reports of others (TID 1500 "Measurement Report" of any maker, and its relatives) as values.

Written for what viewers and toolkits send: groups of TID 1410, 1411 and 1501 with or without template identification, SNOMED-RT and
SNOMED CT, drawings below the number or beside it, items by reference. The reader takes in what it understands as it stands, keeps what it
has no place for as an `Evaluation` with its concept, and lists the rest in ``refusals``. Not read, and not listed either: the image library
and the acquisition context of images, which repeat the headers of the images.

What our own reports say is read by ``service.sr.parse``, which knows their template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from pydicom.dataset import Dataset

from service.errors import InputError
from service.model.foreign import (
    Coded,
    Evaluation,
    Evidence,
    ForeignGroup,
    ForeignMeasurement,
    ForeignReport,
    Refusal,
    Relationship,
    Site,
    ValueType,
)
from service.model.measurement import Reference
from service.read.sr_document import DocumentReader
from service.read.sr_evidence import EvidenceReader
from service.read.sr_items import ItemReader
from service.read.sr_tree import Node, read_tree
from service.read.sr_values import EVIDENCE, AlgorithmParts, code_of, is_a, is_named, written

_Read = TypeVar("_Read")

#: rows of a measurement group that hold one text or UID → field of `ForeignGroup`, and the value types that may hold it
_GROUP_ROWS: Mapping[str, tuple[str, ValueType]] = MappingProxyType(
    {
        "tid.tracking_id": ("tracking_id", ValueType.TEXT),
        "tid.tracking_uid": ("tracking_uid", ValueType.UIDREF),
        "tid.time_point": ("time_point", ValueType.TEXT),
        "tid.activity_session": ("activity_session", ValueType.TEXT),
    }
)


def read_structured_report(ds: Dataset) -> ForeignReport:
    """Return what the structured report ``ds`` says.

    Parameters
    ----------
    ds:
        A data set as pydicom read it, or as a program built it; its values are not changed.

    Returns
    -------
    ForeignReport
        Numbers in mm, mm2, cm3 and um2/s where they are lengths, areas, volumes and diffusion, beside the number and unit as received.
        A measurement that cannot be read whole is in ``refusals``; so is a group with a drawing or an image reference of its own that
        cannot be read (or an item that may be one), since its numbers would stand without their evidence.

    Raises
    ------
    InputError
        No structured report, one without its identifiers, or one whose tree is damaged (see `service.read.sr_tree.read_tree`). The
        message names the place in the tree or the attribute, and quotes nothing else.
    """
    root = read_tree(ds)
    return _Reader(root).report()


@dataclass(slots=True)
class _GroupParts:
    """Collects what stands in a measurement group."""

    texts: dict[str, str] = field(default_factory=dict)
    category: Coded | None = None
    finding: Coded | None = None
    method: Coded | None = None
    sites: list[Site] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    algorithm: AlgorithmParts = field(default_factory=AlgorithmParts)
    measurements: list[ForeignMeasurement] = field(default_factory=list)
    numbers: list[ForeignMeasurement] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    segments: list[Reference] = field(default_factory=list)
    source_series: list[str] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)


class _Reader:
    """Reads one report."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._content = root.content
        self._refusals: list[Refusal] = []
        self._tracking_uid = ""
        self._document = DocumentReader(root, self._refuse)
        self._evidence = self._document.listed("CurrentRequestedProcedureEvidenceSequence")
        self._other = self._document.listed("PertinentOtherEvidenceSequence")
        series_of = {r.sop_instance_uid: r.series_instance_uid for r in (*self._other, *self._evidence)}
        self._pointers = EvidenceReader(series_of, self._refuse)
        self._items = ItemReader(self._pointers, self._refuse)
        self._groups: list[ForeignGroup] = []
        self._measurements: list[ForeignMeasurement] = []
        self._evaluations: list[Evaluation] = []
        self._images: list[Evidence] = []

    def report(self) -> ForeignReport:
        """Read everything."""
        root, content, document = self._root, self._content, self._document
        if root.concept is None:
            raise InputError("content item 1 has no title")
        for child in root.children:
            if not document.take(child):
                self._loose(child, None)
        return ForeignReport(
            sop_class_uid=content.uid("SOPClassUID"),
            sop_instance_uid=content.uid("SOPInstanceUID"),
            series_instance_uid=content.uid("SeriesInstanceUID"),
            study_instance_uid=content.uid("StudyInstanceUID"),
            title=root.concept,
            template_id=self._template(root),
            completion=document.completion,
            verification=document.verification,
            preliminary=document.preliminary,
            verifiers=tuple(document.verifiers()),
            observers=document.observers(),
            language=document.language,
            procedures=tuple(document.procedures),
            predecessors=document.listed("PredecessorDocumentsSequence"),
            manufacturer=content.text("Manufacturer"),
            instance_number=document.instance_number,
            content_date=content.text("ContentDate"),
            content_time=content.text("ContentTime"),
            timezone_offset=content.text("TimezoneOffsetFromUTC"),
            groups=tuple(self._groups),
            measurements=tuple(self._measurements),
            evaluations=tuple(self._evaluations),
            images=tuple(self._images),
            evidence=self._evidence,
            other_evidence=self._other,
            refusals=tuple(self._refusals),
        )

    def _template(self, node: Node) -> str:
        found = self._attempt(node, lambda: node.content.items("ContentTemplateSequence"))
        return found[0].text("TemplateIdentifier") if found else ""

    # --- everything else -------------------------------------------------------------------------------------------------

    def _loose(self, node: Node, heading: Coded | None) -> None:
        """Take what stands outside of every measurement group."""
        if node.fault or node.target is not None:
            self._refuse(node, node.fault or "a reference to another content item is not read here")
        elif node.value_type is ValueType.CONTAINER:
            if is_a(node, "tid.image_library"):
                return
            # a container right below Imaging Measurements is a group, whatever it is called
            within = heading is not None and is_named(heading, "tid.imaging_measurements")
            if is_a(node, "tid.measurement_group") or (within and node.children):
                self._group(node)
                return
            for child in node.children:
                self._loose(child, node.concept)
        elif node.value_type is ValueType.NUM:
            _keep(self._measurements, self._attempt(node, lambda: self._items.measurement(node, heading)))
        elif node.value_type in EVIDENCE:
            _keep(self._images, self._attempt(node, lambda: self._pointers.read(node)))
        else:
            _keep(self._evaluations, self._attempt(node, lambda: self._items.evaluation(node, heading)))

    def _group(self, node: Node) -> None:
        parts = _GroupParts()
        self._tracking_uid = _tracking_uid(node)
        broken = self._broken_evidence(node)
        if broken:
            self._refuse(node, f"the whole group, since what it was measured on cannot be read: {broken}")
            self._tracking_uid = ""
            return
        for child in node.children:
            self._in_group(child, parts, None)
        self._tracking_uid = ""
        self._groups.append(
            ForeignGroup(
                place=node.place,
                template_id=self._template(node),
                heading=node.concept,
                **parts.texts,
                category=parts.category,
                finding=parts.finding,
                method=parts.method,
                sites=tuple(parts.sites),
                comments=tuple(parts.comments),
                algorithm=parts.algorithm.value(),
                measurements=tuple(parts.measurements),
                numbers=tuple(parts.numbers),
                evaluations=tuple(parts.evaluations),
                segments=tuple(parts.segments),
                source_series=tuple(parts.source_series),
                evidence=tuple(parts.evidence),
            )
        )

    def _broken_evidence(self, container: Node) -> str:
        """Return what is wrong with a drawing or a reference of a group, or with what may be one; empty: nothing."""
        for node in container.children:
            meant = node.target or node
            if meant.value_type is ValueType.CONTAINER and node.target is None:
                broken = self._broken_evidence(node)
                if broken:
                    return broken
            elif node.fault and meant.value_type is None:
                return f"content item {node.place}: {node.fault}"
            elif meant.value_type in EVIDENCE:
                try:
                    self._pointers.read(meant)
                except InputError as error:
                    return f"content item {node.place}: {error}"
        return ""

    def _in_group(self, node: Node, parts: _GroupParts, heading: Coded | None) -> None:
        meant = node.target or node
        if node.fault or (node.target is not None and meant.value_type not in EVIDENCE):
            self._refuse(node, node.fault or "a reference to an item of this kind is not read in a group")
        elif meant.value_type in EVIDENCE:
            evidence = self._attempt(node, lambda: self._pointers.read(meant))
            _keep(parts.evidence, evidence)
            if evidence is not None and is_a(meant, "tid.referenced_segment", "tid.referenced_segment_frame"):
                parts.segments += evidence.images
        elif node.value_type is ValueType.CONTAINER:
            for child in node.children:
                self._in_group(child, parts, node.concept)
        elif node.value_type is ValueType.NUM:
            contained = node.relationship in {None, Relationship.CONTAINS}
            found = parts.measurements if contained else parts.numbers
            _keep(found, self._attempt(node, lambda: self._items.measurement(node, heading)))
        else:
            taken = heading is None and self._attempt(node, lambda: self._group_row(node, parts))
            if taken is False:
                _keep(parts.evaluations, self._attempt(node, lambda: self._items.evaluation(node, heading)))

    def _group_row(self, node: Node, parts: _GroupParts) -> bool:
        """Take a row that the templates of measurement groups define, and say whether ``node`` was one and that was all of it."""
        if node.value_type is ValueType.CODE and is_a(node, "tid.finding_site"):
            parts.sites.append(self._items.site(node))
            return True
        taken = _coded_row(node, parts) if node.value_type is ValueType.CODE else _written_row(node, parts)
        # what has something below it is an evaluation as well, so that nothing is lost
        return (taken or parts.algorithm.take(node)) and not node.children

    # --- what cannot be read ---------------------------------------------------------------------------------------------

    def _attempt(self, node: Node, read: Callable[[], _Read]) -> _Read | None:
        """Return what ``read`` returns, or None where it raises: then ``node`` is refused."""
        try:
            return read()
        except InputError as error:
            self._refuse(node, str(error))
            return None

    def _refuse(self, node: Node, reason: str) -> None:
        self._refusals.append(
            Refusal(place=node.place, reason=reason, concept=node.concept, tracking_uid=self._tracking_uid)
        )


def _coded_row(node: Node, parts: _GroupParts) -> bool:
    if is_a(node, "tid.finding_category") and parts.category is None:
        parts.category = code_of(node)
    elif is_a(node, "tid.finding") and parts.finding is None:
        parts.finding = code_of(node)
    elif is_a(node, "tid.method") and parts.method is None:
        parts.method = code_of(node)
    else:
        return False
    return True


def _written_row(node: Node, parts: _GroupParts) -> bool:
    for key, (name, value_type) in _GROUP_ROWS.items():
        if is_a(node, key) and node.value_type is value_type and name not in parts.texts:
            parts.texts[name] = written(node)
            return True
    if is_a(node, "tid.comment") and node.value_type is ValueType.TEXT:
        parts.comments.append(written(node))
    elif is_a(node, "tid.source_series_seg") and node.value_type is ValueType.UIDREF:
        parts.source_series.append(written(node))
    else:
        return False
    return True


def _keep(found: list[_Read], value: _Read | None) -> None:
    if value is not None:
        found.append(value)


def _tracking_uid(group: Node) -> str:
    for child in group.children:
        if is_a(child, "tid.tracking_uid") and child.value_type is ValueType.UIDREF:
            try:
                return written(child)
            except InputError:
                # refused when its row is read
                return ""
    return ""
