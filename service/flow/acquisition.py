"""What headers say about the kind of an MR series: T1, T2, diffusion, ADC, dynamic, in phase, out of phase. Suggestions only.

A series may be of several kinds; one that names none suggests none. Of echo and repetition times, only those of a plain spin echo
that lie far on one side decide: anything between is left to the radiologist.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.flow.folding import fold
from service.model.study import Header, Series

#: Image Type (0008,0008), values 3 and later, as scanners write them
_IMAGE_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "ADC": "seq.adc",
        "DIFFUSION": "seq.dwi",
        "TRACEW": "seq.dwi",
        "IN_PHASE": "seq.inphase",
        "IP": "seq.inphase",
        "OUT_PHASE": "seq.outphase",
        "OPP_PHASE": "seq.outphase",
        "OP": "seq.outphase",
    }
)
#: Acquisition Contrast (0008,9209), PS3.3 C.8.13.3.1.4
_CONTRASTS: Mapping[str, str] = MappingProxyType({"T1": "seq.t1", "T2": "seq.t2", "DIFFUSION": "seq.dwi"})
# Whole words of series description and protocol name after folding, longest first: the first phrase found takes its words.
_WORDS: tuple[tuple[str, str], ...] = (
    ("apparent diffusion coefficient", "seq.adc"),
    ("diffusion weighted", "seq.dwi"),
    ("diffusionsgewichtet", "seq.dwi"),
    ("opposed phase", "seq.outphase"),
    ("out of phase", "seq.outphase"),
    ("outphase", "seq.outphase"),
    ("opp phase", "seq.outphase"),
    ("in phase", "seq.inphase"),
    ("inphase", "seq.inphase"),
    # quantitative maps: their numbers are relaxation times, not a weighting
    ("t1 map", ""),
    ("t2 map", ""),
    ("t2 star", ""),
    ("t1 weighted", "seq.t1"),
    ("t2 weighted", "seq.t2"),
    ("dynamic", "seq.dce"),
    ("dynamisch", "seq.dce"),
    ("dyn", "seq.dce"),
    ("dce", "seq.dce"),
    ("adc", "seq.adc"),
    ("dwi", "seq.dwi"),
    ("t1w", "seq.t1"),
    ("t2w", "seq.t2"),
    ("t1", "seq.t1"),
    ("t2", "seq.t2"),
)
#: of a spin echo, in ms: up to a short echo and repetition time T1, from a long one T2
_SHORT_ECHO, _SHORT_REPETITION = 30.0, 1000.0
_LONG_ECHO, _LONG_REPETITION = 70.0, 2000.0


def sequences_of(series: Series) -> frozenset[str]:
    """Return the keys of the kinds (``seq.t1`` …) that the headers of an MR series suggest."""
    found: set[str] = set()
    for header in {id(h): h for h in (series.header, *(i.header for i in series.instances))}.values():
        found.update(_of_types(header))
    if not found & {"seq.adc", "seq.dwi"} and any(_diffusion(i.header) for i in series.instances):
        found.add("seq.dwi")
    found.update(_of_texts(series))
    # an ADC map is computed from diffusion images and names them, too; what it shows is the ADC
    if "seq.adc" in found:
        found -= {"seq.dwi", "seq.t1", "seq.t2"}
    # diffusion images are T2-weighted by nature, which makes them no T2 series
    if "seq.dwi" in found:
        found -= {"seq.t2"}
    if not found & {"seq.t1", "seq.t2", "seq.adc", "seq.dwi"} and (weighting := _of_times(series.header)):
        found.add(weighting)
    return frozenset(found)


def _of_types(header: Header) -> set[str]:
    values = {v.strip().upper() for v in header.texts("ImageType")[2:]}
    found = {_IMAGE_TYPES[v] for v in values if v in _IMAGE_TYPES}
    contrast = header.text("AcquisitionContrast").strip().upper()
    if contrast in _CONTRASTS and "ADC" not in values:
        found.add(_CONTRASTS[contrast])
    return found


def _diffusion(header: Header) -> bool:
    return (header.number("DiffusionBValue") or 0) > 0


def _of_texts(series: Series) -> set[str]:
    found: set[str] = set()
    for text in (series.description, series.header.text("ProtocolName")):
        # "T2*" says something else than "T2", and folding would drop the star
        folded = fold(text.replace("*", " star "))
        for words, key in _WORDS:
            if f" {words} " in folded:
                folded = folded.replace(f" {words} ", "  ")
                found.add(key)
        if found - {""}:
            break
    return found - {""}


def _of_times(header: Header) -> str:
    """Return the weighting that echo and repetition time of a plain spin echo leave no doubt about; empty: none."""
    if header.texts("ScanningSequence") != ("SE",):
        return ""
    echo, repetition = header.number("EchoTime"), header.number("RepetitionTime")
    if not echo or not repetition:
        return ""
    if echo <= _SHORT_ECHO and repetition <= _SHORT_REPETITION:
        return "seq.t1"
    return "seq.t2" if echo >= _LONG_ECHO and repetition >= _LONG_REPETITION else ""
