"""What a destination may get beside the SRs: the page as a PDF, key images, a key object selection, presentation states.

They show what the report says and add nothing to it. Each version makes them anew, in series of their own, newest instance last.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from service.flow import differential
from service.flow.history import courses_of, history
from service.flow.lifecycle import State
from service.flow.produce import (
    EXTRAS,
    NO_PREDECESSORS,
    Kind,
    Produced,
    Rendition,
    device,
    rendition,
    renditions,
    series_uid,
)
from service.model.measurement import Reference
from service.model.prior import PriorReport
from service.model.uids import derived_uid
from service.page.assemble import captions, page_content
from service.page.content import EvidenceRow, PageContent, Signature
from service.page.course_picture import course_picture
from service.page.drawing import draw
from service.page.pdf import page
from service.page.pictures import KeyImages
from service.page.plot import plots
from service.settings import Clinical
from service.sr.companion import Profile
from service.sr.document import Envelope
from service.sr.encapsulated_pdf import ENCAPSULATED_PDF, encapsulated_pdf
from service.sr.key_image import SECONDARY_CAPTURE, course_image, key_image
from service.sr.key_objects import KEY_OBJECT_SELECTION, key_objects
from service.sr.phrases import Phrase, Wording, wording
from service.sr.presentation_state import GRAYSCALE_SOFTCOPY_PRESENTATION_STATE, groups, presentation_state
from sr_templates.evaluate import DEFAULTS
from sr_templates.questions import completeness

#: the lines as a second SR: ``objects`` of a node names it beside `EXTRAS`
MEASUREMENTS = "measurements"
WITHDRAWN = Phrase.WITHDRAWN.value

_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "pdf": ENCAPSULATED_PDF,
        "key-image": SECONDARY_CAPTURE,
        "key-objects": KEY_OBJECT_SELECTION,
        "presentation": GRAYSCALE_SOFTCOPY_PRESENTATION_STATE,
    }
)
#: kind → Series Description, and how far its Series Number stands behind that of the report
SERIES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "pdf": ("LMS report, page", 2),
        "key-image": ("LMS key images", 3),
        "key-objects": ("LMS key images, originals", 4),
        "presentation": ("LMS measurements, graphics", 5),
    }
)
#: Instance Numbers that the images of one version share
_IMAGES_OF_A_VERSION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a destination gets: the class of its report, the wording of its measurements, and what stands beside the report."""

    sop_class_uid: str
    profile: Profile
    #: as ``objects`` of a node names them (`service.settings.Node`)
    objects: frozenset[str] = frozenset({MEASUREMENTS})


def for_destination(
    produced: Produced,
    wish: Wish,
    images: KeyImages,
    *,
    version: int,
    created_at: dt.datetime,
    predecessors: Mapping[Kind, tuple[Reference, ...]] = NO_PREDECESSORS,
    prior: PriorReport | None = None,
    clinical: Clinical = DEFAULTS,
) -> tuple[Rendition, ...]:
    """Return everything that a destination gets of a version, the report first, checked and frozen.

    A destination that takes no SR at all gets the page in its place. Of a withdrawn report there is the report alone, which says so.

    Raises
    ------
    GateError
        A rendition failed a check; nothing of it may be sent.
    """
    if wish.sop_class_uid == ENCAPSULATED_PDF:
        page_alone = _Maker(produced, version, created_at).pdf(None, images, prior, clinical)
        made: tuple[Rendition, ...] = (replace(page_alone, kind="report"),)
    else:
        made = renditions(
            produced,
            sop_class_uid=wish.sop_class_uid,
            profile=wish.profile,
            version=version,
            predecessors=predecessors,
            created_at=created_at,
            lines=MEASUREMENTS in wish.objects,
        )
    if produced.state is State.WITHDRAWN:
        return made
    wanted = wish.objects - ({"pdf"} if wish.sop_class_uid == ENCAPSULATED_PDF else frozenset())
    beside = extras(
        produced, made[0], wanted, images, version=version, created_at=created_at, prior=prior, clinical=clinical
    )
    return (*made, *beside)


