"""What headers say about how a study was acquired: contrast, MR sequences, PET, reconstruction. Sources as in `service.flow.prefill`.

Where the header is silent, contradicts itself or says something impossible, nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from service.errors import InputError
from service.flow.acquisition import sequences_of
from service.flow.context import Context, Source, proposal, quantity
from service.flow.folding import fold
from service.measure.geometry import slabs_of
from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity
from service.model.study import Header, Instance, Series
from service.read.values import LONG, SHORT, clean_date, clean_text, clean_time
from sr_templates import Item

T = TypeVar("T")

BQ_PER_MBQ = 1_000_000
#: less is no activity of an examination: some scanners write MBq where Bq belong, and a unit is never assumed
LEAST_MBQ = 1
SECONDS_PER_MINUTE = 60
SECONDS_PER_DAY = 24 * 60 * 60
_POINT, _ORIENTATION = 3, 6
#: cosine of the angle up to which two planes are parallel
_PARALLEL = 0.999

# Trade and generic names of contrast agents, as whole words after folding.
_IODINATED = (
    "iohexol", "omnipaque", "iopamidol", "isovue", "iopamiro", "iopromide", "ultravist", "iodixanol", "visipaque", "iomeprol", "iomeron",
    "imeron", "ioversol", "optiray", "iobitridol", "xenetix", "oxilan", "ioxilan",
)  # fmt: skip
_GADOLINIUM = (
    "gadolinium", "gd", "gadobutrol", "gadovist", "gadavist", "gadoterate", "dotarem", "clariscan", "gadoteridol", "prohance",
    "gadopentetate", "magnevist", "gadobenate", "multihance", "gadoxetate", "primovist", "eovist", "gadopiclenol", "elucirem", "vueway",
)  # fmt: skip
_AGENTS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(_IODINATED, "contrast.iodinated_nonionic") | dict.fromkeys(_GADOLINIUM, "contrast.gadolinium")
)
_FDG_WORDS = ("fdg", "18f fdg", "fluorodeoxyglucose", "fludeoxyglucose")
#: what FDG was called before SNOMED CT ids (PS3.16 CID 4020, and Annex D of PS3.16 before 2017)
_LEGACY_FDG = frozenset({("C-B1031", "SRT"), ("C-B1031", "SNM3"), ("C-B1031", "99SDM")})
#: SUV Type (0054,1006) in words
_SUV_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "BW": "body weight",
        "BSA": "body surface area",
        "LBM": "lean body mass",
        "LBMJAMES128": "lean body mass (James, 128 factor)",
        "LBMJANMA": "lean body mass (Janmahasatian)",
        "IBW": "ideal body weight",
    }
)
#: Reconstruction Algorithm (0018,9315) in words; another value stands as it is
_RECONSTRUCTIONS: Mapping[str, str] = MappingProxyType(
    {"FILTER_BACK_PROJ": "filtered back projection", "ITERATIVE": "iterative"}
)


def _headers(series: Series) -> tuple[Header, ...]:
    """Return the distinct headers of a series: b-values and echo times differ from image to image."""
    found = {id(h): h for h in (series.header, *(i.header for i in series.instances))}
    return tuple(found.values())


def _only(series: Series | None, modality: str) -> Series | None:
    return series if series is not None and series.modality == modality else None


def _usable(code: Code) -> bool:
    """Say whether a code of a header may stand in a report: Code Value (0008,0100) is SH."""
    return bool(code.value and code.scheme and code.meaning) and len(code.value) <= SHORT and len(code.scheme) <= SHORT


# contrast


def _contrast_agent(context: Context, item: Item) -> tuple[Answer, ...]:
    found: dict[tuple[str, str], Code] = {}
    for series in context.study.images:
        if series.modality not in item.modalities:
            continue
        for code in _agents(context, series.header):
            found.setdefault((code.scheme, code.value), code)
    values = tuple(found[key] for key in sorted(found))
    return proposal(context, item, Provenance.DICOM, *values, basis="contrast agent of the header") if values else ()


def _agents(context: Context, header: Header) -> Iterator[Code]:
    route = fold(header.text("ContrastBolusRoute"))
    if " oral " in route or " rectal " in route:
        return
    coded = [c for c in header.codes.get("ContrastBolusAgentSequence", ()) if _usable(c)]
    if coded:
        yield from (replace(c, meaning=clean_text(c.meaning)[:LONG]) for c in coded)
        return
    words = fold(header.text("ContrastBolusAgent")).split()
    # a text that says only that there was contrast ("APPLIED") names no agent
    yield from (context.codes[key] for key in dict.fromkeys(_AGENTS[w] for w in words if w in _AGENTS))


def _contrast_delay(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.series is None or context.series.modality not in item.modalities:
        return ()
    start = _seconds(context.series.header.text("ContrastBolusStartTime"))
    first = _first_acquisition(context.series.instances)
    if start is None or first is None:
        return ()
    value = quantity(item, round(_later(start, first)))
    return proposal(context, item, Provenance.DICOM, value, basis="bolus start and first acquisition") if value else ()


# times of day, in seconds


def _seconds(time: str) -> float | None:
    """Return a time of day (TM) in seconds since midnight; None where it is none, or names no minute."""
    cleaned = clean_time(time)
    if len(cleaned) < len("HHMM"):
        return None
    whole, _, fraction = cleaned.partition(".")
    padded = whole.ljust(len("HHMMSS"), "0")
    return int(padded[:2]) * 3600 + int(padded[2:4]) * 60 + int(padded[4:6]) + float(f"0.{fraction or 0}")


def _later(start: float, then: float) -> float:
    """Return the seconds from one time of day to a later one, over midnight where it has to be."""
    return (then - start) % SECONDS_PER_DAY


def _first_acquisition(instances: Iterable[Instance]) -> float | None:
    """Return when the first image of a series was acquired, as a time of day in seconds; None where no image says.

    Earliest by date and time where images have both, so that a series over midnight begins before it.
    """
    found: list[tuple[str, float]] = []
    for instance in instances:
        when = next(iter(instance.own.get("AcquisitionDateTime", ())), "")
        time = next(iter(instance.own.get("AcquisitionTime", ())), "")
        date = clean_date(instance.header.text("AcquisitionDate")) or clean_date(when[:8])
        seconds = _seconds(time) if time else _seconds(_without_offset(when)[8:])
        if seconds is not None:
            found.append((date, seconds))
    dates = {d for d, _ in found}
    if not found or ("" in dates and len(dates) > 1):
        return None
    return min(found)[1]


def _without_offset(when: str) -> str:
    """Return a DT without its offset from UTC."""
    return when.partition("+")[0].partition("-")[0]


# positron emission


def _pet_series(context: Context) -> tuple[Series, ...]:
    return tuple(s for s in context.study.images if s.modality == "PT")


def _agreed(series: Iterable[Series], read: Callable[[Series], T | None]) -> T | None:
    """Return what every series that says something says; None where they say nothing or differ."""
    found = [v for v in (read(s) for s in series) if v is not None]
    return found[0] if found and all(v == found[0] for v in found) else None


def _pet_agent(context: Context, item: Item) -> tuple[Answer, ...]:
    def read(series: Series) -> Code | None:
        codes = [c for c in series.header.codes.get("RadiopharmaceuticalCodeSequence", ()) if _usable(c)]
        fdg = context.codes["tech.fdg"]
        if codes:
            legacy = (codes[0].value, codes[0].scheme) in _LEGACY_FDG
            return (
                fdg if legacy or codes[0].same(fdg) else replace(codes[0], meaning=clean_text(codes[0].meaning)[:LONG])
            )
        text = fold(series.header.text("Radiopharmaceutical"))
        return fdg if any(f" {w} " in text for w in _FDG_WORDS) else None

    agent = _agreed(_pet_series(context), read)
    return proposal(context, item, Provenance.DICOM, agent, basis="radiopharmaceutical of the header") if agent else ()


def _pet_activity(context: Context, item: Item) -> tuple[Answer, ...]:
    def read(series: Series) -> Quantity | None:
        becquerels = series.header.number("RadionuclideTotalDose")
        if becquerels is None or not becquerels / BQ_PER_MBQ >= LEAST_MBQ:
            return None
        return quantity(item, becquerels / BQ_PER_MBQ)

    value = _agreed(_pet_series(context), read)
    return proposal(context, item, Provenance.DICOM, value, basis="radionuclide total dose, in Bq") if value else ()


def _pet_uptake(context: Context, item: Item) -> tuple[Answer, ...]:
    series = _pet_series(context)
    start = _agreed(series, lambda s: _injected(s.header))
    firsts = [f for s in series if (f := _first_acquisition(s.instances)) is not None]
    if start is None or not firsts:
        return ()
    minutes = min(_later(start, first) for first in firsts) / SECONDS_PER_MINUTE
    value = quantity(item, round(minutes))
    return (
        proposal(context, item, Provenance.DICOM, value, basis="radiopharmaceutical start and first acquisition")
        if value
        else ()
    )


def _injected(header: Header) -> float | None:
    """Return the time of injection as a time of day in seconds; None where the header is silent or contradicts itself.

    Radiopharmaceutical Start Time (0018,1072) is on the clock of Acquisition Time. Start DateTime (0018,1078) counts where it stands
    alone and without an offset from UTC of its own; its date is left aside, since de-identification shifts it apart from the others.
    """
    time = _seconds(header.text("RadiopharmaceuticalStartTime"))
    when = header.text("RadiopharmaceuticalStartDateTime")
    bare = _without_offset(when)
    from_datetime = _seconds(bare[8:]) if bare == when else None
    if time is not None and from_datetime is not None and abs(time - from_datetime) >= SECONDS_PER_MINUTE:
        return None
    return time if time is not None else from_datetime


def _suv_method(context: Context, item: Item) -> tuple[Answer, ...]:
    def read(series: Series) -> str | None:
        # images in Bq/ml are normalised by whoever reads them: the header cannot say how
        if series.header.text("Units") not in {"GML", "CM2ML"}:
            return None
        # PS3.3 C.8.9.1: an absent SUV Type of images in g/ml means body weight
        kind = series.header.text("SUVType") or ("BW" if series.header.text("Units") == "GML" else "")
        return _SUV_TYPES.get(kind.strip().upper())

    method = _agreed(_pet_series(context), read)
    return proposal(context, item, Provenance.DICOM, method, basis="units and SUV type of the header") if method else ()


# magnetic resonance


def _mr_sequence(context: Context, item: Item) -> tuple[Answer, ...]:
    found = {key for s in context.study.images if s.modality == "MR" for key in sequences_of(s)}
    values = tuple(c for k, c in zip(item.value_keys, item.values, strict=True) if k in found)
    return proposal(context, item, Provenance.DICOM, *values, basis="headers of the MR series") if values else ()


def _field_strength(context: Context, item: Item) -> tuple[Answer, ...]:
    series = _only(context.series, "MR")
    number = series.header.number("MagneticFieldStrength") if series else None
    # some scanners write gauss (15000): out of range, and no unit is assumed
    value = quantity(item, number) if number else None
    return proposal(context, item, Provenance.DICOM, value) if value else ()


def _pulse_sequence(context: Context, item: Item) -> tuple[Answer, ...]:
    series = _only(context.series, "MR")
    if series is None:
        return ()
    named = (clean_text(series.header.text(k)) for k in ("PulseSequenceName", "SequenceName"))
    name = next((n for n in named if n), "")
    return proposal(context, item, Provenance.DICOM, name[: item.max_length]) if name else ()


def _b_values(context: Context, item: Item) -> tuple[Answer, ...]:
    series = _only(context.series, "MR")
    if series is None:
        return ()
    try:
        numbers = sorted({float(v) for h in _headers(series) for v in h.texts("DiffusionBValue")})
    except ValueError:
        return ()
    values = [quantity(item, n) for n in numbers]
    known = tuple(v for v in values if v is not None)
    # a list with a hole would mislead
    if not known or len(known) != len(values):
        return ()
    return proposal(context, item, Provenance.DICOM, *dict.fromkeys(known), basis="diffusion b-value")


# reconstruction and geometry


def _reconstruction(context: Context, item: Item) -> tuple[Answer, ...]:
    series = _only(context.series, "CT")
    if series is None:
        return ()
    algorithm = clean_text(series.header.text("ReconstructionAlgorithm"))
    kernel = " ".join(k for k in (clean_text(v) for v in series.header.texts("ConvolutionKernel")) if k)
    parts = [_RECONSTRUCTIONS.get(algorithm, algorithm), f"kernel {kernel}" if kernel else ""]
    said = ", ".join(p for p in parts if p)
    return proposal(context, item, Provenance.DICOM, said[: item.max_length]) if said else ()


def _spacing_between_slices(context: Context, item: Item) -> tuple[Answer, ...]:
    """Propose the usual distance between neighbouring planes along their normal (PS3.3 C.7.6.2.1.1), in mm.

    From Image Position (Patient), never from Spacing Between Slices (0018,0088), which is often wrong. Nothing is proposed for
    multi-frame images, planes that are not parallel, or fewer than three of them.
    """
    series = context.series
    if series is None or series.modality not in item.modalities:
        return ()
    depths = _depths(series)
    if len(set(depths)) < _POINT:
        return ()
    try:
        slabs = slabs_of(depths, None, complete=True)
    except InputError:
        return ()
    low, high = slabs.faces[len(slabs.faces) // 2]
    value = None if slabs.unequal else quantity(item, high - low)
    return proposal(context, item, Provenance.DICOM, value, basis="image positions") if value else ()


def _depths(series: Series) -> list[float]:
    """Return how far along the normal each image lies, in mm; empty where one image does not say, or is not parallel to the others."""
    normals = [_normal(i.header) for i in series.instances]
    points = [i.numbers("ImagePositionPatient") for i in series.instances]
    first = normals[0] if normals else None
    if first is None or any(len(p) != _POINT for p in points):
        return []
    if any(i.own.get("LastImagePositionPatient") for i in series.instances):
        return []
    if any(n is None or _dot(n, first) < _PARALLEL for n in normals):
        return []
    return [_dot(first, p) for p in points]


def _normal(header: Header) -> tuple[float, ...] | None:
    try:
        axes = tuple(float(v) for v in header.texts("ImageOrientationPatient"))
    except ValueError:
        return None
    if len(axes) != _ORIENTATION:
        return None
    (a, b, c), (d, e, f) = axes[:3], axes[3:]
    return b * f - c * e, c * d - a * f, a * e - b * d


def _dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


def _institution(context: Context, item: Item) -> tuple[Answer, ...]:
    name = clean_text(context.study.institution)[: item.max_length]
    return proposal(context, item, Provenance.DICOM, name, basis="institution of the images") if name else ()


TECHNIQUE_SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "spacing_between_slices": _spacing_between_slices,
        "contrast_agent": _contrast_agent,
        "contrast_delay": _contrast_delay,
        "reconstruction": _reconstruction,
        "field_strength": _field_strength,
        "mr_sequence": _mr_sequence,
        "pulse_sequence": _pulse_sequence,
        "b_values": _b_values,
        "pet_agent": _pet_agent,
        "pet_activity": _pet_activity,
        "pet_uptake": _pet_uptake,
        "suv_method": _suv_method,
        "institution": _institution,
    }
)
"""What an item's ``prefill`` may name, beside `service.flow.prefill.SOURCES`."""
