"""What headers suggest about how a series was made: tables of words, applied to folded text. Suggestions only."""

from __future__ import annotations

from service.flow.folding import fold
from service.model.study import Series, Study

# Words in series descriptions and protocol names, several languages; whole words after folding. A word that two phases share
# ("late" of "late arterial" and of "delayed") stands in the longer phrase first: the first phrase found wins its words.
PHASE_WORDS: tuple[tuple[str, str], ...] = (
    ("late arterial", "phase.late_arterial"),
    ("spatarteriell", "phase.late_arterial"),
    ("arteriel tardif", "phase.late_arterial"),
    ("corticomedullary", "phase.corticomedullary"),
    ("kortikomedullar", "phase.corticomedullary"),
    ("nephrographic", "phase.nephrographic"),
    ("nephrogenic", "phase.nephrographic"),
    ("nephrographisch", "phase.nephrographic"),
    ("portal venous", "phase.portal"),
    ("portovenous", "phase.portal"),
    ("portalvenous", "phase.portal"),
    ("portalvenos", "phase.portal"),
    ("portalvenose", "phase.portal"),
    ("portovenos", "phase.portal"),
    ("pv", "phase.portal"),
    ("portal", "phase.portal"),
    ("venous", "phase.portal"),
    ("venos", "phase.portal"),
    ("venose", "phase.portal"),
    ("veineux", "phase.portal"),
    ("venoso", "phase.portal"),
    ("venosa", "phase.portal"),
    ("arterial", "phase.arterial"),
    ("arteriell", "phase.arterial"),
    ("arterielle", "phase.arterial"),
    ("arteriel", "phase.arterial"),
    ("art", "phase.arterial"),
    ("excretory", "phase.excretory"),
    ("urographic", "phase.excretory"),
    ("urographie", "phase.excretory"),
    ("delayed", "phase.delayed"),
    ("delay", "phase.delayed"),
    ("spatphase", "phase.delayed"),
    ("tardif", "phase.delayed"),
    ("unenhanced", "phase.unenhanced"),
    ("non contrast", "phase.unenhanced"),
    ("noncontrast", "phase.unenhanced"),
    ("without contrast", "phase.unenhanced"),
    ("w o contrast", "phase.unenhanced"),
    ("native", "phase.unenhanced"),
    ("nativ", "phase.unenhanced"),
    ("sans injection", "phase.unenhanced"),
    ("sin contraste", "phase.unenhanced"),
    ("senza mdc", "phase.unenhanced"),
)

#: Body Part Examined (0018,0015), folded and without blanks, to the key of a region; only terms that say one thing (PS3.16 Annex L).
REGIONS = {
    "abdomen": "reg.abdomen",
    "abdomenpelvis": "reg.abd_pelvis",
    "abdomenandpelvis": "reg.abd_pelvis",
    "abdpelvis": "reg.abd_pelvis",
    "pelvis": "reg.pelvis",
    "chest": "reg.chest",
    "thorax": "reg.chest",
    "chestabdomen": "reg.chest_abd",
    "chestabdpelvis": "reg.cap",
    "chestabdomenpelvis": "reg.cap",
    "neckchestabdpelv": "reg.ncap",
    "neckchestabdomenpelvis": "reg.ncap",
}
CHEST_REGIONS = frozenset({"reg.chest", "reg.chest_abd", "reg.cap", "reg.ncap"})


def phase_of(series: Series) -> tuple[str, str]:
    """Return the key of the enhancement phase that the texts of a series name, and which text; two empty texts where they name none.

    Where a text names two phases ("arterial + portal venous") nothing is suggested.
    """
    for source, text in (
        ("series description", series.description),
        ("protocol name", series.header.text("ProtocolName")),
    ):
        folded = fold(text)
        found: list[str] = []
        for words, phase in PHASE_WORDS:
            if f" {words} " in folded:
                folded = folded.replace(f" {words} ", " ")
                if phase not in found:
                    found.append(phase)
        if len(found) == 1:
            return found[0], source
        if found:
            return "", ""
    return "", ""


def regions_of(study: Study) -> tuple[str, ...]:
    """Return the keys of the regions that Body Part Examined of the image series names, each once, in the table's order."""
    named = {REGIONS.get(fold(s.header.text("BodyPartExamined")).replace(" ", ""), "") for s in study.images}
    return tuple(key for key in dict.fromkeys(REGIONS.values()) if key in named)


def contrast_agent_named(study: Study) -> bool:
    """Say whether a CT or MR series of the study names a contrast agent (0018,0010) or (0018,0012)."""
    return any(
        s.header.text("ContrastBolusAgent").strip().casefold() not in {"", "none", "no", "without", "ohne"}
        or bool(s.header.codes.get("ContrastBolusAgentSequence"))
        for s in study.images
        if s.modality in {"CT", "MR"}
    )


def line_of(series: Series) -> str:
    """Return a series in words: modality, description, slice thickness, tube voltage or field strength, number of images."""
    parts = [series.modality or "modality not stated"]
    if series.description:
        parts.append(series.description)
    thickness = series.header.number("SliceThickness")
    if thickness:
        parts.append(f"{round(thickness, 2):g} mm")
    voltage = series.header.number("KVP")
    if voltage and series.modality == "CT":
        parts.append(f"{voltage:g} kV")
    field_strength = series.header.number("MagneticFieldStrength")
    if field_strength and series.modality == "MR":
        parts.append(f"{field_strength:g} T")
    count = len(series.instances)
    parts.append(f"{count} image{'' if count == 1 else 's'}")
    return ", ".join(parts)
