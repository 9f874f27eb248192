"""What a report points at: images, frames, segments and drawings (PS3.3 C.18.3, C.18.4, C.18.6, C.18.9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from service.errors import InputError
from service.model.foreign import Evidence, Graphic, GraphicType, ValueType
from service.model.measurement import Reference
from service.read.sr_content import Content
from service.read.sr_tree import Node
from service.read.sr_values import EVIDENCE, Refuse

_IN_PLANE, _IN_SPACE = 2, 3
#: graphic type → how many points it has, at least and at most (PS3.3 C.18.6.1.2, C.18.9.1.2)
_MANY = 1 << 20
_POINTS: Mapping[GraphicType, tuple[int, int]] = MappingProxyType(
    {
        GraphicType.POINT: (1, 1),
        GraphicType.MULTIPOINT: (1, _MANY),
        GraphicType.POLYLINE: (2, _MANY),
        GraphicType.POLYGON: (3, _MANY),
        GraphicType.CIRCLE: (2, 2),
        GraphicType.ELLIPSE: (4, 4),
        GraphicType.ELLIPSOID: (6, 6),
    }
)


class EvidenceReader:
    """Reads the content items of one report that point at something; an item that is referred to often is read once.

    Parameters
    ----------
    series_of:
        SOP Instance UID → Series Instance UID, of everything that the report lists as evidence.
    refuse:
        Called with an item that cannot be read and the reason, where the item above it can.
    """

    def __init__(self, series_of: Mapping[str, str], refuse: Refuse) -> None:
        self._series_of = series_of
        self._refuse = refuse
        self._drawn: dict[int, Evidence] = {}

    def read(self, node: Node) -> Evidence:
        """Return what an IMAGE, COMPOSITE, WAVEFORM, SCOORD or SCOORD3D item points at.

        The acquisition context below an image is not read: it repeats the image's header.

        Raises
        ------
        InputError
            It names no object, has no usable graphic, or there is no image behind a graphic.
        """
        if id(node) not in self._drawn:
            self._drawn[id(node)] = self._read(node)
        return self._drawn[id(node)]

    def _read(self, node: Node) -> Evidence:
        if node.fault or node.value_type not in EVIDENCE:
            raise InputError(node.fault or f"a {node.value_type or 'content item'} is no evidence")
        graphic = None
        if node.value_type in {ValueType.SCOORD, ValueType.SCOORD3D}:
            graphic = _graphic(node)
            images = tuple(r for image in self._images_below(node) for r in self._references(image.content))
            if not images and node.value_type is ValueType.SCOORD:
                raise InputError("there is no image behind the graphic")
        else:
            images = self._references(node.content)
        return Evidence(
            place=node.place, value_type=node.value_type, concept=node.concept, images=images, graphic=graphic
        )

    def _images_below(self, node: Node) -> list[Node]:
        images = []
        for child in node.children:
            meant = child.target or child
            if child.fault or meant.fault:
                msg = f"content item {child.place} below it: {child.fault or meant.fault}"
                raise InputError(msg)
            if meant.value_type is ValueType.IMAGE:
                images.append(meant)
            else:
                self._refuse(child, "below a graphic only images are read")
        return images

    def _references(self, content: Content) -> tuple[Reference, ...]:
        objects = content.items("ReferencedSOPSequence")
        if not objects:
            raise InputError("it names no image or other object")
        found = []
        for item in objects:
            uid = item.uid("ReferencedSOPInstanceUID")
            whole = Reference(
                sop_class_uid=item.uid("ReferencedSOPClassUID"),
                sop_instance_uid=uid,
                series_instance_uid=self._series_of.get(uid, ""),
                frames=_positive(item, "ReferencedFrameNumber"),
            )
            segments = _positive(item, "ReferencedSegmentNumber")
            found += [replace(whole, segment=s) for s in segments] if segments else [whole]
        return tuple(found)


def _graphic(node: Node) -> Graphic:
    content = node.content
    flat = node.value_type is ValueType.SCOORD
    try:
        kind = GraphicType(content.text("GraphicType").upper())
    except ValueError as error:
        raise InputError("its GraphicType is missing, or none of the standard's") from error
    if flat and content.text("PixelOriginInterpretation").upper() == "VOLUME":
        raise InputError("its points are counted in a whole slide, not in the image")
    numbers = content.floats("GraphicData")
    size = _IN_PLANE if flat else _IN_SPACE
    least, most = _POINTS[kind]
    if len(numbers) % size or not least <= len(numbers) // size <= most:
        msg = f"its GraphicData has {len(numbers)} numbers, which makes no {kind}"
        raise InputError(msg)
    return Graphic(
        kind=kind,
        points=tuple(_points(numbers, size)),
        frame_of_reference_uid="" if flat else content.uid("ReferencedFrameOfReferenceUID"),
    )


def _points(numbers: Sequence[float], size: int) -> Iterable[tuple[float, ...]]:
    return (tuple(numbers[i : i + size]) for i in range(0, len(numbers), size))


def _positive(content: Content, keyword: str) -> tuple[int, ...]:
    numbers = content.whole_numbers(keyword)
    if any(n < 1 for n in numbers):
        msg = f"{keyword} holds a number below 1"
        raise InputError(msg)
    return numbers