def needs_images(wish: Wish) -> bool:
    """Say whether something of what a destination gets shows the measured slices."""
    return wish.sop_class_uid == ENCAPSULATED_PDF or not wish.objects.isdisjoint(EXTRAS)


def extras(
    produced: Produced,
    report: Rendition,
    wanted: Collection[str],
    images: KeyImages,
    *,
    version: int,
    created_at: dt.datetime,
    prior: PriorReport | None = None,
    clinical: Clinical = DEFAULTS,
) -> tuple[Rendition, ...]:
    """Return the objects of ``wanted`` that a version has, frozen.

    Parameters
    ----------
    produced, version, created_at:
        The report, the version, and when it was made.
    report:
        The SR that they belong to: the PDF names it as its source.
    wanted:
        Kinds (`service.flow.produce.EXTRAS`); a report without a line on an image has only a page, and the plot of its course where
        there is one.
    images:
        The measured slices.
    prior:
        The patient's newest earlier time point, with those before it: for the course.
    clinical:
        Thresholds of the completeness and of the differential.
    """
    make = _Maker(produced, version, created_at)
    found = []
    if "pdf" in wanted:
        found.append(make.pdf(report, images, prior, clinical))
    for kind, several in (
        ("key-image", make.key_images),
        ("key-objects", make.key_objects),
        ("presentation", make.presentation_states),
    ):
        if kind in wanted and images.images:
            found.extend(several(images))
        if kind == "key-image" and kind in wanted:
            found.extend(make.course(prior, clinical, number=len(images.images) + 1))
    return tuple(found)


def content(
    produced: Produced,
    images: KeyImages,
    *,
    version: int,
    sop_instance_uid: str,
    created_at: dt.datetime,
    prior: PriorReport | None = None,
    clinical: Clinical = DEFAULTS,
) -> PageContent:
    """Return what stands on the page of a report."""
    report, template, signature = produced.report, produced.template, produced.signature
    said = wording(produced.options.language)
    over_time = courses_of(report, template, clinical, prior)
    plotted = history(report, over_time, said)
    signed = None
    if signature is not None:
        person = signature.person
        signed = Signature(name=person.name, at=signature.at, organisation=person.organisation)
    shown = page_content(
        report,
        template,
        produced.study,
        completeness(report, template, clinical),
        created_at=created_at,
        timezone=produced.options.timezone,
        version=version,
        sop_instance_uid=sop_instance_uid,
        signed=signed,
        evidence_rows=tuple(_evidence(produced, clinical, said)),
        history=plotted.points,
        history_label=plotted.length_label,
        volume_label=plotted.volume_label,
        courses=over_time,
        pictures=tuple(i.picture() for i in images.images),
        wording=said,
    )
    if produced.state is State.WITHDRAWN:
        return replace(shown, banner=said.say(Phrase.WITHDRAWN), impression=(), open_items=(), evidence=())
    return shown


