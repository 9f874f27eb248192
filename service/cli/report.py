"""The commands by which a person works on a report: show, answer, sign, amend, addendum, withdraw, history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import AsJson, Config, load, say, say_json, table
from service.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from service.flow.given import Given
    from service.model.signing import Person
    from service.reports import Done, Shown, ShownQuestion
    from service.settings import Settings

report = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The report of a study: show, answer, sign, amend, addendum, withdraw, history.",
)

Study = Annotated[str, typer.Argument(help="Study Instance UID.", show_default=False)]
As = Annotated[
    str,
    typer.Option("--as", help="Who does this, as 'Family^Given'; by default [signing] person.", show_default=False),
]
Id = Annotated[
    str,
    typer.Option("--id", help="Identification code of who does this, of [signing] id_scheme.", show_default=False),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the report's history.", show_default=False)]
Answers = Annotated[
    list[str] | None,
    typer.Argument(
        help="item=value or item@subject=value; several values with ';', item@*=value for every row without an answer.",
        show_default=False,
    ),
]
Confirm = Annotated[
    list[str] | None, typer.Option("--confirm", help="item or item@subject whose proposal stands.", show_default=False)
]
Clear = Annotated[
    list[str] | None,
    typer.Option("--clear", help="item or item@subject whose answer is taken back.", show_default=False),
]
NotEvaluated = Annotated[
    list[str] | None,
    typer.Option("--not-evaluated", help="item or item@subject; give a --reason.", show_default=False),
]
AnswerReason = Annotated[
    str,
    typer.Option("--reason", help="Why: of a Not Evaluated, or of another value than derived.", show_default=False),
]
EachReason = Annotated[
    str,
    typer.Option(
        "--answer-reason",
        help="Why of the answers themselves: of a Not Evaluated, or of another value than derived; --reason says why it is amended.",
        show_default=False,
    ),
]
OverEdits = Annotated[
    bool,
    typer.Option("--over-edits", help="The version replaces what others saved into the series of our reports."),
]
AnswerFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help='JSON file: [{"item", "subject", "value" | "values" | "confirm" | "not_evaluated" | "clear", "reason"}].',
        show_default=False,
    ),
]
#: a file of answers larger than this is none
_MAX_FILE = 2**22


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(report, name="report")


@report.command()
def show(
    study: Study,
    everything: Annotated[
        bool, typer.Option("--all", help="Confirmed prompts too, with every value they take.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what is open, what is proposed and from where, what is confirmed, and which answers contradict each other.

    Example: lms-sr report show 1.2.840.1
    """
    from service import reports

    found = reports.show(load(config), study)
    if as_json:
        say_json(found)
        return
    _show(found, everything=everything)


def _show(found: Shown, *, everything: bool) -> None:
    from sr_templates.questions import State

    say(f"{found.study}: version {found.version}, {found.state.value.replace('_', ' ')}, template {found.template}")
    if found.signer and found.signed_at:
        say(f"signed by {found.signer} at {found.signed_at:%Y-%m-%d %H:%M:%S} UTC")
    say(f"{found.open} prompts open, {found.proposed} proposed, {found.confirmed} confirmed")
    for remark in found.remarks:
        say(f"remark: {remark}")
    for state in State:
        members = [p for p in found.prompts if p.state is state]
        if not members or (state is State.CONFIRMED and not everything):
            continue
        say(f"\n{state.value}")
        for prompt in members:
            say(f"  {prompt.label}")
            for question in prompt.questions:
                say(f"    {_line(question)}")
                if everything and question.values:
                    say(f"      takes {', '.join(f'{k} ({m})' for k, m in question.values)}")
    if found.broken:
        say("\ncontradictions")
        for rule in found.broken:
            about = f" ({rule.subject})" if rule.subject else ""
            say(f"  {'warning: ' if rule.warning else ''}{rule.message}{about} [{rule.rule}]")
    if found.differences:
        say("\nfacts that say something else")
        for d in found.differences:
            place = f"{d.item}@{d.subject}" if d.subject else d.item
            say(f"  {place}: stands {d.stands or 'nothing'}; {d.source}: {d.found or 'nothing'}")
    say(f"\npossible now: {', '.join(a.value for a in found.actions) or 'nothing'}")


def _line(question: ShownQuestion) -> str:
    name = f"{question.item}@{question.subject}" if question.subject else question.item
    about = f", {question.about}" if question.about and question.about != question.subject else ""
    said = "; ".join(
        f"{a.value} ({a.status.value} {a.source}{f', {a.basis}' if a.basis else ''}{f': {a.reason}' if a.reason else ''})"
        for a in question.answers
    )
    unit = f" [{question.unit}]" if question.unit and not said else ""
    return f"{name}  {question.label}{about}{unit}: {said or 'open'}"


