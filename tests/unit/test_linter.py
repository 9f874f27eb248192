"""Every fault that a template can have is told at its file and line with the way out, and none is raised.

A small template of the test's own is sound; each test plants one fault and expects that one and no other.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from service.errors import TemplateError
from service.flow.registered import registered
from service.model.code import Code
from sr_templates import load_codes, load_template, template_names
from sr_templates.codes import CodeRow, CodeTable
from sr_templates.language import loader
from sr_templates.language.linter import Registered, lint
from tests.helpers import ROOT

NAMES = Registered(
    prefill=frozenset({"measured", "indication", "tracking_uid"}),
    derive=frozenset({"necrosis_pct", "fat_pct"}),
    check=frozenset({"axis_shortfall"}),
    reads={"necrosis_pct": frozenset({"sz.volume"})},
)

SAMPLE = """\
template: sample
version: "1"
label: Sample
title: tid.title.oncology
sections:
  - clinical
  - tumour
  - vessels
"""
OTHER = """\
template: other
version: "1"
label: Other
title: tid.title.oncology
sections: [clinical, tumour]
without: [arc.fat, arc.fat_pct]
"""
CLINICAL = """\
section: clinical
heading: hd.clin_info
items:
  - key: hd.indications
    label: "Indication"
    type: text
    need: essential
    prefill: [indication]
    help: "As the request words it."
  - key: ctx.dx_status
    label: "Diagnosis"
    type: code
    need: essential
    values: [ctx.dx_status.suspected, ctx.dx_status.biopsy, ctx.dx_status.resected]
  - key: ctx.dx_date
    label: "Date of diagnosis"
    type: date
    need: conditional
    when: "ctx.dx_status in [ctx.dx_status.biopsy, ctx.dx_status.resected]"
  - key: hd.presentation
    label: "Presenting symptom"
    type: codes
    need: optional
    values: [sym.abd_pain, sym.flank_pain]
"""
TUMOUR = """\
section: tumour
heading: sec.tumour
items:
  - key: tid.tracking_uid
    label: "Tracking UID"
    type: uid
    scope: lesion
    need: essential
    fill: automatic
    prefill: [tracking_uid]
  - key: sz.long_axis
    label: "Long axis"
    type: number
    scope: lesion
    need: essential
    unit: u.mm
    range: [1, 500]
    each: true
    modality: [CT, MR]
    prompt: "Size"
    prefill: [measured]
  - key: sz.volume
    label: "Volume"
    type: number
    scope: lesion
    need: optional
    unit: u.cm3
    range: [0.01, 20000]
    decimals: 2
    prompt: "Size"
  - key: arc.fat
    label: "Fat"
    type: code
    scope: lesion
    need: essential
    values: [v.present, v.absent]
    modality: [CT, MR]
  - key: arc.fat_pct
    label: "Part of fat"
    type: number
    scope: lesion
    need: conditional
    unit: u.percent
    range: [0, 100]
    modality: [CT, MR]
    when: "arc.fat = v.present"
  - key: arc.necrosis_pct
    label: "Part of necrosis"
    type: number
    scope: lesion
    need: optional
    fill: derived
    unit: u.percent
    range: [0, 100]
    derive: necrosis_pct
rules:
  - rule: SZ-small
    scope: lesion
    when: "sz.long_axis < 10"
    require: "evaluated(sz.volume)"
    message: "A small lesion needs its volume: measure it, or say why not."
  - rule: SZ-axis
    scope: lesion
    check: axis_shortfall
    warning: true
    message: "No extent reaches the long axis: measure again."
"""
VESSELS = """\
section: vessels
heading: sec.vessels
matrices:
  - scope: vessel
    prompt: "Vessel relations"
    item: ves.involved
    rows:
      - ves.ivc
      - ves.renal_v/right
      - {row: ves.portal_v, when: "ctx.dx_status = ctx.dx_status.biopsy"}
items:
  - key: ves.involved
    label: "Vessel"
    type: code
    scope: vessel
    need: essential
    fill: row
    values: [ves.ivc, ves.renal_v, ves.portal_v, ves.smv]
    prompt: "Vessel relations"
  - key: ves.relation
    label: "Relation"
    type: codes
    scope: vessel
    need: essential
    values: [vr.none, vr.abut, vr.encase]
    prompt: "Vessel relations"
  - key: ves.contact_angle
    label: "Contact angle"
    type: number
    scope: vessel
    need: conditional
    unit: u.deg
    range: [0, 360]
    decimals: 0
    rows: [ves.ivc]
    when: "ves.relation = vr.abut"
    prompt: "Vessel relations"