class _Maker:
    """Makes the objects of one version."""

    def __init__(self, produced: Produced, version: int, created_at: dt.datetime) -> None:
        self._produced = produced
        self._version = version
        self._created_at = created_at

    def pdf(
        self, report: Rendition | None, images: KeyImages, prior: PriorReport | None, clinical: Clinical
    ) -> Rendition:
        """Return the page as Encapsulated PDF; without ``report`` it stands for the report itself."""
        made = content(
            self._produced,
            images,
            version=self._version,
            sop_instance_uid=report.sop_instance_uid if report else "",
            created_at=self._created_at,
            prior=prior,
            clinical=clinical,
        )
        said = wording(self._produced.options.language)
        envelope = self._envelope("pdf", f"{report.sop_instance_uid if report else ''}{self._language}")
        title = said.heading(self._produced.template.title)
        if not self._produced.signature:
            title = said.say(Phrase.DRAFT_TITLE, title=title)
        sources = () if report is None else (report.reference,)
        part10 = encapsulated_pdf(page(made), self._produced.study, envelope, title=title, sources=sources)
        return rendition("pdf", envelope, part10)

    def key_images(self, images: KeyImages) -> Iterator[Rendition]:
        """Yield the measured slices with their lines burnt in."""
        for number, image in enumerate(images.images, start=1):
            envelope = self._envelope("key-image", f"{number}{self._language}")
            part10 = key_image(
                draw(image.frame, image.marked),
                image.marked,
                self._produced.study,
                envelope,
                number=self._version * _IMAGES_OF_A_VERSION + number,
                proposed=image.proposed,
            )
            yield rendition("key-image", envelope, part10)

    def course(self, prior: PriorReport | None, clinical: Clinical, *, number: int) -> Iterator[Rendition]:
        """Yield the plot of the tumour over time, behind the slices as the ``number``-th picture, where there is a plot."""
        report, said = self._produced.report, wording(self._produced.options.language)
        over_time = courses_of(report, self._produced.template, clinical, prior)
        plotted, words = history(report, over_time, said), captions(said)
        drawn = plots(plotted.points, plotted.length_label, words, plotted.volume_label)
        if not drawn:
            return
        title = said.say(Phrase.COURSE_OF, what=drawn[0].title)
        proposed = any(m.proposed for p in drawn for m in p.marks)
        notes = (*((words.hollow,) if proposed else ()), said.say(Phrase.NOT_FOR_MEASUREMENT))
        envelope = self._envelope("key-image", f"course{self._language}")
        part10 = course_image(
            course_picture((replace(drawn[0], title=title), *drawn[1:]), notes),
            self._produced.study,
            envelope,
            number=self._version * _IMAGES_OF_A_VERSION + number,
            title=title,
            proposed=proposed,
        )
        yield rendition("key-image", envelope, part10)

    def key_objects(self, images: KeyImages) -> Iterator[Rendition]:
        """Yield the selection of the original slices."""
        envelope = self._envelope("key-objects", "")
        description = f"Measured images of the LMS report, {self._trust(images)}"
        part10 = key_objects(
            tuple(i.marked.reference for i in images.images),
            self._produced.study,
            envelope,
            description=description,
            device_uid=device(self._produced.options).uid,
        )
        yield rendition("key-objects", envelope, part10)

    def presentation_states(self, images: KeyImages) -> Iterator[Rendition]:
        """Yield the lines as graphics over the original slices."""
        for number, group in enumerate(groups(i.marked for i in images.images), start=1):
            envelope = self._envelope("presentation", str(number))
            description = f"LMS measurements, {self._trust(images)}"
            part10 = presentation_state(group, self._produced.study, envelope, description=description)
            yield rendition("presentation", envelope, part10)

    @property
    def _language(self) -> str:
        """Return what makes an object in another language another object; empty for English."""
        said = wording(self._produced.options.language)
        return "" if said.english else said.language.code

    def _trust(self, images: KeyImages) -> str:
        return "proposed, not confirmed" if any(i.proposed for i in images.images) else "confirmed"

    def _envelope(self, kind: Kind, part: str) -> Envelope:
        options, study_uid = self._produced.options, self._produced.study.study_instance_uid
        description, behind = SERIES[kind]
        identity = (kind, options.installation, study_uid, options.template, str(self._version), part)
        return Envelope(
            sop_class_uid=_CLASSES[kind],
            sop_instance_uid=derived_uid(*identity, self._produced.content_hash),
            series_instance_uid=series_uid(options, study_uid, kind),
            series_number=options.series_number + behind,
            series_description=description,
            version=self._version,
            created_at=self._created_at,
            timezone=options.timezone,
            signature=self._produced.signature,
        )


def _evidence(produced: Produced, clinical: Clinical, said: Wording) -> Iterator[EvidenceRow]:
    """Yield the differential as far as this report says something of it."""
    doubt = f" ({said.say(Phrase.PROPOSED)})"
    for row in differential.evidence(produced.report, produced.template, clinical):
        favours, against = (
            tuple(f"{f.words}{doubt if f.proposed else ''}" for f in side if f.state is differential.State.PRESENT)
            for side in (row.favours, row.against)
        )
        if favours or against:
            # what the candidates' file calls it is English; its findings, and where they are from, stay as they are written there
            diagnosis = row.label if said.english else said.meaning(row.code)
            yield EvidenceRow(diagnosis=diagnosis, favours=favours, argues_against=against, source=row.cite)
