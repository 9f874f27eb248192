"""Which studies get a report, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.errors import ConfigurationError
from service.flow import triage
from service.flow.triage import Question, decide, load
from service.model.study import Patient
from tests import builders as b

RULES = load()


def ask(*series, always=(), known=False, **changes):
    study = b.study(*(series or (b.series(2),)), **{"description": "", **changes})
    return decide(RULES, Question(study=study, always=always, known_case=known))


@pytest.mark.parametrize(
    "text",
    [
        "leiomyosarcoma", "V.a. Leiomyosarkom der V. cava", "Léiomyosarcome rétropéritonéal", "LEIOMIOSARCOMA", "DD Sarkom",
        "soft tissue sarcoma?", "sarcoma", "лейомиосаркома", "後腹膜平滑筋肉腫の疑い", "腹膜后肿块",
        "retroperitoneal mass", "Retroperitoneale Raumforderung re.", "masse rétropéritonéale",
        "IVC tumor thrombus", "tumeur de la veine cave, VCI", "masa retroperitoneal", "massa retroperitoneale", "caval mass",
    ],
)  # fmt: skip
def test_a_text_that_names_it_gets_a_report(text):
    decision = ask(b.series(2, ReasonForTheRequestedProcedure=text))
    assert decision.report
    assert decision.values[0][0] == "ReasonForTheRequestedProcedure"


@pytest.mark.parametrize(
    "text",
    ["", "CT abdomen", "kidney stone", "hepatic mass", "IVC filter", "retroperitoneal lymph nodes", "sarcoidosis"],
)
def test_a_text_that_does_not_is_ignored_with_its_reason(text):
    decision = ask(b.series(2, StudyDescription=text))
    assert not decision.report
    assert decision.rule == "no rule"
    assert "no rule applied" in decision.reason


def test_the_values_are_the_rules_phrases_and_never_the_headers_text():
    decision = ask(b.series(2, ReasonForTheRequestedProcedure="Herr Geheim, V.a. Leiomyosarkom"))
    assert decision.values == (("ReasonForTheRequestedProcedure", "leiomyosark*"),)
    assert "Geheim" not in repr(decision)


@pytest.mark.parametrize("name", ["TEST^Patient", "Phantom^CT", "QA^Daily", "ACR Phantom", "Dummy"])
def test_test_patients_never_start_a_report(name):
    decision = ask(
        b.series(2, StudyDescription="sarcoma"), patient=Patient(patient_id="1", name=name), always=("A",), known=True
    )
    assert not decision.report
    assert decision.rule == "test and phantom patients"


@pytest.mark.parametrize("name", ["Testa^Maria", "Qadir^Ali", "Phantomas^X", "Contest^Anna"])
def test_people_whose_names_only_look_alike_are_not_excluded(name):
    assert ask(b.series(2, StudyDescription="sarcoma"), patient=Patient(patient_id="1", name=name)).report


def test_a_title_of_always_gets_a_report_without_words():
    decision = ask(called_aes=("LMS_ALL",), always=("LMS_ALL",))
    assert decision.report
    assert decision.values == (("called AE title", "LMS_ALL"),)


def test_a_known_case_gets_a_report():
    assert ask(known=True).rule == "known case"


def test_studies_without_cross_sectional_images_are_ignored():
    decision = ask(b.series(2, modality="MG", StudyDescription="sarcoma"), known=True)
    assert decision.rule == "no cross-sectional images"


def test_reports_and_dose_reports_alone_never_start_a_report():
    sr = b.series(2, modality="SR", images=1)
    assert ask(sr, always=("A",), called_aes=("A",)).rule == "reports only"
    dose = replace(sr, instances=(b.instance(2, 1, "1.2.840.10008.5.1.4.1.1.88.67"),))
    assert ask(dose, known=True).rule == "dose reports only"


def test_negation_is_not_understood_on_purpose():
    assert ask(b.series(2, StudyDescription="no sign of sarcoma")).report


GOOD = '[[rule]]\nname = "a"\nthen = "report"\nreason = "r"\nfields = ["study"]\nwords = ["x"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("words", "wrods"), "did you mean 'words'"),
        (GOOD.replace('"report"', '"maybe"'), "'then' has to be"),
        (GOOD.replace('["study"]', '["studdy"]'), "field 'studdy' is not known"),
        (GOOD.replace('words = ["x"]\n', ""), "belong together"),
        (GOOD.replace('words = ["x"]', "words = [1]"), "list of texts"),
        (GOOD.replace('name = "a"\n', ""), "'name' has to be a text"),
        ('[[rule]]\nname = "a"\nthen = "report"\nreason = "r"\n', "no condition"),
        ("rules = 1", "'rules' is not known"),
        ("[[rule", "no TOML"),
        (GOOD + 'only = "images"\n', "'only' has to be one of"),
        (GOOD + 'known_case = "yes"\n', "true or false"),
        (GOOD + 'words_near = "x"\n', "list of lists"),
    ],
)
def test_a_wrong_rule_is_named(tmp_path, text, said):
    file = tmp_path / "triage.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said.replace("[", r"\[")) as caught:
        load(str(file))
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(str(tmp_path / "none.toml"))


def test_a_sites_own_rule_decides_first(tmp_path):
    file = tmp_path / "triage.toml"
    file.write_text(GOOD + triage.shipped())
    assert decide(load(str(file)), Question(study=b.study(b.series(2), description="X"))).rule == "a"
