"""A study to measurements: every segment and every ROI in it, each number with its method and its evidence."""

from __future__ import annotations

from dataclasses import replace

from service.measure.images import OpenFile
from service.measure.lines import lines_of
from service.measure.mask import SegmentMask
from service.measure.overlap import overlapping
from service.measure.regions import Region, regions_of
from service.measure.relations import ORGANS, TUMOUR, VESSELS, Piece, identity_of, related
from service.measure.values import ImageValues
from service.measure.work import Work
from service.model.measurement import SegmentMeasurements
from service.model.study import Study
from service.read.structures import LESIONS
from service.settings import Measuring

DEFAULTS = Measuring()
#: what roles begin with whose masks are held against each other
_RELATED = (TUMOUR, VESSELS, ORGANS)


def measure_study(
    study: Study, open_file: OpenFile, measuring: Measuring = DEFAULTS, *, every_segment: bool = False
) -> tuple[SegmentMeasurements, ...]:
    """Measure the segmentations and structure sets of a study, and the lines of presentation states.

    Lesions (see `service.read.structures`) get axes, diameters, extents, volumes and, by modality of their images, attenuation, uptake,
    diffusion or signal; other structures that are known get their volume, and how a tumour lies to them; what is not known gets nothing.
    Where one segment was delivered several times (the same tracking UID on the same images, or without one, the same label and type in
    the same series) the newest object counts, by content date, content time, instance number and UID.

    Parameters
    ----------
    study:
        As `service.read.normalise` made it.
    open_file:
        Returns the path of an instance's file.
    measuring:
        Thresholds, and further names of structures.
    every_segment:
        Measure everything on every segment, known or not.

    Returns
    -------
    tuple of SegmentMeasurements
        In the order of series, instances and segment numbers, lines last; the same for the same study.

    Raises
    ------
    ConfigurationError
        The file of further names cannot be read.
    StoreUnavailable
        A file cannot be read now. All that is wrong with an object stands in ``refusals``.
    """
    values = ImageValues(open_file)
    measured: list[SegmentMeasurements] = []
    masks: list[SegmentMask | None] = []
    pieces: list[Piece] = []
    for one in regions_of(study, open_file, names=measuring.structures):
        if isinstance(one, Region):
            work = Work(one, study, values, measuring)
            measured.append(_measured(one, work, everything=every_segment))
            masks.append(work.mask if one.structure.role in LESIONS else None)
            if work.mask is not None and one.structure.role.startswith(_RELATED):
                place = one.frame_of_reference_uid
                pieces.append(Piece(measured=measured[-1], mask=work.mask, frame_of_reference_uid=place))
        else:
            measured.append(one)
            masks.append(None)
    relations = related(pieces)
    related_ones = (replace(m, relations=relations.get(identity_of(m), ())) for m in measured)
    drawn = lines_of(study, open_file, measuring)
    return overlapping((*related_ones, *drawn), (*masks, *(None for _ in drawn)))


def _measured(one: Region, work: Work, *, everything: bool) -> SegmentMeasurements:
    role = one.structure.role
    if role or everything:
        work.measure(fully=everything or role in LESIONS)
    else:
        hint = f": {one.structure.basis}" if one.structure.basis else ""
        work.refusals.append(f"Not measured: it is not known which structure the {one.kind.value} is{hint}")
    side, series = work.side, one.source.series
    return SegmentMeasurements(
        label=one.segment.label,
        segment=one.segment.number,
        source=work.reference,
        kind=one.kind,
        image_series_instance_uid=series.series_instance_uid if series else "",
        modality=series.modality if series else "",
        algorithm=one.segment.algorithm,
        category=one.segment.category,
        property_type=one.segment.property_type,
        tracking_id=one.segment.tracking_id,
        tracking_uid=one.segment.tracking_uid,
        role=role,
        role_basis=one.structure.basis,
        laterality=side.side,
        laterality_basis=side.basis,
        centroid=work.mask.centroid if work.mask is not None else None,
        measurements=tuple(work.measurements),
        on_other_series=tuple(work.on_other_series),
        remarks=tuple(work.remarks),
        refusals=tuple(work.refusals),
    )