rules:
  - rule: VES-abut
    scope: vessel
    when: "ves.relation = vr.abut"
    require: "ves.contact_angle > 0 and ves.contact_angle <= 180"
    message: "Abutment is contact of up to 180 degrees: correct the angle, or the relation."
"""
RETIRED = """\
sample:
  - key: cert
    label: "Certainty"
    type: code
    need: essential
    values: [cert.probably, cert.possibly]
"""
FILES = {
    "leiomyosarcoma/sample.yaml": SAMPLE,
    "leiomyosarcoma/other.yaml": OTHER,
    "sections/clinical.yaml": CLINICAL,
    "sections/tumour.yaml": TUMOUR,
    "sections/vessels.yaml": VESSELS,
    "retired.yaml": RETIRED,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def line_of(file: Path, text: str) -> int:
    """Return the line in which ``text`` begins."""
    whole = file.read_text(encoding="utf-8")
    assert whole.count(text) == 1, f"'{text}' stands {whole.count(text)} times"
    return whole[: whole.index(text)].count("\n") + 1


@dataclass(frozen=True)
class Plant:
    """One edit, and the one fault that comes of it: at the line of ``at``, with the words of ``said``."""

    file: str
    old: str
    new: str
    at: str
    said: str
    template: str = "sample"
    #: faults that follow from the first
    more: int = 0


CLIN, TUM, VES, TOP = (
    "sections/clinical.yaml",
    "sections/tumour.yaml",
    "sections/vessels.yaml",
    "leiomyosarcoma/sample.yaml",
)

WAITING = """\
    need: conditional
    when: "answered(hd.presentation)"
  - key: hd.presentation
    label: "Presenting symptom"
    type: codes
    need: conditional
    values: [sym.abd_pain, sym.flank_pain]
    when: "answered(ctx.dx_date)"
