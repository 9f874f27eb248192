"""What follows from the relations to vessels and organs: for the surgeon's page, never a surgical decision."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.flow.derivations.asked import Asked, Derived, Pair, coded, key_in
from service.model.report import Scope
from sr_templates.evaluate import holds

IVC = "ves.ivc"
#: the tumour is in, around or from the vessel: what a resection has to take; abutment alone is not
INVOLVED = frozenset({"vr.encase", "vr.circumf", "vr.luminal", "vr.origin"})
_CONTACT = frozenset({"vr.abut", "vr.encase", "vr.circumf"})
_ARTERIES = frozenset(
    {
        "ves.aorta_abd", "ves.aorta_suprarenal", "ves.aorta_infrarenal", "ves.celiac", "ves.hepatic_a", "ves.sma", "ves.ima",
        "ves.renal_a", "ves.acc_renal_a", "ves.common_iliac_a", "ves.ext_iliac_a", "ves.int_iliac_a",
    }
)  # fmt: skip
_NO_VESSELS = frozenset({"ves.right_atrium"})


def renal_vein(asked: Asked) -> Derived | None:
    """Give the renal vein's involvement for the surgeon from its relation and its lumen."""
    if not asked.subject:
        return None
    relation, used = set(asked.keys("ves.relation")), asked.used("ves.relation", "ves.caliber")
    basis = "relation to the vein and its lumen"
    if "cal.occluded" in asked.keys("ves.caliber"):
        return coded(("rvi.occluded",), basis, used)
    if "vr.luminal" in relation:
        return coded(("rvi.luminal",), basis, used)
    if _CONTACT & relation:
        return coded(("rvi.contact",), basis, used)
    # a vein that the tumour arises from without being in it or at it has no word in the list
    return coded(("rvi.none",), basis, used) if relation == {"vr.none"} else None


def schwarzbach(asked: Asked) -> Derived | None:
    """Give Schwarzbach's type (J Vasc Surg 2006): artery and vein, artery only, vein only, neither.

    Encasement, intraluminal tumour and origin count as involvement, abutment does not. "Only" and "neither" need every listed vessel
    of the other kind evaluated.
    """
    matrix = asked.template.matrix(Scope.VESSEL)
    subjects = {s.key: s.structure for s in asked.report.subjects_of(Scope.VESSEL)}
    rows = {
        r.key: r.structure
        for r in (matrix.rows if matrix else ())
        if holds(r.when, asked.report, asked.template, r.key, asked.clinical)
    }
    listed = asked.template.item(matrix.item) if matrix else None
    involved: dict[str, list[Pair]] = {"artery": [], "vein": []}
    open_kinds: set[str] = set()
    used: list[Pair] = []
    for key, structure in {**rows, **subjects}.items():
        name = key_in(listed, structure) if structure else key.partition("/")[0]
        if name in _NO_VESSELS:
            continue
        kind = "artery" if name in _ARTERIES else "vein"
        relations = asked.keys("ves.relation", key)
        if not relations:
            open_kinds.add(kind)
            continue
        used.extend(asked.used("ves.relation", row=key))
        if INVOLVED.intersection(relations):
            involved[kind].extend(asked.used("ves.relation", row=key))
    artery, vein = bool(involved["artery"]), bool(involved["vein"])
    if not used or ("artery" in open_kinds and not artery) or ("vein" in open_kinds and not vein):
        return None
    key = {(True, True): "sch.1", (True, False): "sch.2", (False, True): "sch.3", (False, False): "sch.4"}[artery, vein]
    rests_on = (*involved["artery"], *involved["vein"]) if artery and vein else tuple(used)
    return coded((key,), "vessels encased, entered or of origin; abutment does not count", rests_on)


def ivc_resection(asked: Asked) -> Derived | None:
    """Propose the level of a caval resection from the segments that are involved.

    Only what the segments say: how much of the wall has to go is the surgeon's to decide, and a middle segment without its
    subdivision leaves the level open.
    """
    relation = set(asked.keys("ves.relation", IVC))
    if relation == {"vr.none"}:
        return coded(("opr.none",), "no contact with the inferior vena cava", asked.used("ves.relation", row=IVC))
    if not INVOLVED & relation:
        return None
    used = (
        *asked.used("ves.relation", "ivc.segment", "ivc.middle_sub", "iv.cranial", row=IVC),
        *asked.used("op.right_atrium"),
    )
    segments, parts = set(asked.keys("ivc.segment", IVC)), set(asked.keys("ivc.middle_sub", IVC))
    top = {*asked.keys("iv.cranial", IVC)}
    basis = "highest segment of the inferior vena cava involved"
    if (
        "ivc.upper" in segments
        or {"ivc.upper", "ves.right_atrium"} & top
        or "v.present" in asked.keys("op.right_atrium")
    ):
        return coded(("opr.suprahepatic",), basis, used)
    if "ivc.middle" in segments:
        if "ivc.2b" in parts:
            return coded(("opr.retrohepatic",), basis, used)
        return coded(("opr.suprarenal",), basis, used) if parts == {"ivc.2a"} else None
    return coded(("opr.infrarenal",), basis, used) if segments == {"ivc.lower"} else None


_AT_RISK = frozenset({"or.invaded", "or.encased", "or.origin"})
#: parts of an organ that the list of organs at risk calls by the organ
_PART_OF: Mapping[str, str] = MappingProxyType(
    {
        "org.colon_asc": "org.colon",
        "org.colon_desc": "org.colon",
        "org.sigmoid": "org.colon",
        "org.caudate": "org.liver",
        "org.crus": "org.diaphragm",
        "org.renal_pelvis": "org.kidney",
    }
)


def organs_at_risk(asked: Asked) -> Derived | None:
    """Propose the organs that are invaded, encased or of origin; contact alone is not proposed."""
    matrix = asked.template.matrix(Scope.ORGAN)
    listed = asked.template.item(matrix.item) if matrix else None
    found: dict[str, None] = {}
    used: list[Pair] = []
    for subject in asked.report.subjects_of(Scope.ORGAN):
        if not _AT_RISK.intersection(asked.keys("org.relation", subject.key)):
            continue
        name = key_in(listed, subject.structure) if subject.structure else subject.key.partition("/")[0]
        name = _PART_OF.get(name, name)
        if name in asked.item.value_keys:
            found[name] = None
            used.extend(asked.used("org.relation", row=subject.key))
    order = [k for k in asked.item.value_keys if k in found]
    return coded(tuple(order), "organs invaded, encased or of origin", tuple(used)) if order else None
