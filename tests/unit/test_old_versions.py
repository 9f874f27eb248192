"""Reports that earlier versions of the templates made read back whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydicom import dcmread

from service.model.report_json import from_json
from service.sr.parse import parse, template_of
from sr_templates import load_template

OURS = Path(__file__).parent.parent / "data" / "ours_v1"


def test_a_report_of_the_first_version_reads_back_whole():
    ds = dcmread(OURS / "baseline_1.dcm")
    assert template_of(ds) == "baseline"
    read = parse(ds, load_template("baseline"))
    written = from_json((OURS / "baseline_1.json").read_text(encoding="utf-8"))
    assert read.template_version == "1"
    # the header has always said sex and age; the report says them since the second version
    assert replace(read, patient_sex="", patient_age=None) == written
    assert read.patient_sex == "M"
