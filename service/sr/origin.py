"""Where each answer came from, as the tree states it: a container says what most of its answers share, deviations stand at theirs.

Viewers show what stands directly below a container and hide what hangs below an item, so the container says the least trusted of what
it holds. `implied` is what an answer that says nothing of its own means; `service.sr.parse` reads by the same rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service.model.code import Code
from service.model.report import Answer, PersonName, Provenance, Report, Status
from service.sr import items
from service.sr.items import ContentItem, Relation
from sr_templates import Item, load_codes
from sr_templates.language.values import Fill

#: the basis of rows that nobody is asked about
RECORDED = "ans.automatic.dicom"
DERIVED = "ans.automatic.rule"
#: so many containers have to say the same before the one around them says it
_SEVERAL = 2
#: what stands for the observer of an answer that a person confirmed and nobody recorded who, where one would be inherited
NOT_RECORDED = "not recorded"
#: value types that may have an observer of their own (PS3.3 A.35.3.3.1.2); others say it in words
_OBSERVED = frozenset({"TEXT", "CODE", "NUM"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a container states for its answers."""

    basis: Code | None = None
    #: who answered or confirmed (PN); empty: nobody, or not the same person throughout
    observer: str = ""
    #: whom the container around it states (PN), at the root who reports as a whole: not said again; empty: nobody
    inherited: str = ""


def basis_code(answer: Answer) -> Code:
    """Return the code that says where an answer came from and whether a person confirmed it."""
    codes = load_codes()
    if answer.status is Status.CONFIRMED and answer.provenance is Provenance.RADIOLOGIST:
        return codes["ans.stated"]
    return codes[f"ans.{answer.status.value}.{answer.provenance.value}"]


def reporter(report: Report) -> str:
    """Return who reports as a whole: the one person observer of the root; empty where there is none, or several."""
    named = [
        v.value for a in report.answers_of("tid.person_observer_name") for v in a.values if isinstance(v, PersonName)
    ]
    return named[0] if len(named) == 1 else ""


def stated(answers: Iterable[tuple[Item, Answer]], inherited: str = "") -> Stated:
    """Return what a container states for its answers.

    Where anything is only proposed, the container says "proposed": a reader must never take a proposal for confirmed because most of
    its neighbours are. Nor does a person stand over a machine's proposals then: an observer is stated only where nothing is proposed and
    every confirmed answer has one.
    """
    found = [(i, a) for i, a in answers if i.fill not in {Fill.AUTOMATIC, Fill.DERIVED}]
    counted = Counter((a.status is Status.PROPOSED, basis_code(a)) for _, a in found)
    basis = max(counted, key=lambda c: (c[0], counted[c], c[1].value))[1] if counted else None
    people = Counter(a.observer for _, a in found if a.status is Status.CONFIRMED)
    settled = people and "" not in people and not any(a.status is Status.PROPOSED for _, a in found)
    observer = max(people, key=lambda p: (people[p], p)) if settled else inherited
    return Stated(basis=basis, observer=observer, inherited=inherited)


def shared(containers: Iterable[Stated]) -> Stated:
    """Return what the container around ``containers`` states for those of them that state nothing themselves: what most of them would.

    Never that something is only proposed, which a reader has to see beside it; and a person only where each container has one: without
    a statement of its own the device of the root would be the observer, and an inherited person would answer for a machine's proposals.
    """
    found = [c for c in containers if c.basis is not None]
    inherited = found[0].inherited if found else ""
    settled = Counter(c for c in found if c.basis is not None and c.basis not in _proposals())
    best = max(settled, key=lambda c: (settled[c], c.observer, c.basis.value if c.basis else ""), default=Stated())
    alone = settled[best] < _SEVERAL or (best.observer and not all(c.observer for c in found))
    return Stated(observer=inherited, inherited=inherited) if alone else best


def _proposals() -> frozenset[Code]:
    codes = load_codes()
    return frozenset(codes[f"ans.proposed.{p.value}"] for p in Provenance)


