"""The commands that need no service: files in, files or text out."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import NO, WRONG, AsJson, Config, complain, load, say, say_json, table
from service.cli.measuring import measure
from service.errors import TemplateError

template = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Report templates: list, check, show.")

Folder = Annotated[Path, typer.Argument(help="Folder with DICOM files, at any depth.", show_default=False)]
File = Annotated[Path, typer.Argument(help="An SR as a DICOM file.", show_default=False)]
Templates = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="Folder laid out as sr_templates/; by default the shipped templates.", show_default=False
    ),
]
Names = Annotated[list[str] | None, typer.Argument(help="Names of templates; without one, all.", show_default=False)]


class SrClass(enum.StrEnum):
    """What ``--sop-class`` takes."""

    COMPREHENSIVE_3D = "comprehensive-3d"
    COMPREHENSIVE = "comprehensive"
    ENHANCED = "enhanced"


class Kind(enum.StrEnum):
    """What ``template schema`` takes."""

    SECTION = "section"
    TEMPLATE = "template"
    RETIRED = "retired"
    LANGUAGE = "language"
    DIFFERENTIAL = "differential"


class Form(enum.StrEnum):
    """What ``--format`` takes."""

    TEXT = "text"
    HTML = "html"


class ExtraObject(enum.StrEnum):
    """What ``--object`` takes."""

    PDF = "pdf"
    KEY_IMAGE = "key-image"
    KEY_OBJECTS = "key-objects"
    PRESENTATION = "presentation"


class TrackingProfile(enum.StrEnum):
    """What ``--profile`` takes."""

    STANDARD = "standard"
    OHIF = "ohif"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(compose)
    app.command()(measure)
    app.command()(render)
    app.command()(validate)
    app.add_typer(template, name="template")


def compose(
    folder: Folder,
    out: Annotated[
        Path, typer.Option("--out", help="Where report.dcm, measurements.dcm and report.json go.", show_default=False)
    ],
    template_name: Annotated[str, typer.Option("--template", help="Name of the template.")] = "baseline",
    sop_class: Annotated[SrClass, typer.Option("--sop-class", help="SR class of the objects.")] = SrClass.COMPREHENSIVE,
    profile: Annotated[
        TrackingProfile, typer.Option("--profile", help="Tracking identifiers of the measurements.")
    ] = TrackingProfile.STANDARD,
    objects: Annotated[
        list[ExtraObject] | None,
        typer.Option(
            "--object",
            help="Also write the page as a PDF, the measured slices as pictures, the selection of their originals, a presentation "
            "state over them; may be given several times.",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str,
        typer.Option(
            "--language",
            help="What report and page are written in: en, de. By default as the settings say.",
            show_default=False,
        ),
    ] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make the report of a folder of DICOM files, without service, triage or registry.

    Example: lms-sr compose ./study --out ./report --object pdf --object key-image
    """
    from service import offline
    from service.clock import SystemClock
    from service.flow.produce import SR_CLASSES

    classes = dict(zip(SrClass, SR_CLASSES, strict=True))
    done = offline.compose(
        load(config),
        folder,
        out,
        now=SystemClock().now(),
        template=template_name,
        sop_class_uid=classes[sop_class],
        profile=profile.value,
        objects=tuple(o.value for o in objects or ()),
        language=language,
    )
    if as_json:
        say_json(done)
        return
    for study in done.studies:
        say(f"study {study.study_instance_uid}")
        for path in study.files:
            say(f"  {path}")
    for reason in done.refused:
        complain(f"left out: {reason}")


def render(
    file: File,
    form: Annotated[Form, typer.Option("--format", help="text or html.")] = Form.TEXT,
    as_json: AsJson = False,
) -> None:
    """Show an SR as a reader sees it.

    Example: lms-sr render report.dcm --format html > report.html
    """
    from service import offline

    shown = offline.show(file, form.value)
    if as_json:
        say_json({"file": file, "format": form, "content": shown})
        return
    typer.echo(shown, nl=not shown.endswith("\n"))


def validate(file: File, as_json: AsJson = False) -> None:
    """Check an SR of ours as it is checked before sending: structure, values, references, and that it reads back.

    Example: lms-sr validate report.dcm
    """
    from service import offline

    problems = offline.problems_of(file)
    if as_json:
        say_json({"file": file, "valid": not problems, "problems": problems})
    else:
        for problem in problems:
            complain(f"{file}: {problem}")
        if not problems:
            say(f"{file}: valid")
    if problems:
        raise typer.Exit(NO)