"""
FORM = {
    "key that does not exist": Plant(CLIN, "    type: text", "    tpye: text\n    type: text", "tpye", "did you mean 'type'?"),
    "type that does not exist": Plant(CLIN, "type: text", "type: txet", "type: txet", "did you mean 'text'?"),
    "need that does not exist": Plant(CLIN, "need: optional", "need: urgent", "need: urgent", "'urgent' is no need"),
    "scope that does not exist": Plant(TUM, "type: uid\n    scope: lesion", "type: uid\n    scope: tumour", "scope: tumour", "no scope"),
    "fill that does not exist": Plant(TUM, "fill: derived", "fill: drived", "fill: drived", "did you mean 'derived'?"),
    "code that does not exist": Plant(CLIN, "sym.flank_pain]", "sym.flankpain]", "sym.flankpain", "did you mean 'sym.flank_pain'?"),
    "private code without its row": Plant(CLIN, "sym.flank_pain]", "99LMSSR.SIDE]", "99LMSSR.SIDE", "not in sr_templates/codes.csv"),
    "code that is not verified": Plant(CLIN, "sym.flank_pain]", "gr.r1]", "gr.r1]", "is not verified"),
    "concept that does not exist": Plant(CLIN, "key: hd.presentation", "key: hd.presents", "key: hd.presents", "not in sr_templates"),
    "heading that does not exist": Plant(CLIN, "hd.clin_info", "hd.clinic", "heading: hd.clinic", "not in sr_templates/codes.csv"),
    "title that does not exist": Plant(TOP, "tid.title.oncology", "tid.title.onco", "tid.title.onco", "not in sr_templates"),
    "unit that does not exist": Plant(TUM, "unit: u.mm", "unit: u.inch", "unit: u.inch", "'u.inch' is not in sr_templates"),
    "value twice": Plant(CLIN, "sym.flank_pain]", "sym.abd_pain]", "sym.abd_pain, sym", "'sym.abd_pain' stands twice"),
    "not evaluated twice": Plant(TUM, "[v.present, v.absent]", "[v.absent, v.not_evaluated, v.not_evaluated]", "v.not_evaluated, v", "stands twice"),
    "key twice in one mapping": Plant(CLIN, "    need: optional\n", "    need: optional\n    need: essential\n", "    need: essential\n    values: [sym", "stands twice in one mapping"),
    "range upside down": Plant(TUM, "[1, 500]", "[500, 1]", "[500, 1]", "the lower first"),
    "range without width": Plant(TUM, "[1, 500]", "[500, 500]", "[500, 500]", "the lower first"),
    "range that never ends": Plant(TUM, "[1, 500]", "[1, .inf]", "[1, .inf]", "two numbers"),
    "range of words": Plant(TUM, "[1, 500]", "[low, high]", "[low, high]", "two numbers"),
    "decimals that are no number": Plant(VES, "decimals: 0", "decimals: few", "decimals: few", "whole number, 0 to 6"),
    "more decimals than a number has": Plant(VES, "decimals: 0", "decimals: 40", "decimals: 40", "whole number, 0 to 6"),
    "flag that is no truth": Plant(TUM, "each: true", "each: maybe", "each: maybe", "true or false"),
    "list where one word belongs": Plant(CLIN, "type: text", "type: [text]", "type: [text]", "has to be a text"),
    "mapping where a list belongs": Plant(CLIN, "prefill: [indication]", "prefill: {indication: 1}", "prefill: {", "list of texts"),
    "items that are no list": Plant(CLIN, CLINICAL[CLINICAL.index("items:") :], "items: nothing\n", "items: nothing", "list of mappings"),
    "label that is missing": Plant(CLIN, '    label: "Diagnosis"\n', "", "key: ctx.dx_status", "'label' is missing"),
    "label that is empty": Plant(CLIN, '"Diagnosis"', '" "', 'label: " "', "'label' is empty"),
    "section without items": Plant(CLIN, CLINICAL[CLINICAL.index("items:") :], "", "section: clinical", "'items' is missing"),
    "section of another name": Plant(CLIN, "section: clinical", "section: clinic", "section: clinic", "in a file called 'clinical'"),
    "section that is missing": Plant(TOP, "  - vessels", "  - vesels", "  - vesels", "did you mean 'vessels'?"),
    "section listed twice": Plant(TOP, "  - vessels", "  - vessels\n  - 'clinical'", "'clinical'", "'clinical' stands twice"),
    "section that climbs out": Plant(TOP, "  - vessels", "  - ../../vessels", "../../vessels", "is no name of a section"),
    "template without version": Plant(TOP, 'version: "1"\n', "", "template: sample", "'version' is missing"),
    "template without sections": Plant(TOP, SAMPLE[SAMPLE.index("sections:") :], "", "template: sample", "'sections' is missing"),
    "template of another name": Plant(TOP, "template: sample", "template: simple", "template: simple", "in a file called 'sample'"),
    "item left out that is not there": Plant("leiomyosarcoma/other.yaml", "[arc.fat, arc.fat_pct]", "[arc.fat, arc.fat_pct, arc.fatt]", "without:", "did you mean 'arc.fat'?", template="other"),
    "condition that is none": Plant(CLIN, "ctx.dx_status in [ctx", "ctx.dx_status is [ctx", 'when: "ctx', "is no condition"),
    "condition without an end": Plant(TUM, '"arc.fat = v.present"', '"arc.fat ="', 'when: "arc.fat', "ends too early"),
    "side that is none": Plant(VES, "ves.renal_v/right", "ves.renal_v/rigth", "/rigth", "'rigth' is no side"),
    "row that is no code": Plant(VES, "- ves.ivc\n", "- ves.icv\n", "- ves.icv", "did you mean 'ves.ivc'?"),
    "key of a row that does not exist": Plant(VES, 'when: "ctx', 'wenn: "ctx', "{row:", "did you mean 'when'?"),
    "rule without a message": Plant(VES, '    message: "Abutment is contact of up to 180 degrees: correct the angle, or the relation."\n', "", "rule: VES-abut", "'message' is missing"),
    "retired list of no template": Plant("retired.yaml", "sample:", "simple:", "simple:", "did you mean 'sample'?"),
    "tab": Plant(CLIN, "    type: text", "\ttype: text", "\ttype", "indent with spaces"),
    "bracket that stays open": Plant(CLIN, "prefill: [indication]", "prefill: [indication", "    help:", "no YAML"),
    "anchor": Plant(CLIN, "type: text", "type: &a text", "type: &a", "anchors"),
    "alias": Plant(CLIN, 'label: "Indication"', "label: *a", "label: *a", "anchors"),
    "tag of a program": Plant(CLIN, "type: text", "type: !!python/name:os.system text", "!!python", "no YAML"),
    "nested without end": Plant(CLIN, "prefill: [indication]", "prefill: " + "[" * 500 + "]" * 500, "prefill: [", "nested deeper"),
    "number of too many digits": Plant(VES, "decimals: 0", f"decimals: {'9' * 5000}", "decimals:", "this is no number"),
    "character that no file has": Plant(CLIN, '"Indication"', '"Indication\x07"', "Indication\x07", "U+0007"),
    "list at the top": Plant(CLIN, CLINICAL, "- clinical\n", "- clinical", "a mapping is expected"),
}  # fmt: skip

MEANING = {
    "number without unit": Plant(TUM, "    unit: u.mm\n", "", "key: sz.long_axis", "needs a unit"),
    "unit that is not UCUM": Plant(TUM, "unit: u.mm", "unit: v.present", "unit: v.present", "is not a UCUM unit"),
    "length unit of a volume": Plant(TUM, "unit: u.cm3", "unit: u.mm", "unit: u.mm\n    range: [0.01", "use mm3 or cm3 or ml"),
    "volume unit of a length": Plant(TUM, "unit: u.mm", "unit: u.cm3", "unit: u.cm3\n    range: [1,", "use mm or cm"),
    "percent of an angle": Plant(VES, "unit: u.deg", "unit: u.percent", "unit: u.percent", "use deg"),
    "unit of a text": Plant(CLIN, "type: text", "type: text\n    unit: u.mm", "unit: u.mm", "only a number has a unit"),
    "range of a text": Plant(CLIN, "type: text", "type: text\n    range: [1, 2]", "range: [1, 2]", "only a number has a range"),
    "range finer than the decimals": Plant(TUM, "    decimals: 2\n", "", "range: [0.01", "more digits than 'decimals: 1'"),
    "count with decimals": Plant(TUM, "  - key: sz.volume", '  - {key: tum.n_lesions, label: "Number", type: number, need: optional, unit: u.count, range: [1, 99]}\n  - key: sz.volume', "tum.n_lesions", "write 'decimals: 0'"),
    "coded item without values": Plant(CLIN, "    values: [sym.abd_pain, sym.flank_pain]\n", "", "key: hd.presentation", "needs values"),
    "values of a text": Plant(CLIN, "type: text", "type: text\n    values: [v.present]", "values: [v.present]", "takes no values"),
    "one code under two keys": Plant(CLIN, "sym.flank_pain]", "role.recording, tid.device_role.recording]", ", tid.device", "stands twice, as 'role.recording'"),
    "values that read alike": Plant(VES, "values: [vr.none, vr.abut", "values: [v.absent, ck.absent, vr.none, vr.abut", "ck.absent", "both read"),
    "modality that does not exist": Plant(TUM, "each: true\n    modality: [CT, MR]", "each: true\n    modality: [CT, MRT]", "MRT", "'MRT' is no modality"),
    "label that does not fit": Plant(CLIN, '"Diagnosis"', f'"{"D" * 65}"', 'label: "DDD', "65 characters"),
    "help of two lines": Plant(CLIN, '"As the request words it."', '"As the request\\nwords it."', "help:", "one line"),
    "help that is a chapter": Plant(CLIN, "As the request words it.", "a" * 201, "help:", "at most 200"),
    "prefill that nobody wrote": Plant(TUM, "[measured]", "[mesured]", "[mesured]", "did you mean 'measured'?"),
    "derivation that nobody wrote": Plant(TUM, "derive: necrosis_pct", "derive: necrosis", "derive: necrosis", "derive 'necrosis' is not known"),
    "check that nobody wrote": Plant(TUM, "check: axis_shortfall", "check: axis", "check: axis", "check 'axis' is not known"),
    "conditional without when": Plant(TUM, '    when: "arc.fat = v.present"\n', "", "need: conditional", "needs 'when'"),
    "automatic without a source": Plant(TUM, "    prefill: [tracking_uid]\n", "", "fill: automatic", "neither 'prefill' nor 'derive'"),
    "derived without derive": Plant(TUM, "    derive: necrosis_pct\n", "", "fill: derived", "needs 'derive'"),
    "derived and prefilled": Plant(TUM, "    derive: necrosis_pct\n", "    derive: necrosis_pct\n    prefill: [measured]\n", "prefill: [measured]\nrules", "from other answers alone"),
    "answer that cannot be Not Evaluated": Plant(TUM, "    fill: automatic\n", "", "type: uid", "could not answer Not Evaluated"),
    "each about a vessel": Plant(VES, "    rows: [ves.ivc]\n", "    rows: [ves.ivc]\n    each: true\n", "each: true", "'each' is about lesions"),
    "derivations in a ring": Plant(TUM, "    unit: u.cm3", "    derive: necrosis_pct\n    unit: u.cm3", "derive: necrosis_pct\n    unit", "derived from itself"),
    "signed about a lesion": Plant(TUM, "    fill: automatic\n", "    fill: signing\n", "scope: lesion\n    need: essential\n    fill: signing", "signs the report as a whole"),
}  # fmt: skip

TOGETHER = {
    "item key twice": Plant(CLIN, "  - key: hd.presentation", '  - {key: hd.indications, label: "Again", type: text, need: optional}\n  - key: hd.presentation', '"Again"', "stands twice in template 'sample'"),
    "concept twice in one scope": Plant(CLIN, "  - key: hd.presentation", '  - {key: "hd.indications#again", label: "Again", type: text, need: optional}\n  - key: hd.presentation', '"Again"', "'hd.indications' has the same concept"),
    "heading twice": Plant(VES, "heading: sec.vessels", "heading: sec.tumour", "section: vessels", "'tumour' has the same heading"),
    "prompt of two sections": Plant(TUM, 'label: "Fat"\n', 'label: "Fat"\n    prompt: "Diagnosis"\n', 'prompt: "Diagnosis"', "one of section 'clinical'"),
    "retired and alive": Plant("retired.yaml", "key: cert\n", "key: hd.indications\n", "key: hd.indications", "still asks for it"),
    "row item without matrix": Plant(VES, VESSELS[VESSELS.index("matrices") : VESSELS.index("items:")], "", "fill: row", "no matrix names it", more=3),
    "matrix of an item that is missing": Plant(VES, "    item: ves.involved", "    item: ves.involvd", "item: ves.involvd", "did you mean 'ves.involved'?", more=1),
    "matrix of an item that is asked": Plant(VES, "    fill: row\n", "", "    item: ves.involved", "has to have 'fill: row'"),
    "matrix of lesions": Plant(VES, "  - scope: vessel", "  - scope: lesion", "  - scope: lesion", "is no structure", more=4),
    "two matrices of vessels": Plant(VES, "items:\n", '  - {scope: vessel, prompt: "Others", item: ves.involved, rows: [ves.smv]}\nitems:\n', '"Others"', "lists vessels already"),
    "matrix without rows": Plant(VES, VESSELS[VESSELS.index("    rows:\n") : VESSELS.index("items:")], "", "  - scope: vessel\n    prompt", "it has no rows", more=1),
    "row twice": Plant(VES, "      - ves.ivc\n", "      - ves.ivc\n      - 'ves.ivc'\n", "- 'ves.ivc'", "the row 'ves.ivc' stands twice"),
    "row that is no value": Plant(VES, "      - ves.ivc\n", "      - ves.ivc\n      - ves.imv\n", "- ves.imv", "is no value of 'ves.involved'"),
    "rows that the matrix lacks": Plant(VES, "rows: [ves.ivc]", "rows: [ves.smv]", "rows: [ves.smv]", "is no row of a matrix"),
    "rows of a report": Plant(CLIN, "type: text", "type: text\n    rows: [ves.ivc]", "rows: [ves.ivc]", "is no row of a matrix"),
    "rule twice": Plant(TUM, "rule: SZ-axis", "rule: SZ-small", "rule: SZ-small\n    scope: lesion\n    check", "stands twice"),
    "rule that asks nothing": Plant(TUM, "    check: axis_shortfall\n", "", "rule: SZ-axis", "needs 'require'"),
    "rule that asks both ways": Plant(TUM, "    check: axis_shortfall\n", '    check: axis_shortfall\n    require: "answered(sz.volume)"\n', "check: axis_shortfall", "keep one"),
    "message that is a chapter": Plant(TUM, "measure again.", "a" * 300, 'message: "No', "333 characters"),
}  # fmt: skip

CONDITIONS = {
    "item that is not there": Plant(TUM, '"arc.fat = v.present"', '"arc.fatt = v.present"', 'when: "arc.fatt', "did you mean 'arc.fat'?"),
    "value that the item does not have": Plant(TUM, '"arc.fat = v.present"', '"arc.fat = v.mild"', 'when: "arc.fat', "'v.mild' is no value of 'arc.fat'"),
    "value that is no code": Plant(TUM, '"arc.fat = v.present"', '"arc.fat = v.presnt"', 'when: "arc.fat', "did you mean 'v.present'?"),
    "value of a number": Plant(TUM, '"arc.fat = v.present"', '"sz.volume = v.present"', 'when: "sz.volume', "which is a number"),
    "comparison of a code": Plant(TUM, '"arc.fat = v.present"', '"arc.fat > 3"', 'when: "arc.fat', "which is no number"),
    "threshold that is no setting": Plant(TUM, '"arc.fat = v.present"', '"sz.volume > threshold.fat"', 'when: "sz.volume', "is no setting of [clinical]"),
    "row that no matrix has": Plant(TUM, '"arc.fat = v.present"', '"ves.relation[ves.icv] = vr.abut"', 'when: "ves', "did you mean 'ves.ivc'?"),
    "condition on itself": Plant(TUM, '"arc.fat = v.present"', '"answered(arc.fat_pct)"', 'when: "answered', "asks for itself"),
    "row of a row item": Plant(TUM, '"arc.fat = v.present"', '"ves.involved[ves.ivc] = ves.ivc"', 'when: "ves', "is no answer"),
    "structure that no vessel is": Plant(TUM, '"arc.fat = v.present"', '"ves.involved = org.liver"', 'when: "ves', "is no value of 'ves.involved'"),
    "condition on a row item": Plant(TUM, '"arc.fat = v.present"', '"answered(ves.involved)"', 'when: "answered', "is no answer"),
    "modality in a condition": Plant(TUM, '"arc.fat = v.present"', '"modality = MRT"', 'when: "modality', "'MRT' is no value of 'modality'"),
    "template in a condition": Plant(TUM, '"arc.fat = v.present"', '"template = sampel"', 'when: "template', "did you mean 'sample'?"),
    "template other than this": Plant(TUM, '"arc.fat = v.present"', '"template = other"', 'when: "template', "can never hold"),
    "sex in a condition": Plant(TUM, '"arc.fat = v.present"', '"patient.sex = W"', 'when: "patient', "'W' is no value of 'patient.sex'"),
    "age as a word": Plant(TUM, '"arc.fat = v.present"', '"patient.age = old"', 'when: "patient', "number of years"),
    "two values at once": Plant(TUM, '"arc.fat = v.present"', '"arc.fat = v.present and arc.fat = v.absent"', 'when: "arc.fat', "contradict each other"),
    "yes and no at once": Plant(TUM, '"arc.fat = v.present"', '"arc.fat = v.present and not arc.fat = v.present"', 'when: "arc.fat', "contradict each other"),
    "number in no interval": Plant(TUM, '"arc.fat = v.present"', '"sz.volume > 5 and sz.volume < 4"', 'when: "sz.volume', "contradict each other"),
    "number out of range": Plant(TUM, '"arc.fat = v.present"', '"sz.long_axis > 500"', 'when: "sz.long_axis > 5', "contradict each other"),
    "age that nobody reaches": Plant(TUM, '"arc.fat = v.present"', '"patient.age > 200"', 'when: "patient', "contradict each other"),
    "evaluated but not answered": Plant(TUM, '"arc.fat = v.present"', '"evaluated(arc.fat) and not answered(arc.fat)"', 'when: "ev', "contradict each other"),
    "modality that is not asked": Plant(TUM, "values: [v.present, v.absent]\n    modality: [CT, MR]", "values: [v.present, v.absent]\n    modality: [MR]", "modality: [CT, MR]\n    when", "under CT its condition can never hold (arc.fat is not asked there)"),
    "two items that wait for each other": Plant(CLIN, CLINICAL[CLINICAL.index("    need: conditional") :], WAITING, 'when: "answered(hd.pre', "each waits for the other", more=1),
    "row whose condition contradicts itself": Plant(VES, "ctx.dx_status = ctx.dx_status.biopsy", "answered(ctx.dx_status) and not answered(ctx.dx_status)", "- {row: ves.portal_v", "row 'ves.portal_v': its condition can never hold"),
    "row whose condition asks for nothing": Plant(VES, "ctx.dx_status = ctx.dx_status.biopsy", "ctx.nothing = v.present", "- {row: ves.portal_v", "does not have"),
    "rule that never applies": Plant(TUM, '"sz.long_axis < 10"', '"sz.long_axis < 1"', 'when: "sz', "'when' can never hold"),
    "rule that cannot be kept": Plant(VES, "ves.contact_angle <= 180", "ves.contact_angle < 0", "require:", "what it requires can never hold"),
    "rule against itself": Plant(TUM, '"evaluated(sz.volume)"', '"sz.long_axis >= 10"', "require:", "can never be kept"),
    "rule on nothing": Plant(TUM, '"evaluated(sz.volume)"', '"evaluated(sz.weight)"', "require:", "does not have"),
}  # fmt: skip
PLANTS = {k: p for kind in (FORM, MEANING, TOGETHER, CONDITIONS) for k, p in kind.items()}


def plant(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text, f"'{old}' is not in {file}"
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_sample_is_sound(folder: Path) -> None:
    assert lint("sample", names=NAMES, folder=folder) == ()
    assert lint("other", names=NAMES, folder=folder) == ()
    assert load_template("sample", folder).item("ves.relation") is not None


@pytest.mark.parametrize("fault", PLANTS)
def test_the_linter_finds(folder: Path, fault: str) -> None:
    it = PLANTS[fault]
    plant(folder, it.file, it.old, it.new)
    faults = lint(it.template, names=NAMES, folder=folder)
    place = f"{it.file}:{line_of(folder / it.file, it.at)}:"
    assert any(f.startswith(place) and it.said in f for f in faults), "\n".join((place, *faults))
    assert len(faults) == 1 + it.more, "\n".join(faults)


def test_an_item_that_needs_one_left_out_is_told_where_it_asks(folder: Path) -> None:
    plant(folder, "leiomyosarcoma/other.yaml", "[arc.fat, arc.fat_pct]", "[arc.fat]")
    (fault,) = lint("other", names=NAMES, folder=folder)
    line = line_of(folder / TUM, 'when: "arc.fat')
    assert fault.startswith(f"{TUM}:{line}:5: item 'arc.fat_pct': ")
    assert "can never hold in template 'other': 'arc.fat' is left out ('without')" in fault
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_an_item_that_needs_a_section_that_is_not_listed_says_which(folder: Path) -> None:
    plant(folder, TUM, '"arc.fat = v.present"', '"ves.relation = vr.abut"')
    plant(folder, "leiomyosarcoma/other.yaml", "[arc.fat, arc.fat_pct]", "[]")
    assert lint("sample", names=NAMES, folder=folder) == ()
    (fault,) = lint("other", names=NAMES, folder=folder)
    assert "'ves.relation' is in section 'vessels', which this template does not list" in fault


def test_an_alternative_keeps_an_item_within_reach(folder: Path) -> None:
    plant(folder, TUM, '"arc.fat = v.present"', '"ves.relation = vr.abut or ctx.dx_status = ctx.dx_status.biopsy"')
    plant(folder, "leiomyosarcoma/other.yaml", ", arc.fat_pct]", "]")
    assert lint("other", names=NAMES, folder=folder) == ()


def test_a_rule_about_what_the_template_leaves_out_says_nothing(folder: Path) -> None:
    plant(folder, TUM, '"sz.long_axis < 10"', '"arc.fat = v.present"')
    assert lint("sample", names=NAMES, folder=folder) == ()
    assert lint("other", names=NAMES, folder=folder) == ()


def test_a_rule_that_requires_what_is_left_out_is_told(folder: Path) -> None:
    plant(folder, TUM, '"evaluated(sz.volume)"', '"answered(arc.fat)"')
    (fault,) = lint("other", names=NAMES, folder=folder)
    assert "rule 'SZ-small': what it requires can never hold in template 'other'" in fault


def test_items_of_several_lesions_may_say_different_things(folder: Path) -> None:
    # a question about a vessel may ask for one lesion with fat and one without
    plant(
        folder, VES, '"ves.relation = vr.abut"\n    prompt', '"arc.fat = v.present and arc.fat = v.absent"\n    prompt'
    )
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_several_values_of_one_item_go_together(folder: Path) -> None:
    plant(folder, TUM, '"arc.fat = v.present"', '"hd.presentation = sym.abd_pain and hd.presentation = sym.flank_pain"')
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_pet_studies_have_ct_or_mr_images_too(folder: Path) -> None:
    plant(folder, TUM, "modality: [CT, MR]\n    when", "modality: [CT, MR, PT]\n    when")
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_one_concept_may_ask_two_things_that_values_tell_apart(folder: Path) -> None:
    plant(
        folder,
        CLIN,
        "  - key: hd.presentation",
        '  - {key: "ctx.dx_status#how", label: "How", type: code, need: essential, fill: automatic, prefill: [measured], '
        "values: [szb.seg, szb.manual]}\n  - key: hd.presentation",
    )
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_all_faults_are_told_at_once_in_the_order_of_files_and_lines(folder: Path) -> None:
    kinds = ("type that does not exist", "label that does not fit", "unit that is not UCUM", "rule twice", "row twice")
    planted = [PLANTS[k] for k in kinds]
    for it in planted:
        plant(folder, it.file, it.old, it.new)
    faults = lint("sample", names=NAMES, folder=folder)
    assert len(faults) == len(planted)
    assert [f.split(":")[0] for f in faults] == sorted(f.split(":")[0] for f in faults)
    for it in planted:
        assert any(it.said in f for f in faults), it


def test_a_section_that_is_no_yaml_does_not_hide_the_faults_of_another(folder: Path) -> None:
    plant(folder, CLIN, "section: clinical", "section: [")
    plant(folder, TUM, "unit: u.mm", "unit: v.present")
    assert [f.split(":")[0] for f in lint("sample", names=NAMES, folder=folder)] == [CLIN, TUM]


def test_a_file_that_is_not_utf_8_says_where(folder: Path) -> None:
    file = folder / CLIN
    file.write_bytes(file.read_bytes().replace(b'"Diagnosis"', '"Diagnosé"'.encode("latin-1")))
    line = CLINICAL[: CLINICAL.index("Diagnosis")].count("\n") + 1
    (fault,) = lint("sample", names=NAMES, folder=folder)
    assert fault == f"{CLIN}:{line}:20: the byte 0xE9 is not UTF-8: save the file as UTF-8"


def test_a_file_from_windows_is_read(folder: Path) -> None:
    file = folder / CLIN
    file.write_bytes(b"\xef\xbb\xbf" + CLINICAL.replace("\n", "\r\n").encode())
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_a_file_without_end_is_refused(folder: Path) -> None:
    with (folder / CLIN).open("a", encoding="utf-8") as file:
        file.write("#" * 1_000_001)
    assert any("longer than 1000000 characters" in f for f in lint("sample", names=NAMES, folder=folder))


def test_a_template_that_is_missing_says_which_there_are(folder: Path) -> None:
    (fault,) = lint("simple", names=NAMES, folder=folder)
    assert fault == "leiomyosarcoma/simple.yaml:1:1: there is no such file; there are: other.yaml, sample.yaml"
    assert lint("sample", names=NAMES, folder=folder / "nowhere") != ()


@pytest.mark.parametrize(("meaning", "said"), [("", "has no meaning"), ("m" * 65, "longer than 64 characters")])
def test_values_need_a_meaning_that_fits(folder: Path, monkeypatch, meaning: str, said: str) -> None:
    rows = {r.key: r for r in load_codes()}
    planted = rows["sym.flank_pain"]
    rows["sym.flank_pain"] = CodeRow(
        key=planted.key,
        code=Code(planted.code.value, planted.code.scheme, meaning),
        status=planted.status,
        verified_in=planted.verified_in,
        note=planted.note,
    )
    monkeypatch.setattr(loader, "load_codes", lambda: CodeTable(rows))
    (fault,) = lint("sample", names=NAMES, folder=folder)
    assert fault.startswith(f"{CLIN}:{line_of(folder / CLIN, 'values: [sym')}:28: item 'hd.presentation': ")
    assert said in fault


def test_derivations_that_read_each_other_are_told_once_for_each(folder: Path) -> None:
    plant(folder, TUM, "    unit: u.cm3", "    derive: fat_pct\n    unit: u.cm3")
    ring = replace(NAMES, reads={**NAMES.reads, "fat_pct": frozenset({"arc.necrosis_pct"})})
    faults = lint("sample", names=ring, folder=folder)
    assert len(faults) == 2
    assert all("derived from itself, by way of arc.necrosis_pct, sz.volume" in f for f in faults)
    assert lint("sample", names=NAMES, folder=folder) == ()


def test_a_template_with_a_fault_does_not_load(folder: Path) -> None:
    plant(folder, CLIN, "type: text", "type: txet")
    with pytest.raises(TemplateError, match="txet"):
        load_template("sample", folder)


def test_an_unknown_template_says_which_there_are() -> None:
    with pytest.raises(TemplateError, match=r"there are: .*baseline\.yaml"):
        load_template("surveilance")


@pytest.mark.parametrize("name", template_names())
def test_the_shipped_templates_are_sound(name: str) -> None:
    assert lint(name, names=registered()) == ()


@pytest.mark.parametrize("name", template_names())
def test_a_copied_folder_is_as_sound_as_the_package(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "sr_templates", tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    assert lint(name, names=registered(), folder=tmp_path / "copy") == ()


def test_there_are_many() -> None:
    assert len(PLANTS) > 100


def test_the_evidence_of_the_differential_is_linted_with_its_template(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "sr_templates", copy, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    plant(copy, "differential.yaml", "arc.fat = v.absent", "arc.fatt = v.absent")
    (fault,) = lint("baseline", names=registered(), folder=copy)
    assert fault.startswith(f"differential.yaml:{line_of(copy / 'differential.yaml', 'arc.fatt') - 1}:")
    assert "'arc.fatt' is no item of template 'baseline'" in fault
    assert lint("response", names=registered(), folder=copy) == ()
    (copy / "differential.yaml").unlink()
    assert lint("baseline", names=registered(), folder=copy) == ()