def _given(
    answers: list[str] | None,
    confirm: list[str] | None,
    clear: list[str] | None,
    not_evaluated: list[str] | None,
    file: Path | None,
    reason: str,
) -> tuple[Given, ...]:
    from service.flow.given import Given, What, named, parse_json, parse_text

    found: list[Given] = []
    if file is not None:
        try:
            if file.stat().st_size > _MAX_FILE:
                msg = f"{file} is too large for a file of answers"
                raise InputError(msg)
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{file} cannot be read as a file of answers: name a JSON file in UTF-8"
            raise InputError(msg) from error
        found += parse_json(text)
    found += [parse_text(a, reason=reason) for a in answers or ()]
    for words, what in ((confirm, What.CONFIRM), (clear, What.CLEAR), (not_evaluated, What.NOT_EVALUATED)):
        for word in words or ():
            item, subject = named(word)
            found.append(Given(item=item, subject=subject, what=what, reason=reason))
    return tuple(found)


@report.command()
def answer(
    study: Study,
    answers: Answers = None,
    confirm: Confirm = None,
    clear: Clear = None,
    not_evaluated: NotEvaluated = None,
    file: AnswerFile = None,
    reason: AnswerReason = "",
    who: As = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Answer questions of a draft; all of them become one new version, or none if one does not fit.

    Example: lms-sr report answer 1.2.840.1 gp=gp.mixed 'ves.relation@*=vr.none' --confirm sz.long_axis --as Roe^Jane
    """
    from service import reports

    settings = load(config)
    given = _given(answers, confirm, clear, not_evaluated, file, reason)
    _said(reports.answer(settings, study, given, _person(settings, who)), as_json=as_json)


def _person(settings: Settings, who: str, code: str = "") -> Person:
    from service import reports

    return reports.person(settings, who, code)


@report.command()
def sign(study: Study, who: As = "", code: Id = "", config: Config = None, as_json: AsJson = False) -> None:
    """Sign the report: complete, verified, final. Refused while something is open, only proposed or contradictory.

    Example: lms-sr report sign 1.2.840.1 --as Roe^Jane
    """
    from service import reports

    settings = load(config)
    _said(reports.sign(settings, study, _person(settings, who, code)), as_json=as_json)


@report.command()
def amend(
    study: Study,
    answers: Answers = None,
    *,
    confirm: Confirm = None,
    clear: Clear = None,
    not_evaluated: NotEvaluated = None,
    file: AnswerFile = None,
    reason: Reason = "",
    each_reason: EachReason = "",
    over_edits: OverEdits = False,
    who: As = "",
    code: Id = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change answers of a signed report, for a reason, and sign the new version in the same step.

    Where the PACS has corrected patient or order since, it needs no answers: the new version names them as they are now.

    Example: lms-sr report amend 1.2.840.1 st.n=st.n1 --reason "node confirmed by biopsy" --as Roe^Jane
    """
    from service import reports

    settings = load(config)
    given = _given(answers, confirm, clear, not_evaluated, file, each_reason)
    done = reports.amend(settings, study, given, _person(settings, who, code), reason, over_edits=over_edits)
    _said(done, as_json=as_json)


@report.command()
def addendum(
    study: Study,
    text: Annotated[str, typer.Option("--text", help="What is added; by default the reason.", show_default=False)] = "",
    reason: Reason = "",
    over_edits: OverEdits = False,
    who: As = "",
    code: Id = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a text to a signed report whose answers stay as they are, and sign the new version in the same step.

    Example: lms-sr report addendum 1.2.840.1 --text "Discussed at the sarcoma board." --reason "board of today" --as Roe^Jane
    """
    from service import reports

    settings = load(config)
    if not (text or reason):
        msg = "what is to be added? --text '…' --reason '…'"
        raise ConfigurationError(msg)
    signer = _person(settings, who, code)
    done = reports.addendum(settings, study, text or reason, signer, reason, over_edits=over_edits)
    _said(done, as_json=as_json)


@report.command()
def withdraw(
    study: Study, reason: Reason = "", who: As = "", code: Id = "", config: Config = None, as_json: AsJson = False
) -> None:
    """Take a report out of use: a last version says so to readers, a rejection note to archives that take one.

    Example: lms-sr report withdraw 1.2.840.1 --reason "images of another patient" --as Roe^Jane
    """
    from service import reports

    settings = load(config)
    _said(reports.withdraw(settings, study, _person(settings, who, code), reason), as_json=as_json)


@report.command()
def history(study: Study, config: Config = None, as_json: AsJson = False) -> None:
    """Tell every step of a report: when, by whom, from where to where, and why.

    Example: lms-sr report history 1.2.840.1
    """
    from service import reports

    found = reports.history(load(config), study)
    if as_json:
        say_json(found)
        return
    rows = [
        (
            f"{s.at:%Y-%m-%d %H:%M:%S}",
            s.version,
            s.action.value.replace("_", " "),
            s.before.value.replace("_", " ") if s.before else "",
            s.after.value.replace("_", " "),
            s.who or "the software",
            s.why,
        )
        for s in found
    ]
    say(table(("when (UTC)", "version", "step", "from", "to", "who", "why"), rows))


def _said(done: Done, *, as_json: bool) -> None:
    if as_json:
        say_json(done)
        return
    say(f"{done.study}: version {done.version} is {done.state.value.replace('_', ' ')}, and waits to be sent")
    say(f"{done.open} prompts open, {done.proposed} proposed, {done.confirmed} confirmed")
