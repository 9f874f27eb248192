"""Reads what came back into a study: edits of our documents, and structured reports of others."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from service.errors import InputError
from service.flow import produce as making
from service.flow.lifecycle import State
from service.flow.produce import Kind, Options
from service.flow.taking import Returned, of_foreign
from service.model.report import Report
from service.model.study import Instance, Study
from service.read.returned import SR_CLASSES, document_bytes, read_foreign
from service.sr.returned import read_edited
from service.store import life, registry
from service.store.spool import Spool
from service.work.services import Services
from sr_templates import Template, load_template

_log = logging.getLogger("lms_sr.take_in")


def returned(services: Services, study: Study, options: Options) -> tuple[Returned, ...]:
    """Return everything in ``study`` that can be taken in; what cannot be read is logged, and left where it is.

    Of what went into a report that was withdrawn since: edits of its documents were withdrawn with it, and reports of others are proposed
    at most, whoever verified them.

    Parameters
    ----------
    services:
        The spool has the files, the registry the versions that edits were made of.
    study, options:
        The study without our own objects.

    Raises
    ------
    TemplateError
        The template cannot be loaded.
    """
    series = {making.series_uid(options, study.study_instance_uid, kind): kind for kind in making.KINDS}
    found = [i for i in study.instances if i.sop_class_uid in SR_CLASSES]
    if not found:
        return ()
    template = load_template(options.template)
    with services.reading() as session:
        records = registry.versions(session, study.study_instance_uid)
        versions = {v.version: registry.read_content(session, v.id) for v in records}
        last = next((v for v in reversed(records) if v.state is State.WITHDRAWN), None)
        gone_over = life.gone_over(session, study.study_instance_uid, up_to=last.id) if last else frozenset()
    withdrawn = _Withdrawn(version=last.version, gone_over=gone_over) if last else None
    return tuple(
        kept
        for one in _read(services.spool, found, series, template, versions)
        if (kept := _since(one, withdrawn)) is not None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Withdrawn:
    """The last version that took a report out of use."""

    version: int
    #: SOP Instance UIDs of the reports of others that versions up to it took in or replaced
    gone_over: frozenset[str]


def _since(one: Returned, withdrawn: _Withdrawn | None) -> Returned | None:
    """Return what an SR still says after the report was withdrawn; None: nothing."""
    if withdrawn is None:
        return one
    before = one.reference.sop_instance_uid in withdrawn.gone_over
    # a viewer counts on from the version that it edited
    if one.edit and (before or (one.number is not None and one.number <= withdrawn.version)):
        return None
    return replace(one, verifier="") if before else one


def _read(
    spool: Spool,
    found: list[Instance],
    series: Mapping[str, Kind],
    template: Template,
    versions: Mapping[int, Report],
) -> Iterator[Returned]:
    for instance in found:
        try:
            yield _one(
                document_bytes(spool.root / instance.path),
                instance,
                series.get(instance.series_instance_uid),
                template,
                versions,
            )
        except (InputError, OSError) as error:
            # the text of an error may quote the report
            ids = {
                "study": instance.study_instance_uid,
                "instance": instance.sop_instance_uid,
                "error": type(error).__name__,
            }
            _log.warning("not_taken_in", extra={"ids": ids})


def _one(
    part10: bytes, instance: Instance, kind: Kind | None, template: Template, versions: Mapping[int, Report]
) -> Returned:
    reference = instance.reference
    if kind == "report" and (edited := read_edited(part10, template)) is not None:
        number = next(iter(instance.numbers("InstanceNumber")), None)
        # a viewer counts on from the version that it edited
        base = max((v for v in versions if number is None or v < number), default=None)
        return Returned(
            reference=reference,
            number=int(number) if number is not None else None,
            edit=True,
            written=_written(instance),
            report=edited.report,
            base=versions[base] if base is not None else None,
            verifier=edited.verifier,
        )
    return of_foreign(read_foreign(part10), reference, edit=kind is not None)


def _written(instance: Instance) -> str:
    return instance.header.text("ContentDate") + instance.header.text("ContentTime")
