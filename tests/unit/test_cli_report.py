"""``lms-sr report …`` on the shipped template: from a draft to a withdrawn report, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.demo.process import write_settings
from service.settings import Database, Node, Settings, Signing, Storage
from service.store.engine import make_engine
from tests.commands import Done, lms_sr
from tests.integration.world import STUDY, World, images

NO, WRONG = 1, 2


@dataclass(frozen=True, slots=True)
class Kept:
    """A database with a draft that was sent."""

    config: Path
    folder: Path

    def __call__(self, *words: str | Path) -> Done:
        return lms_sr("report", *words, "--config", self.config)

    def show(self) -> dict[str, object]:
        """Return what ``report show --json`` says."""
        done = self("show", STUDY, "--json")
        assert done.code == 0, done.err
        found: dict[str, object] = done.data
        return found

    def complete(self) -> Path:
        """Return a file that answers everything that is open and confirms everything that is proposed."""
        found: list[dict[str, object]] = []
        for prompt in self.show()["prompts"]:  # type: ignore[attr-defined] - JSON
            for question in prompt["questions"]:
                place = {"item": question["item"], "subject": question["subject"]}
                if question["state"] == "proposed":
                    found.append({**place, "confirm": True})
                elif question["item"] == "cert" and not question["subject"]:
                    found.append({"item": "cert", "subject": "dd.ddlps", "value": "possibly"})
                elif question["state"] == "open" and question["item"] != "dd":
                    found.append({**place, "not_evaluated": "not asked in this test"})
        path = self.folder / "answers.json"
        path.write_text(json.dumps(found), encoding="utf-8")
        return path


def kept_in(folder: Path, **signing: str) -> Iterator[Kept]:
    """Make a database with a draft."""
    url = f"sqlite:///{folder / 'lms-sr.db'}"
    settings = Settings(
        storage=Storage(spool=folder / "spool", reserve_mb=0),
        database=Database(url=SecretStr(url)),
        signing=Signing(**signing),  # type: ignore[arg-type] - texts
        nodes=(Node(name="PACS", ae_title="PACS", port=104, reports=True),),
    )
    config = write_settings(folder / "lms-sr.toml", settings)
    assert lms_sr("db", "upgrade", "--config", config).code == 0
    engine = make_engine(url)
    world = World.make(engine, folder, *settings.nodes)
    world.arrive(*images(study=STUDY))
    world.run(7200)
    yield Kept(config, folder)
    engine.dispose()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    yield from kept_in(tmp_path, organisation="St Elsewhere")


def test_show_lists_what_is_open_with_item_and_values(kept: Kept) -> None:
    done = kept("show", STUDY)
    assert (done.code, done.err) == (0, "")
    assert f"{STUDY}: version 1, draft, template baseline" in done.out
    assert "\nopen\n" in done.out
    assert "possible now: answer, sign, withdraw" in done.out
    assert "takes " in kept("show", STUDY, "--all").out
    shown = kept.show()
    assert (shown["state"], shown["version"]) == ("draft", 1)
    assert shown["open"] == sum(p["state"] == "open" for p in shown["prompts"])  # type: ignore[attr-defined] - JSON


def test_an_answer_makes_a_version_and_is_told(kept: Kept) -> None:
    done = kept("answer", STUDY, "gp=gp.mixed", "ves.relation@*=vr.none", "--as", "Roe^Jane")
    assert done.code == 0, done.err
    assert f"{STUDY}: version 2 is in progress, and waits to be sent" in done.out
    shown = kept("show", STUDY, "--all").out
    assert "by the radiologist" in shown
    history = kept("history", STUDY).out
    assert "Roe^Jane" in history
    assert "the software" in history
    steps = kept("history", STUDY, "--json").data
    assert [(s["action"], s["before"], s["after"], s["who"]) for s in steps] == [
        ("recompose", None, "draft", ""),
        ("answer", "draft", "in_progress", "Roe^Jane"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("answer", STUDY, "gp=gp.mixd", "--as", "Roe^Jane"), "did you mean gp.mixed"),
        (("answer", STUDY, "gp", "--as", "Roe^Jane"), "'gp' is no answer"),
        (("answer", STUDY, "--as", "Roe^Jane"), "nothing was answered"),
        (("answer", STUDY, "gp=gp.mixed"), "--as 'Family^Given'"),
        (("answer", "1.2.3", "gp=gp.mixed", "--as", "Roe^Jane"), "study 1.2.3 was not received"),
        (("answer", STUDY, "--confirm", "gp", "--as", "Roe^Jane"), "has no proposal to confirm"),
        (("answer", STUDY, "--not-evaluated", "gp", "--as", "Roe^Jane"), "give a reason"),
        (("answer", STUDY, "--file", "/nowhere.json", "--as", "Roe^Jane"), "/nowhere.json cannot be read"),
        (("amend", STUDY, "gp=gp.mixed", "--reason", "x", "--as", "Roe^Jane"), "not signed yet"),
        (("addendum", STUDY, "--text", "x", "--reason", "x", "--as", "Roe^Jane"), "only a signed report"),
        (("withdraw", STUDY, "--as", "Roe^Jane"), "--reason"),
        (("sign", STUDY, "--as", "Roe^Jane", "--id", "4711"), "[signing] id_scheme"),
        (("show", "1.2.3"), "study 1.2.3 was not received"),
        (("history", "1.2.3"), "study 1.2.3 has no report"),
    ],
)
def test_what_is_not_possible_is_told_in_one_line(kept: Kept, words: tuple[str, ...], said: str) -> None:
    done = kept(*words)
    assert done.code == NO
    assert said in done.err
    assert done.err.startswith("lms-sr: ")
    assert "fault of the program" not in done.err
    assert done.out == ""
    assert kept.show()["version"] == 1


def test_an_addendum_of_nothing_is_wrong_usage(kept: Kept) -> None:
    assert kept("addendum", STUDY, "--as", "Roe^Jane").code == WRONG


def test_sign_lists_what_is_open_a_line_each(kept: Kept) -> None:
    done = kept("sign", STUDY, "--as", "Roe^Jane")
    assert done.code == NO
    lines = done.err.splitlines()
    assert "prompts are not confirmed" in lines[0]
    assert len(lines) > 10
    assert all(line.startswith("lms-sr: ") for line in lines)


def test_the_whole_life_on_the_shipped_template(kept: Kept) -> None:
    for _ in range(4):
        # an answer may open further questions
        file = kept.complete()
        if json.loads(file.read_text(encoding="utf-8")):
            done = kept("answer", STUDY, "--file", file, "--as", "Roe^Jane")
            assert done.code == 0, done.err
    done = kept("sign", STUDY, "--as", "Roe^Jane", "--json")
    assert done.code == 0, done.err
    assert (done.data["state"], done.data["open"], done.data["proposed"]) == ("signed", 0, 0)
    assert kept("answer", STUDY, "gp=gp.mixed", "--as", "Roe^Jane").code == NO

    # an answer that opens a further question is no complete report
    opening = kept("amend", STUDY, "gp=gp.mixed", "--reason", "second reading", "--as", "Doe^John")
    assert "Growth pattern: open (gp.dominant@LMS-T1)" in opening.err
    words = ("hd.recommendation_el=Core biopsy.", "--reason", "second reading", "--as", "Doe^John")
    amended = kept("amend", STUDY, *words, "--json")
    assert amended.code == 0, amended.err
    assert amended.data["state"] == "amended"
    added = kept("addendum", STUDY, "--text", "Seen at the board.", "--reason", "board", "--as", "Doe^John", "--json")
    assert added.code == 0, added.err
    assert added.data["state"] == "addendum"
    shown = kept("show", STUDY).out
    assert "signed by Doe^John" in shown
    assert "possible now: amend, addendum, withdraw" in shown

    gone = kept("withdraw", STUDY, "--reason", "wrong patient", "--as", "Doe^John", "--json")
    assert gone.code == 0, gone.err
    assert gone.data["state"] == "withdrawn"
    assert kept("show", STUDY).code == 0
    states = [s["after"] for s in kept("history", STUDY, "--json").data]
    assert states[-4:] == ["signed", "amended", "addendum", "withdrawn"]
    assert "wrong patient" in kept("history", STUDY).out
    assert lms_sr("registry", "show", STUDY, "--config", kept.config).code == NO


def test_the_person_of_the_settings_signs_with_the_code_of_the_settings() -> None:
    from service import reports  # noqa: PLC0415 - the thing itself

    known = Signing(person="Roe^Jane", organisation="St Elsewhere", id="4711", id_scheme="99HOSPITAL")
    settings = Settings(signing=known)
    person = reports.person(settings)
    assert (person.name, person.organisation) == ("Roe^Jane", "St Elsewhere")
    assert person.code is not None
    assert (person.code.value, person.code.scheme) == ("4711", "99HOSPITAL")
    # another person is not given the code of this one
    assert reports.person(settings, "Doe^John").code is None
    other = reports.person(settings, "Doe^John", "12").code
    assert other is not None
    assert other.value == "12"