def implied_basis(item: Item, container: Stated) -> Code | None:
    """Return the basis of an answer that states none itself.

    Rows that the software records unattended come from the header unless they say otherwise, whatever their container states (a modality
    or a date is no proposal); what follows from other answers is recorded by the software.
    """
    if item.fill is Fill.AUTOMATIC:
        return load_codes()[RECORDED]
    return load_codes()[DERIVED] if item.fill is Fill.DERIVED else container.basis


def implied_observer(item: Item, status: Status, container: Stated) -> str:
    """Return who answered where the answer itself does not say."""
    asked = item.fill not in {Fill.AUTOMATIC, Fill.DERIVED}
    return container.observer if asked and status is Status.CONFIRMED else ""


def of_container(container: Stated) -> list[ContentItem]:
    """Return the items that state it."""
    found = []
    if container.basis is not None and container.observer != container.inherited:
        # TID 1002: where no Observer Type stands the observer is a person, other than the device of the root
        found.append(_person(container.observer) if container.observer else _nobody(items.HAS_OBS_CONTEXT))
    if container.basis is not None:
        found.append(items.code(items.key("ans.basis"), container.basis, items.HAS_CONCEPT_MOD))
    return found


def _nobody(relation: Relation) -> ContentItem:
    return items.text(items.key("ans.observer"), NOT_RECORDED, relation)


def _person(name: str) -> ContentItem:
    return items.value(items.key("tid.person_observer_name"), PersonName(name), items.HAS_OBS_CONTEXT)


def answers(
    report: Report,
    item: Item,
    subject: str,
    container: Stated,
    relation: Relation = items.CONTAINS,
    concept: Code | None = None,
) -> Iterator[ContentItem]:
    """Yield the items of the answers to ``item`` about ``subject``, with what deviates from what their container states."""
    for answer in report.answers_of(item.key, subject):
        for value in answer.values:
            child = items.value(concept or item.concept, value, relation)
            items.add(child, *_modifiers(answer, item, container, str(child.ValueType)))
            yield child


def _modifiers(answer: Answer, item: Item, container: Stated, kind: str) -> Iterator[ContentItem]:
    if answer.method is not None:
        yield items.code(items.key("tid.method"), answer.method, items.HAS_CONCEPT_MOD)
    if answer.derivation is not None:
        yield items.code(items.key("tid.derivation"), answer.derivation, items.HAS_CONCEPT_MOD)
    if (own := basis_code(answer)) != implied_basis(item, container):
        yield items.code(items.key("ans.basis"), own, items.HAS_CONCEPT_MOD)
    if answer.observer != implied_observer(item, answer.status, container):
        if kind in _OBSERVED and answer.observer:
            yield _person(answer.observer)
        else:
            yield items.text(items.key("ans.observer"), answer.observer or NOT_RECORDED, items.HAS_CONCEPT_MOD)
    if answer.reason:
        yield items.text(items.key("ans.reason"), answer.reason, items.HAS_CONCEPT_MOD)
    if answer.basis:
        yield items.text(items.key("ans.detail"), answer.basis, items.HAS_CONCEPT_MOD)
    for reference in answer.evidence:
        yield items.evidence(reference)


def said_in_words(item: ContentItem) -> None:
    """Change the observers below TEXT, CODE and NUM into words, everywhere below ``item``: Enhanced SR has them below containers only.

    PS3.3 A.35.2.3.1.2 has no HAS OBS CONTEXT of anything but a CONTAINER; `service.sr.parse` reads both.
    """
    if "ContentSequence" not in item:
        return
    below = item.ContentSequence
    for place, child in enumerate(below):
        if item.ValueType != "CONTAINER" and child.RelationshipType == items.HAS_OBS_CONTEXT.value:
            said = str(child.PersonName)
            below[place] = items.text(items.key("ans.observer"), said, items.HAS_CONCEPT_MOD)
        said_in_words(child)
