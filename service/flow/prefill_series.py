"""What a lesion measures on the other series of its frame of reference: the other phases of one examination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from service.flow import technique
from service.flow.context import Context, Source, proposal
from service.model.measurement import Measurement, Reference
from service.model.report import Answer, Provenance
from sr_templates import Item

#: derivation → how it is called in a line, in the order of the line
_SAID: Mapping[str, str] = MappingProxyType(
    {
        "deriv.mean": "mean",
        "deriv.sd": "SD",
        "deriv.p10": "10th percentile",
        "deriv.median": "median",
        "deriv.p90": "90th percentile",
    }
)


def _on_other_series(context: Context, item: Item) -> tuple[Answer, ...]:
    """Propose one line for each series; the images of all of them are the evidence."""
    if context.segment is None:
        return ()
    lines, images = [], []
    for image, numbers in _by_series(context):
        said = [
            f"{words} {numbers[key].value:.1f}{' HU' if key == 'deriv.mean' else ''}"
            for key, words in _SAID.items()
            if key in numbers
        ]
        lines.append(f"{_series(context, image.series_instance_uid)}: {', '.join(said)}")
        images.append(image)
    if not lines:
        return ()
    basis = f"all voxels of the {context.segment.kind.value}, laid over series in the same planes"
    (answer,) = proposal(context, item, Provenance.SEGMENTATION, *lines, basis=basis)
    return (replace(answer, evidence=tuple(images)),)


def _by_series(context: Context) -> Iterator[tuple[Reference, dict[str, Measurement]]]:
    """Yield an image of each series, in their order, with the measurements on it by derivation."""
    found: dict[Reference, dict[str, Measurement]] = {}
    for m in context.segment.on_other_series if context.segment is not None else ():
        if m.name == "ct.hu":
            found.setdefault(m.evidence[-1], {})[m.derivation] = m
    yield from found.items()


def _series(context: Context, series_instance_uid: str) -> str:
    series = next((s for s in context.study.images if s.series_instance_uid == series_instance_uid), None)
    if series is None:  # pragma: no cover - it was measured on
        return "another series"
    name = f"Series {series.number}" if series.number is not None else "A series without a number"
    key, basis = technique.phase_of(series)
    return f"{name} ({context.codes[key].meaning.lower()} by its {basis})" if key else name


SERIES_SOURCES: Mapping[str, Source] = MappingProxyType({"measured_on_series": _on_other_series})
