"""The content tree of any structured report (PS3.3 C.17.3), walked once, bounded, and without trusting it.

What makes the tree as a whole unreadable ends in an `InputError` here, before anything is taken from it; what is wrong with one
content item is kept as that item's ``fault``, for the reader to say what is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from service.errors import InputError
from service.model.foreign import Coded, Relationship, ValueType
from service.read.sr_content import MOST_ITEMS, Content

#: deeper is no report: TID 1500 has at most ten levels
DEEPEST = 64

_BY_REFERENCE = "ReferencedContentItemIdentifier"
#: items without a concept name have no meaning (PS3.3 Table C.17-5, Concept Name Code Sequence)
_NAMED = frozenset(
    {
        ValueType.CODE,
        ValueType.DATE,
        ValueType.DATETIME,
        ValueType.NUM,
        ValueType.PNAME,
        ValueType.TEXT,
        ValueType.TIME,
        ValueType.UIDREF,
    }
)


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One content item."""

    #: position as PS3.3 C.17.3.2.5 counts: "1.8.1.12", the root is "1"
    place: str
    content: Content
    relationship: Relationship | None = None
    #: None for an item by reference, and for one whose type is missing or unknown
    value_type: ValueType | None = None
    concept: Coded | None = None
    children: list[Node] = field(default_factory=list)
    #: what an item by reference refers to
    target: Node | None = None
    #: what is wrong with this item, in words that quote nothing of it; empty: nothing
    fault: str = ""

    def descendants(self) -> Iterator[Node]:
        """Iterate over this item and all below it, references not followed."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def read_tree(dataset: Dataset) -> Node:
    """Return the root of the content tree in ``dataset``.

    Raises
    ------
    InputError
        No structured report; a Content Sequence that cannot be parsed; nested deeper than `DEEPEST`, more than `MOST_ITEMS` items; items
        that refer to each other in a circle. The message names the place.
    """
    root = _node("1", Content(dataset))
    if root.value_type is not ValueType.CONTAINER or root.concept is None:
        raise InputError("no structured report: its root (content item 1) is no container with a title")
    waiting, count, references = [(root, 1)], 1, []
    while waiting:
        node, depth = waiting.pop()
        try:
            items = node.content.items("ContentSequence")
        except InputError as error:
            msg = f"content item {node.place}: {error}"
            raise InputError(msg) from error
        if items and depth == DEEPEST:
            msg = f"content item {node.place}: the tree is nested deeper than {DEEPEST} levels"
            raise InputError(msg)
        count += len(items)
        if count > MOST_ITEMS:
            msg = f"content item {node.place}: the tree has more than {MOST_ITEMS} items"
            raise InputError(msg)
        node.children = [_node(f"{node.place}.{n}", item) for n, item in enumerate(items, start=1)]
        references += [n for n in node.children if n.value_type is None and _BY_REFERENCE in n.content]
        waiting += [(n, depth + 1) for n in node.children]
    for node in references:
        _resolve(root, node)
    _refuse_circles(root)
    return root


def _node(place: str, content: Content) -> Node:
    node = Node(place=place, content=content)
    try:
        # first, so that one knows what is lost where the rest is wrong
        node.value_type = _member(ValueType, content.text("ValueType"), "Value Type")
        node.relationship = _member(Relationship, content.text("RelationshipType"), "Relationship Type")
        node.concept = content.code("ConceptNameCodeSequence")
    except InputError as error:
        node.fault = str(error)
    if not node.fault and node.value_type in _NAMED and node.concept is None:
        node.fault = "it has no concept name"
    if not node.fault and node.value_type is None and _BY_REFERENCE not in content:
        node.fault = "it has neither a value type nor a reference"
    return node


def _member(kind: Any, text: str, name: str) -> Any:
    """Return the member of the enumeration ``kind`` that ``text`` names; None where it is empty."""
    try:
        return kind(" ".join(text.upper().split())) if text else None
    except ValueError as error:
        msg = f"its {name} is none of the standard's"
        raise InputError(msg) from error


def _resolve(root: Node, node: Node) -> None:
    """Find what an item by reference (PS3.3 C.17.3.2.5) refers to."""
    try:
        path = node.content.whole_numbers(_BY_REFERENCE)
    except InputError as error:
        node.fault = node.fault or str(error)
        return
    target = root if path[:1] == (1,) and len(path) <= DEEPEST else None
    for number in path[1:] if target else ():
        if target is None or not 0 < number <= len(target.children):
            target = None
            break
        target = target.children[number - 1]
    if target is None:
        node.fault = node.fault or "it refers to a content item that does not exist"
    node.target = target


def _refuse_circles(root: Node) -> None:
    """Raise where following children and references leads back to where one was (PS3.3 C.17.3.2.4 forbids it)."""
    on_the_way: set[int] = {id(root)}
    done: set[int] = set()
    path = [(root, iter(_steps(root)))]
    while path:
        node, steps = path[-1]
        step = next(steps, None)
        if step is None:
            path.pop()
            on_the_way.discard(id(node))
            done.add(id(node))
        elif id(step) in on_the_way:
            msg = f"content item {node.place}: its reference to {step.place} leads round in a circle"
            raise InputError(msg)
        elif id(step) not in done:
            on_the_way.add(id(step))
            path.append((step, iter(_steps(step))))


def _steps(node: Node) -> list[Node]:
    return [*node.children, *([node.target] if node.target else [])]