# --- templates -----------------------------------------------------------------------------------------------------------


@template.command("list")
def list_templates(folder: Templates = None, as_json: AsJson = False) -> None:
    """List the templates.

    Example: lms-sr template list
    """
    from sr_templates import load_template, template_names

    found = [load_template(name, folder) for name in template_names(folder)]
    if as_json:
        say_json(
            [
                {"name": t.key, "version": t.version, "label": t.label, "items": len(list(t)), "rules": len(t.rules)}
                for t in found
            ]
        )
        return
    rows = [(t.key, t.version, len(list(t)), len(t.rules), t.label) for t in found]
    say(table(("template", "version", "items", "rules", "label"), rows))


@template.command()
def lint(
    names: Names = None,
    folder: Templates = None,
    language: Annotated[
        str,
        typer.Option("--language", help="Also tell what a form in this language would still say in English: de, say."),
    ] = "en",
    as_json: AsJson = False,
) -> None:
    """Find every fault of a template, with its file, line and the way out; ends with 2 if there is one.

    Unknown codes, conditions that can never hold, missing units, items that nobody is ever asked, and much more.

    Example: lms-sr template lint baseline --folder ./my-templates
    """
    from service.flow.registered import registered
    from sr_templates import load_template
    from sr_templates.language.labels import load_language
    from sr_templates.language.linter import lint as faults_of
    from sr_templates.language.linter import missing_labels

    words = load_language(language, folder)
    functions = registered()
    faults: dict[str, tuple[str, ...]] = {}
    for name in _known(names, folder):
        faults[name] = faults_of(name, names=functions, folder=folder)
        if not faults[name]:
            faults[name] = missing_labels(load_template(name, folder), words)
    if as_json:
        say_json(faults)
        if any(faults.values()):
            raise typer.Exit(WRONG)
        return
    if any(faults.values()):
        raise TemplateError("\n".join(dict.fromkeys(f for found in faults.values() for f in found)))
    say(f"{', '.join(faults)}: no faults")


def _known(names: list[str] | None, folder: Path | None) -> tuple[str, ...]:
    """Return the names that were given, or all; refuse one that is no template."""
    from sr_templates import template_names

    known = template_names(folder)
    for name in names or ():
        if name not in known:
            msg = f"there is no template '{name}': known are {', '.join(known) or 'none'}"
            raise TemplateError(msg)
    return tuple(names or known)


@template.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the template.")],
    folder: Templates = None,
    as_json: AsJson = False,
) -> None:
    """Show what a template asks: sections, items, needs, rules.

    Example: lms-sr template show baseline
    """
    from sr_templates import load_template

    found = load_template(name, folder)
    if as_json:
        say_json(found)
        return
    say(f"{found.label} ({found.key}, version {found.version})")
    for section in found.sections:
        say(f"\n{section.heading.meaning}")
        say(table(("  item", "need", "asked about", "modalities", "question"), [
            (f"  {i.key}", i.need.value, i.scope.value, " ".join(i.modalities) or "all", i.label) for i in section.items
        ]))  # fmt: skip
        for rule in section.rules:
            say(f"  rule {rule.key}{' (warning)' if rule.warning else ''}: {rule.message}")


@template.command()
def docs(
    names: Names = None,
    folder: Templates = None,
    as_json: AsJson = False,
) -> None:
    """Print the clinical documentation of templates as Markdown.

    Example: lms-sr template docs > docs/clinical.md
    """
    from sr_templates import load_template
    from sr_templates.documentation import markdown

    found = [load_template(name, folder) for name in _known(names, folder)]
    text = markdown(found, folder)
    if as_json:
        say(json.dumps({"templates": [t.key for t in found], "markdown": text}))
        return
    typer.echo(text, nl=False)


@template.command("schema")
def print_schema(
    kind: Annotated[Kind, typer.Argument(help="Which file: section, template, retired, language, differential.")],
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of one kind of template file, for the completion of an editor.

    Example: lms-sr template schema section > schema/section.schema.json
    """
    from service.flow.registered import registered
    from sr_templates.language.schema import Kind as Schemas
    from sr_templates.language.schema import schema

    # a schema is JSON as it is
    del as_json
    typer.echo(schema(Schemas(kind.value), registered()), nl=False)
