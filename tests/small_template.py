"""A template of a few questions of every kind, so that tests of how answers are given do not depend on which questions are asked."""

from __future__ import annotations

from pathlib import Path

from sr_templates import Template, load_template

_FILES = {
    "leiomyosarcoma/baseline.yaml": """
template: baseline
version: "7"
label: Small
title: tid.title.oncology
sections: [clinical, technique, tumour, vessels, spread, differential, impression, participants]
""",
    "sections/clinical.yaml": """
section: clinical
heading: hd.indications
items:
  - key: ctx.dx_date
    label: "Date of pathological diagnosis"
    type: date
    need: optional
  - key: ctx.dx_status
    label: "Diagnosis"
    type: code
    need: essential
    values: [ctx.dx_status.suspected, ctx.dx_status.biopsy, ctx.dx_status.resected]
  - key: hd.indications
    label: "Indication"
    type: text
    need: essential
    max_length: 40
""",
    "sections/technique.yaml": """
section: technique
heading: hd.current_proc
items:
  - {key: tid.modality, label: "Modality", type: code, scope: series, need: essential, fill: automatic, values: [mod.ct, mod.mr], extensible: true, prefill: [series_modality]}
""",
    "sections/tumour.yaml": """
section: tumour
heading: sec.tumour
items:
  - {key: tid.tracking_id, label: "Identifier", type: text, scope: lesion, need: essential, fill: automatic, prefill: [tracking_identifier]}
  - {key: tid.tracking_uid, label: "Tracking UID", type: uid, scope: lesion, need: essential, fill: automatic, prefill: [tracking_uid]}
  - {key: tid.finding, label: "Finding", type: code, scope: lesion, need: essential, values: [tum.mass, tum.neoplasm], prompt: "Site", prefill: [finding]}
  - {key: tid.finding_site, label: "Site", type: code, scope: lesion, need: essential, values: [site.retroperitoneum, ves.ivc], extensible: true, prompt: "Site"}
  - {key: tid.laterality, label: "Laterality", type: code, scope: lesion, need: essential, values: [v.right, v.left], prompt: "Site"}
  - {key: gp, label: "Growth pattern", type: code, scope: lesion, need: essential, values: [gp.extra, gp.mixed, gp.intra, v.undetermined]}
  - {key: mar, label: "Margin", type: codes, scope: lesion, need: essential, values: [mar.circumscribed, mar.smooth, mar.lobulated, mar.indistinct]}
  - {key: sz.long_axis, label: "Longest axial diameter", type: number, scope: lesion, need: essential, unit: u.mm, range: [1, 500], prompt: "Size", prefill: [measured]}
  - {key: sz.short_axis, label: "Short axis", type: number, scope: lesion, need: optional, unit: u.mm, range: [1, 500], prompt: "Size", prefill: [measured]}
  - {key: sz.volume, label: "Volume", type: number, scope: lesion, need: optional, unit: u.cm3, range: [0.01, 20000], prompt: "Size"}
  - {key: ct.hu, label: "Attenuation", type: number, scope: lesion, need: optional, unit: u.hu, range: [-200, 400], decimals: 0, modality: [CT]}
  - {key: mr.restricted, label: "Restricted diffusion", type: code, scope: lesion, need: essential, values: [v.present, v.absent], modality: [MR]}
""",
    "sections/vessels.yaml": """
section: vessels
heading: sec.vessels
matrices:
  - scope: vessel
    prompt: "Vessel relations"
    item: ves.involved
    rows:
      - ves.ivc
      - ves.renal_v/right
      - ves.renal_v/left
      - {row: ves.hepatic_v, when: "gp = gp.intra"}
items:
  - {key: ves.involved, label: "Vessel", type: code, scope: vessel, need: essential, fill: row, values: [ves.ivc, ves.renal_v, ves.hepatic_v, ves.smv, ves.aorta_abd], prompt: "Vessel relations"}
  - {key: ves.relation, label: "Relation", type: codes, scope: vessel, need: essential, values: [vr.none, vr.abut, vr.encase], prompt: "Vessel relations"}
  - {key: ves.caliber, label: "Lumen", type: code, scope: vessel, need: optional, rows: [ves.ivc], values: [cal.unchanged, cal.narrowed], prompt: "Vessel relations"}
rules:
  - rule: VES1-wide
    scope: vessel
    when: "ves.relation = vr.none and ves.caliber = cal.narrowed"
    require: "ves.relation = vr.abut"
    message: "A vessel without contact is not narrowed by the tumour: give a relation, or another lumen."
""",
    "sections/spread.yaml": """
section: spread
heading: sec.spread
matrices:
  - {scope: node, prompt: "Lymph nodes", item: "tid.finding_site#node"}
items:
  - {key: ln.lymphadenopathy, label: "Enlarged nodes", type: code, need: essential, values: [v.present, v.absent], prompt: "Lymph nodes"}
  - {key: "tid.finding_site#node", label: "Station", type: code, scope: node, need: conditional, fill: row, values: [ln.aortic, ln.renal_hilar, ln.iliac], when: "ln.lymphadenopathy = v.present", prompt: "Lymph nodes"}
  - {key: "sz.short_axis#node", label: "Node short axis", type: number, scope: node, need: conditional, unit: u.mm, range: [1, 300], when: "ln.lymphadenopathy = v.present", prompt: "Lymph nodes"}
""",
    "sections/differential.yaml": """
section: differential
heading: sec.differential
matrices:
  - {scope: candidate, prompt: "Differential", item: dd}
items:
  - {key: dd, label: "Candidate", type: code, scope: candidate, need: conditional, fill: row, values: [dd.ddlps, dd.wdlps, dd.lymphoma], when: "ctx.dx_status = ctx.dx_status.suspected", prompt: "Differential"}
  - {key: cert, label: "Certainty", type: code, scope: candidate, need: conditional, values: [cert.probably, cert.possibly, cert.probably_not], when: "ctx.dx_status = ctx.dx_status.suspected", prompt: "Differential"}
""",
    "sections/impression.yaml": """
section: impression
heading: hd.impressions
items:
  - {key: hd.impression_el, label: "Impression", type: text, need: essential, max_length: 200}
  - {key: hd.addendum, label: "Addendum", type: text, need: optional, fill: signing, many: true, max_length: 200}
""",
    "sections/participants.yaml": """
section: participants
heading: sec.verification
items:
  - {key: tid.person_observer_name, label: "Radiologist", type: person, need: essential, fill: signing}
  - {key: tid.device_name, label: "Device", type: text, need: essential, fill: automatic, prefill: [device_name]}
  - {key: tid.device_uid, label: "Device UID", type: uid, need: essential, fill: automatic, prefill: [device_uid]}
  - {key: tid.procedure_reported, label: "Procedure", type: code, need: essential, fill: automatic, values: [proc.ct_report], extensible: true, prefill: [procedure]}
""",
}


def write(folder: Path) -> Path:
    """Write the files of the template below ``folder``, and return it."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip(), encoding="utf-8")
    return folder


def small(folder: Path) -> Template:
    """Return the template, from files below ``folder``."""
    return load_template("baseline", write(folder))
