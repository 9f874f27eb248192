"""The names of functions that a template may use, and what derivations read: what ``lms-sr template lint`` checks a template against."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.flow.derive import DERIVATIONS
from service.flow.prefill import SOURCES
from service.flow.rules import CHECKS
from sr_templates.language.linter import Registered

_TARGETS = {
    "fu.baseline_cat",
    "sz.long_axis",
    "sz.short_axis",
    "tid.finding",
    "tid.finding_site",
    "fu.method",
    "fu.too_small",
}
_SUMS = {"fu.sum_baseline", "fu.sum_nadir"}
_VOLUMES = {"sz.volume", "fu.interval", "tid.method"}

_READS: Mapping[str, set[str]] = {
    "t_category": {
        "sz.height", "sz.width", "sz.depth", "sz.long_axis", "sz.max3d", "tum.lesion_load", "tum.n_lesions", "tid.finding",
    },
    "n_category": {"ln.lymphadenopathy"},
    "m_category": {"met.status", "met.peritoneal_pattern"},
    "stage_group": {"st.chapter", "st.t", "st.n", "st.m", "gr.histologic_grade"},
    "fnclcc_total": {"gr.diff", "gr.mitosis", "gr.necrosis", "ctx.prior_tx"},
    "necrosis_pct": {"sz.necrosis_volume", "sz.volume"},
    "lesion_count": {"tum.lesion_load", "tid.finding"},
    "delta_hu": {"ct.hu", "tech.phase"},
    "renal_vein": {"ves.relation", "ves.caliber"},
    "schwarzbach": {"ves.relation"},
    "ivc_resection": {"ves.relation", "ivc.segment", "ivc.middle_sub", "iv.cranial", "op.right_atrium"},
    "organs_at_risk": {"org.relation"},
    "baseline_sum": _TARGETS,
    "nadir_sum": {*_TARGETS, "fu.sum_baseline"},
    "target_sum": _TARGETS,
    "pct_baseline": {"fu.sum", "fu.sum_baseline"},
    "pct_nadir": {"fu.sum", *_SUMS},
    "abs_nadir": {"fu.sum", *_SUMS},
    "current_response": {*_TARGETS, *_SUMS},
    "overall_response": {*_TARGETS, *_SUMS, "fu.current", "fu.new_lesion"},
    "best_response": {"fu.overall"},
    "choi_hu_pct": {*_TARGETS, "ct.hu", "tech.phase"},
    "choi_response": {
        *_TARGETS, *_SUMS, "fu.choi_hu_pct", "fu.current", "fu.new_lesion", "fu.new_nodule", "ct.hu", "tech.phase",
    },
    "doubling_time": _VOLUMES,
    "sgr": _VOLUMES,
    "diameter_rate": {"sz.long_axis", "fu.interval"},
    "lesion_change": {"sz.long_axis"},
    "lesion_course": {*_TARGETS, *_VOLUMES, "ct.hu", "tech.phase", "fu.doubling"},
    "sum_course": {*_TARGETS, *_SUMS, "fu.sum", "fu.pct_baseline", "fu.pct_nadir"},
}  # fmt: skip
#: what derivations read that could be derived itself; `impression` and `dd_feature` are words that no derivation reads
READS: Mapping[str, frozenset[str]] = MappingProxyType({name: frozenset(items) for name, items in _READS.items()})
WORDS_ONLY = frozenset({"impression", "dd_feature"})


def registered() -> Registered:
    """Return the names of every source of proposals, every derivation and every check."""
    return Registered(prefill=frozenset(SOURCES), derive=frozenset(DERIVATIONS), check=frozenset(CHECKS), reads=READS)
