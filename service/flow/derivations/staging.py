"""cT, cN, cM, stage group and FNCLCC total: proposals by the AJCC's and the FNCLCC's tables, never from a grade that nobody stated."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from service.flow.derivations.asked import Asked, Derived, Look, coded, numeric
from service.model.report import Provenance, Scope
from sr_templates import load_codes

T_LIMITS_MM = ((50.0, "st.t1"), (100.0, "st.t2"), (150.0, "st.t3"))
"""Upper ends of the T categories in mm, inclusive (AJCC 8, soft tissue sarcoma; the same in its retroperitoneum and trunk chapters)."""


def t_category(largest_mm: float | Decimal) -> str:
    """Return the key of the clinical T category for the largest dimension, in mm, unrounded: 100 mm is T2, 100.1 mm is T3."""
    return next((key for limit, key in T_LIMITS_MM if largest_mm <= limit), "st.t4")


_EXTENTS = ("sz.height", "sz.width", "sz.depth")
_SEVERAL = frozenset({"load.multiple", "load.2_5", "load.6_10", "load.gt10", "load.satellite"})


def clinical_t(asked: Asked) -> Derived | None:
    """Propose cT from the largest dimension of the one tumour, in any plane.

    The 3D diameter counts where it is from a segmentation; the axial long axis is a floor. Without the craniocaudal extent or the 3D
    diameter the largest dimension is not known, and only T4 is certain. Of several lesions, a person says which one the category is of.
    """
    index = asked.index
    if not index or asked.subject not in {"", index} or _several(asked) or "tum.secondary" in asked.keys("tid.finding"):
        return None
    sizes = {item: asked.number(item, index) for item in (*_EXTENTS, "sz.long_axis")}
    segmented = [a for a in asked.answers("sz.max3d", index) if a.provenance is Provenance.SEGMENTATION]
    if segmented:
        sizes["sz.max3d"] = asked.number("sz.max3d", index)
    known = {item: size for item, size in sizes.items() if size is not None}
    if not known:
        return None
    largest = max(known.values())
    category = t_category(largest)
    if category != "st.t4" and not {"sz.height", "sz.max3d"} & set(known):
        return None
    used = asked.used(*known, row=index)
    whole = all(a.provenance is Provenance.SEGMENTATION for pair in used for a in asked.report.answers_of(*pair))
    return coded((category,), f"largest {'segmented ' if whole else ''}dimension, {largest:.1f} mm", used)


def _several(asked: Look) -> bool:
    load = asked.keys("tum.lesion_load")
    if "load.solitary" in load:
        return False
    segments = [s.segment.sop_instance_uid for s in asked.report.subjects_of(Scope.LESION) if s.segment]
    # masks of one tumour on several series stand in several objects
    return bool(_SEVERAL.intersection(load)) or len(segments) != len(set(segments))


_N: Mapping[str, str] = MappingProxyType({"v.present": "st.n1", "v.absent": "st.n0"})


def clinical_n(asked: Asked) -> Derived | None:
    """Propose cN from what a person stated about lymph nodes; nothing follows from nodes that were not evaluated."""
    for key in asked.stated("ln.lymphadenopathy"):
        if key in _N:
            return coded((_N[key],), "suspicious lymph nodes as stated", asked.used("ln.lymphadenopathy"))
    return None


_DISTANT = frozenset({"mst.definite", "mst.proven"})
#: a node is regional or distant: its site does not tell, so neither category follows from it
_NODES = "mets.lymph_node"


def clinical_m(asked: Asked) -> Derived | None:
    """Propose cM1 from one stated metastasis, cM0 only where every listed site was stated free, the lungs among them.

    A suspicion is neither.
    """
    found = asked.report.subjects_of(Scope.METASTASIS)
    subjects = [s.key for s in found]
    nodes = load_codes()[_NODES]
    sites = [s.key for s in found if s.structure is None or not s.structure.same(nodes)]
    distant = [k for k in sites if _DISTANT.intersection(asked.stated("met.status", k))]
    if distant:
        used = tuple(pair for k in distant for pair in asked.used("met.status", row=k))
        return coded(("st.m1",), "metastasis as stated", used)
    peritoneum = asked.stated("met.peritoneal_pattern")
    if "v.present" in peritoneum:
        return coded(("st.m1",), "peritoneal sarcomatosis as stated", asked.used("met.peritoneal_pattern"))
    matrix = asked.template.matrix(Scope.METASTASIS)
    rows = [r.key for r in matrix.rows] if matrix else []
    free = all(asked.stated("met.status", k) == ("mst.none",) for k in {*rows, *subjects})
    if not rows or not free or (peritoneum and peritoneum != ("v.absent",)):
        return None
    used = (*(p for k in rows for p in asked.used("met.status", row=k)), *asked.used("met.peritoneal_pattern"))
    return coded(("st.m0",), "every listed site stated free of metastasis", used)


_GRADES = frozenset({"gr.g1", "gr.g2", "gr.g3"})
#: (T categories, low grade, high grade) of N0 M0
_N0_M0: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"st.t1"}), "st.g_ia", "st.g_ii"),
    (frozenset({"st.t2"}), "st.g_ib", "st.g_iiia"),
    (frozenset({"st.t3", "st.t4"}), "st.g_ib", "st.g_iiib"),
)


def stage_group(t: str, n: str, m: str, grade: str) -> str:
    """Return the key of the stage group, AJCC 8, retroperitoneum; empty where the table has none.

    Parameters
    ----------
    t, n, m, grade:
        Keys: ``st.t1``, ``st.n0``, ``st.m0``, ``gr.g2``. A grade that could not be assessed counts as G1 in the printed table; here no
        group is proposed from it, since a missing grade and a low one are not the same thing.
    """
    if grade not in _GRADES:
        return ""
    if m == "st.m1":
        return "st.g_iv"
    if m != "st.m0":
        return ""
    # retroperitoneum: N1 is IIIB; the trunk and extremity table has IV here
    if n == "st.n1":
        return "st.g_iiib"
    if n != "st.n0":
        return ""
    return next((low if grade == "gr.g1" else high for ts, low, high in _N0_M0 if t in ts), "")


def propose_group(asked: Asked) -> Derived | None:
    """Propose the stage group where the retroperitoneum chapter was chosen and the grade is known."""
    if asked.stated("st.chapter") != ("st.chapter.rp",):
        return None
    t, n, m, grade = (asked.key(i) for i in ("st.t", "st.n", "st.m", "gr.histologic_grade"))
    group = stage_group(t, n, m, grade)
    if not group:
        return None
    return coded(
        (group,),
        "AJCC 8, retroperitoneum, from T, N, M and grade",
        asked.used("st.chapter", "st.t", "st.n", "st.m", "gr.histologic_grade"),
    )


_SCORES = ("gr.diff", "gr.mitosis", "gr.necrosis")
#: upper ends of the totals of G1 and G2, inclusive
_G1_TO, _G2_TO = 3, 5


def fnclcc_sum(asked: Look) -> Decimal | None:
    """Return differentiation + mitosis + necrosis; None where a score is missing."""
    scores = [n for n in (asked.number(i) for i in _SCORES) if n is not None]
    return sum(scores, Decimal(0)) if len(scores) == len(_SCORES) else None


def fnclcc_grade(total: Decimal) -> str:
    """Return the key of the grade of an FNCLCC total: 2-3 G1, 4-5 G2, 6-8 G3 (Trojani 1984; Guillou 1997)."""
    if total <= _G1_TO:
        return "gr.g1"
    return "gr.g2" if total <= _G2_TO else "gr.g3"


def fnclcc_total(asked: Asked) -> Derived | None:
    """Sum up the FNCLCC scores."""
    total = fnclcc_sum(asked)
    if total is None:
        return None
    return numeric(asked, total, "differentiation + mitosis + necrosis", asked.used(*_SCORES))
