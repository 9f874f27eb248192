"""The suggested impression: a few sentences that repeat coded answers and nothing else. Proposals are called that.

What is not answered is not mentioned; what was not evaluated is, where a reader would take silence for absence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.flow.derivations.asked import Asked, Derived, Pair, key_in
from service.flow.derivations.structures import IVC
from service.model.report import Quantity, Scope, Status
from service.sr import words
from sr_templates import load_codes
from sr_templates.evaluate import code_is

MAX_LENGTH = 1024
#: stands behind what nobody has confirmed yet
PROPOSED = " (proposed)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Words and the answers they repeat."""

    text: str
    used: tuple[Pair, ...]


def impression(asked: Asked) -> Derived | None:
    """Write the suggested impression, at most 1024 characters; whole sentences are left out where it would be longer."""
    sentences: list[Said] = []
    length = 0
    for write in _SENTENCES:
        for said in write(asked):
            if length + len(said.text) + 1 <= min(MAX_LENGTH, asked.item.max_length):
                sentences.append(said)
                length += len(said.text) + 1
    if not sentences:
        return None
    used = tuple(dict.fromkeys(p for s in sentences for p in s.used))
    return Derived(values=(" ".join(s.text for s in sentences),), basis="coded answers of this report", from_items=used)


def _mark(asked: Asked, used: Iterable[Pair]) -> str:
    """Return " (proposed)" while one of the answers is no person's."""
    return PROPOSED if any(a.status is Status.PROPOSED for p in used for a in asked.report.answers_of(*p)) else ""


def _sentence(asked: Asked, text: str, used: tuple[Pair, ...]) -> Said:
    return Said(text=f"{text[:1].upper()}{text[1:]}{_mark(asked, used)}.", used=used)


def _number(asked: Asked, item: str, row: str = "") -> str:
    quantities = (v for a in asked.answers(item, row) for v in a.values if isinstance(v, Quantity))
    return next((words.number(q, digits=0) for q in quantities), "")


_RESPONSES: Mapping[str, str] = MappingProxyType(
    {
        "fu.cr": "complete response",
        "fu.pr": "partial response",
        "fu.sd": "stable disease",
        "fu.pd": "progressive disease",
        "fu.ne": "response not evaluable",
        "fu.noncr_nonpd": "neither complete response nor progression of non-target disease",
    }
)


def _response(asked: Asked) -> Iterator[Said]:
    overall = asked.key("fu.overall")
    if overall in _RESPONSES:
        used = asked.used("fu.overall", "fu.sum", "fu.sum_baseline", "fu.pct_baseline", "fu.pct_nadir")
        yield _sentence(asked, f"{_RESPONSES[overall]} by RECIST 1.1{_sums(asked)}", used)
    choi = asked.key("fu.choi_resp")
    if choi in _RESPONSES:
        name = "modified Choi" if "fu.mchoi" in asked.keys("fu.method") else "Choi"
        percent = _number(asked, "fu.choi_hu_pct")
        aside = f" (attenuation {_signed(percent)})" if percent else ""
        used = asked.used("fu.choi_resp", "fu.choi_hu_pct", "fu.method")
        yield _sentence(asked, f"{name}: {_RESPONSES[choi]}{aside}", used)
    new = {"v.present": "new lesion", "v.absent": "no new lesion"}.get(asked.key("fu.new_lesion"))
    if new:
        yield _sentence(asked, new, asked.used("fu.new_lesion"))


def _sums(asked: Asked) -> str:
    now, then = _number(asked, "fu.sum"), _number(asked, "fu.sum_baseline")
    if not now or not then:
        return ""
    changes = [
        f"{_signed(percent)} from {name}"
        for item, name in (("fu.pct_baseline", "baseline"), ("fu.pct_nadir", "nadir"))
        if (percent := _number(asked, item))
    ]
    before = then.removesuffix(" mm")
    return f" ({', '.join([f'sum {before} -> {now}', *changes])})"


def _signed(number: str) -> str:
    return number if number.startswith("-") else f"+{number}"


_RECURRENCE: Mapping[str, str] = MappingProxyType(
    {
        "fu.ned": "no evidence of disease",
        "rec.local": "local recurrence",
        "rec.distant": "distant recurrence",
        "rec.both": "local and distant recurrence",
        "rec.equivocal": "equivocal for recurrence",
    }
)


def _recurrence(asked: Asked) -> Iterator[Said]:
    status = asked.key("fu.recurrence")
    if status in _RECURRENCE:
        sites = [_words(asked, "fu.recur_site", k) for k in asked.keys("fu.recur_site")]
        where = f": {', '.join(sites)}" if sites else ""
        yield _sentence(asked, f"{_RECURRENCE[status]}{where}", asked.used("fu.recurrence", "fu.recur_site"))


def _words(asked: Asked, item: str, key: str) -> str:
    """Return a value as it stands in a sentence."""
    found = asked.template.item(item)
    known = dict(zip(found.value_keys, found.values, strict=True)) if found else {}
    meaning = (known[key] if key in known else load_codes()[key]).meaning
    # names that begin with an abbreviation keep their capitals: "IVC"
    return meaning if meaning[1:2].isupper() else f"{meaning[:1].lower()}{meaning[1:]}"


