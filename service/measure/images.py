"""The images that a segmentation was made on: which of the study's they are, and which of them lies in which frame's plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.measure.geometry import Array, normal_of, parallel
from service.model.study import Instance, Series, Study
from service.read.functional_groups import groups_of
from service.read.part10 import Item, as_numbers, open_part10
from service.read.segmentation import ImageReference, PlaneGeometry, Segmentation, plane_of

OpenFile = Callable[[Instance], Path]

#: how much further away than others an image may lie that a frame names
_NAMED_NEAR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """An image, or a frame of one, with its place in the patient."""

    instance: Instance
    plane: PlaneGeometry
    #: index of the frame, from 0; None: the instance is a single image
    frame: int | None = None


# no slots: `_geometry` is kept
@dataclass(frozen=True, kw_only=True)
class Source:
    """The series a segmentation was made on; ``refusal`` says why there is none, or why it cannot be used."""

    series: Series | None = None
    images: tuple[SourceImage, ...] = ()
    refusal: str = ""

    def depths(self, normal: Array) -> list[float]:
        """Return the depths of the images whose planes are perpendicular to ``normal``."""
        depths, there = self._depths(normal)
        return [float(d) for d in depths[there]]

    def placed(self, normal: Array) -> list[tuple[SourceImage, float]]:
        """Return the images whose planes are perpendicular to ``normal``, each with its depth."""
        depths, there = self._depths(normal)
        return [(self.images[i], float(depths[i])) for i in there]

    def image_in(self, plane: PlaneGeometry, named: tuple[ImageReference, ...], near: float) -> SourceImage | None:
        """Return the image that lies in ``plane``: of several the one that is named, and none where that does not decide.

        Parameters
        ----------
        plane:
            Of a frame of the segmentation.
        named:
            The images that the frame names.
        near:
            The distance in mm within which two planes are the same.
        """
        normal = normal_of(plane)
        depths, there = self._depths(normal)
        away = np.abs(depths[there] - normal @ np.array(plane.origin))
        at = there[away <= near]
        if at.size != 1:
            # several in one plane; or none, where positions were rounded: then one that is named and not far
            at = there[away <= (near if at.size else _NAMED_NEAR * near)]
            at = at[[any(_is_named(self.images[i], n) for n in named) for i in at]]
        return self.images[at[0]] if at.size == 1 else None

    def _depths(self, normal: Array) -> tuple[Array, NDArray[np.intp]]:
        if not self.images:
            return np.empty(0), np.empty(0, np.intp)
        origins, normals = self._geometry
        return origins @ normal, np.flatnonzero(parallel(normals, normal))

    @cached_property
    def _geometry(self) -> tuple[Array, Array]:
        # asked once for each of thousands of frames: made anew each time it took a fifth of all measuring
        origins = np.array([i.plane.origin for i in self.images])
        normals = np.cross([i.plane.along_row for i in self.images], [i.plane.along_column for i in self.images])
        return origins, normals


def source_of(segmentation: Segmentation, study: Study, open_file: OpenFile) -> Source:
    """Return the series of ``study`` that ``segmentation`` was made on.

    The images its frames name decide (most of them, where they name several series), then the series it refers to; where it refers to
    nothing of the study, the one series whose planes and frame of reference are those of the segmentation.
    """
    chosen = _named_series(segmentation, study)
    if chosen is None:
        return _fitting_series(segmentation, study, open_file)
    theirs, ours = chosen.header.text("FrameOfReferenceUID"), segmentation.frame_of_reference_uid
    if theirs and ours and theirs != ours:
        return Source(series=chosen, refusal="the segmentation has another frame of reference than the images it names")
    images = images_of(chosen, open_file)
    if not images:
        return Source(series=chosen, refusal="the images that the segmentation names have no position in the patient")
    return Source(series=chosen, images=images)


def _named_series(segmentation: Segmentation, study: Study) -> Series | None:
    by_instance = {i.sop_instance_uid: s for s in study.images for i in s.instances}
    by_uid = {s.series_instance_uid: s for s in study.images}
    named = [s.sop_instance_uid for f in segmentation.frames for s in f.sources] or list(
        segmentation.referenced_instances
    )
    votes = Counter(by_instance[uid].series_instance_uid for uid in named if uid in by_instance)
    votes = votes or Counter(uid for uid in segmentation.referenced_series if uid in by_uid)
    if not votes:
        return None
    return by_uid[min(votes, key=lambda uid: (-votes[uid], uid))]


def _fitting_series(segmentation: Segmentation, study: Study, open_file: OpenFile) -> Source:
    planes = [f.plane for f in segmentation.frames if f.plane is not None]
    reference = segmentation.frame_of_reference_uid
    fitting = []
    for series in study.images if reference and planes else ():
        if series.header.text("FrameOfReferenceUID") == reference:
            images = images_of(series, open_file)
            if images and _cover(images, planes):
                fitting.append(Source(series=series, images=images))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        return Source(
            refusal=f"the segmentation names no images of this study, and {len(fitting)} series lie in its planes"
        )
    return Source(refusal="the images that the segmentation was made on are not in this study")


#: how far grids may differ that are one: origin (mm), direction cosines, spacing (mm), rows and columns
_GRID_TOLERANCE = np.array([0.05] * 3 + [1e-3] * 6 + [1e-3] * 2 + [0] * 2)


def _grid(plane: PlaneGeometry) -> tuple[float, ...]:
    return (*plane.origin, *plane.along_row, *plane.along_column, *plane.spacing, plane.rows, plane.columns)


def _cover(images: tuple[SourceImage, ...], planes: list[PlaneGeometry]) -> bool:
    grids = np.array([_grid(i.plane) for i in images])
    return all(bool((np.abs(grids - np.array(_grid(p))) <= _GRID_TOLERANCE).all(axis=1).any()) for p in planes)


def _is_named(image: SourceImage, reference: ImageReference) -> bool:
    return image.instance.sop_instance_uid == reference.sop_instance_uid and (
        image.frame is None or not reference.frames or image.frame + 1 in reference.frames
    )


def images_of(series: Series, open_file: OpenFile) -> tuple[SourceImage, ...]:
    """Return the images of a series that have a place in the patient."""
    found: list[SourceImage] = []
    for instance in series.instances:
        if (instance.header.number("NumberOfFrames") or 1) > 1:
            found.extend(_frames(instance, open_file(instance)))
        elif plane := _single(instance):
            found.append(SourceImage(instance=instance, plane=plane))
    return tuple(found)


def _single(instance: Instance) -> PlaneGeometry | None:
    header = instance.header
    return plane_of(
        position=instance.numbers("ImagePositionPatient"),
        orientation=as_numbers(header.texts("ImageOrientationPatient")),
        spacing=as_numbers(header.texts("PixelSpacing")),
        rows=int(header.number("Rows") or 0),
        columns=int(header.number("Columns") or 0),
    )


def _frames(instance: Instance, path: Path) -> list[SourceImage]:
    """Return the frames of a multi-frame image (PS3.3 C.7.6.16) that have a place; none where the file cannot be parsed."""
    try:
        _, dataset = open_part10(path, name="a multi-frame image")
    except InputError:
        return []
    shared = dataset.item("SharedFunctionalGroupsSequence")

    def numbers(group: Item, sequence: str, keyword: str) -> tuple[float, ...]:
        return (group if sequence in group else shared).item(sequence).numbers(keyword)

    found = []
    for index, group in enumerate(groups_of(dataset)):
        plane = plane_of(
            position=numbers(group, "PlanePositionSequence", "ImagePositionPatient"),
            orientation=numbers(group, "PlaneOrientationSequence", "ImageOrientationPatient"),
            spacing=numbers(group, "PixelMeasuresSequence", "PixelSpacing"),
            rows=dataset.integer("Rows") or 0,
            columns=dataset.integer("Columns") or 0,
        )
        if plane is not None:
            found.append(SourceImage(instance=instance, plane=plane, frame=index))
    return found