_PROVEN: Mapping[str, str] = MappingProxyType(
    {
        "ctx.dx_status.biopsy": "biopsy-proven",
        "ctx.dx_status.resected": "resection-proven",
        "ctx.dx_status.recurrent": "known recurrent disease",
        "ctx.dx_status.suspected": "no tissue diagnosis",
    }
)
_GROWTH: Mapping[str, str] = MappingProxyType(
    {
        "gp.extra": "completely extravascular growth",
        "gp.mixed": "mixed extravascular and intravascular growth",
        "gp.intra": "completely intravascular growth",
    }
)
_SEGMENTS: Mapping[str, str] = MappingProxyType({"ivc.lower": "lower", "ivc.middle": "middle", "ivc.upper": "upper"})
_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "ves.common_iliac_v": "the common iliac vein",
        "ves.renal_v": "the renal vein",
        "ves.hepatic_v": "the hepatic veins",
        "ves.right_atrium": "the right atrium",
        "ivc.lower": "the lower inferior vena cava",
        "ivc.middle": "the middle inferior vena cava",
        "ivc.upper": "the upper inferior vena cava",
    }
)


def _tumour(asked: Asked) -> Iterator[Said]:
    index = asked.index
    if not index:
        return
    side, site = (asked.key(i, index) for i in ("tid.laterality", "tid.finding_site"))
    place = [_words(asked, i, k) for i, k in (("tid.laterality", side), ("tid.finding_site", site)) if k]
    place = ["retroperitoneal" if p == "retroperitoneum" else p for p in place]
    proven = asked.key("ctx.dx_status")
    # the histology is named only where tissue proved it; before, the finding is a mass
    histology = asked.key("ctx.histologic_type") if proven and proven != "ctx.dx_status.suspected" else ""
    finding = asked.key("tid.finding", index)
    noun = _words(asked, "ctx.histologic_type", histology) if histology else ""
    noun = noun or (_words(asked, "tid.finding", finding) if finding in {"tum.mass", "tum.neoplasm"} else "mass")
    aside = f" ({_PROVEN[proven]})" if proven in _PROVEN else ""
    parts = [f"{' '.join([*place, noun])}{aside}", *_size(asked, index), *_growth(asked), *_origin(asked)]
    items = (
        "tid.laterality",
        "tid.finding_site",
        "tid.finding",
        "sz.height",
        "sz.width",
        "sz.depth",
        "sz.volume",
        "gp",
    )
    used = (
        *asked.used(*items, row=index),
        *asked.used("ctx.dx_status", *(("ctx.histologic_type",) if histology else ())),
        *asked.used("ves.origin"),
        *(asked.used("ivc.origin_segment", row=IVC) if asked.key("ves.origin") == IVC else ()),
    )
    if len(parts) > 1 or aside or place:
        yield _sentence(asked, ", ".join(parts), used)


def _size(asked: Asked, index: str) -> Iterator[str]:
    if extents := words.dimensions(asked.report, index):
        volume = _number(asked, "sz.volume", index)
        yield f"{extents} (CC x TR x AP){f', {volume}' if volume else ''}"


def _growth(asked: Asked) -> Iterator[str]:
    if (growth := asked.key("gp")) in _GROWTH:
        yield _GROWTH[growth]


def _origin(asked: Asked) -> Iterator[str]:
    origin = asked.key("ves.origin")
    if origin == "v.none":
        yield "no vessel of origin apparent"
    elif origin and origin not in {"v.undetermined", "v.not_evaluated"}:
        segment = _SEGMENTS.get(asked.key("ivc.origin_segment", IVC), "") if origin == IVC else ""
        yield f"arising from the {f'{segment} ' if segment else ''}{_words(asked, 'ves.origin', origin)}"


def _vein(asked: Asked) -> Iterator[Said]:
    state = asked.key("iv.tumor_in_vein")
    if state == "v.present":
        limit = _LIMITS.get(asked.key("iv.cranial"), "")
        text = f"tumour in a vein{f', cranial limit {limit}' if limit else ''}"
        yield _sentence(asked, text, asked.used("iv.tumor_in_vein", "iv.cranial"))
    elif state == "v.absent":
        yield _sentence(asked, "no tumour in a vein", asked.used("iv.tumor_in_vein"))
    elif code_is(asked.report, "iv.tumor_in_vein", "", "v.not_evaluated"):
        yield _sentence(asked, "tumour in veins was not evaluated", (asked.of("iv.tumor_in_vein"),))
    if asked.key("iv.thrombus_type") in {"iv.thrombus", "iv.mixed_thrombus"}:
        yield _sentence(asked, "bland thrombus", asked.used("iv.thrombus_type"))
    obstruction = {"iv.obs_partial": "partial venous obstruction", "iv.obs_complete": "complete venous obstruction"}
    if text := obstruction.get(asked.key("iv.obstruction"), ""):
        yield _sentence(asked, text, asked.used("iv.obstruction"))


_RENAL: Mapping[str, str] = MappingProxyType(
    {"rvi.none": "free", "rvi.contact": "in contact", "rvi.luminal": "with tumour inside", "rvi.occluded": "occluded"}
)


def _renal_veins(asked: Asked) -> Iterator[Said]:
    found = []
    used: list[Pair] = []
    for side in ("right", "left"):
        row = f"ves.renal_v/{side}"
        if (state := asked.key("op.renal_vein", row)) in _RENAL:
            found.append(f"{side} renal vein {_RENAL[state]}")
            used.extend(asked.used("op.renal_vein", row=row))
    if found:
        yield _sentence(asked, ", ".join(found), tuple(used))


_INVASION: Mapping[str, str] = MappingProxyType(
    {"or.invaded": "invasion of", "or.encased": "encasement of", "or.origin": "suspected origin from"}
)


def _organs(asked: Asked) -> Iterator[Said]:
    matrix = asked.template.matrix(Scope.ORGAN)
    rows = {r.key: r.label for r in matrix.rows} if matrix else {}
    for relation, text in _INVASION.items():
        keys = [s.key for s in asked.report.subjects_of(Scope.ORGAN) if relation in asked.keys("org.relation", s.key)]
        if keys:
            names = [_name(asked, k, rows) for k in keys]
            used = tuple(p for k in keys for p in asked.used("org.relation", row=k))
            yield _sentence(asked, f"{text} {', '.join(names)}", used)


def _name(asked: Asked, key: str, rows: Mapping[str, str]) -> str:
    subject = asked.report.subject(key)
    structure = subject.structure.meaning if subject and subject.structure else key
    name = rows.get(key, structure)
    return f"{name[:1].lower()}{name[1:]}"


_NODES: Mapping[str, str] = MappingProxyType(
    {"v.present": "suspicious lymph nodes", "v.absent": "no suspicious lymph nodes"}
)
_STATUS: Mapping[str, str] = MappingProxyType(
    {
        "mst.definite": "metastasis",
        "mst.proven": "biopsy-proven metastasis",
        "mst.suspicious": "suspicious for metastasis",
    }
)


def _spread(asked: Asked) -> Iterator[Said]:
    if text := _NODES.get(asked.key("ln.lymphadenopathy"), ""):
        yield _sentence(asked, text, asked.used("ln.lymphadenopathy"))
    matrix = asked.template.matrix(Scope.METASTASIS)
    rows = {r.key: r.label for r in matrix.rows} if matrix else {}
    sites = asked.report.subjects_of(Scope.METASTASIS)
    for status, text in _STATUS.items():
        keys = [s.key for s in sites if status in asked.keys("met.status", s.key)]
        if keys:
            used = tuple(p for k in keys for p in asked.used("met.status", row=k))
            yield _sentence(asked, f"{text}: {', '.join(_name(asked, k, rows) for k in keys)}", used)
    free = [s.key for s in sites if asked.keys("met.status", s.key) == ("mst.none",)]
    if free and len(free) == len(sites):
        used = tuple(p for k in free for p in asked.used("met.status", row=k))
        yield _sentence(asked, f"no metastasis identified in {', '.join(_name(asked, k, rows) for k in free)}", used)
    if asked.key("met.peritoneal_pattern") == "v.present":
        yield _sentence(asked, "peritoneal sarcomatosis", asked.used("met.peritoneal_pattern"))


def _stage(asked: Asked) -> Iterator[Said]:
    index = asked.index
    parts: list[str] = []
    used: list[Pair] = []
    for item in ("st.t", "st.n", "st.m"):
        if key := asked.key(item, index):
            parts.append(f"{'c' if not parts else ''}{key.removeprefix('st.').upper()}")
            used.extend(asked.used(item, row=index))
    if not parts:
        return
    group = asked.key("st.group")
    aside = f", {_words(asked, 'st.group', group)}" if group else ""
    text = f"{' '.join(parts)} (AJCC, 8th edition){aside}"
    everything = (*used, *asked.used("st.group"))
    # its "c" stays small
    yield Said(text=f"{text}{_mark(asked, everything)}.", used=everything)


def _fat(asked: Asked) -> Iterator[Said]:
    fat = asked.key("arc.fat")
    if fat == "v.present":
        text = "macroscopic fat, which argues against leiomyosarcoma and favours a liposarcoma"
        yield _sentence(asked, text, asked.used("arc.fat"))
    elif fat == "v.absent" and any(
        key_in(asked.template.item("dd"), s.structure) == "dd.ddlps"
        for s in asked.report.subjects_of(Scope.CANDIDATE)
        if s.structure
    ):
        text = "no macroscopic fat, which does not favour dedifferentiated liposarcoma and does not exclude it"
        yield _sentence(asked, text, asked.used("arc.fat"))


_SENTENCES: tuple[Callable[[Asked], Iterable[Said]], ...] = (
    _response, _recurrence, _tumour, _vein, _renal_veins, _organs, _spread, _stage, _fat,
)  # fmt: skip
