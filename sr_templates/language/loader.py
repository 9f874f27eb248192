"""Reads templates and their sections, from this package or from a folder of a site's own, into frozen values."""

from __future__ import annotations

import functools
from decimal import Decimal
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from service.errors import TemplateError
from service.model.report import Scope
from sr_templates.codes import load_codes
from sr_templates.language.reader import Reader
from sr_templates.language.source import Mapping, read
from sr_templates.language.values import Condition, Fill, Item, ItemType, Need, Section, Template

FAMILY = "leiomyosarcoma"
#: reserved answer that every required item of coded type accepts (with a reason)
NOT_EVALUATED = "v.not_evaluated"


def _root(folder: Path | None) -> Traversable:
    return folder if folder is not None else resources.files("sr_templates")


def template_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of the templates, sorted."""
    directory = _root(folder).joinpath(FAMILY)
    if not directory.is_dir():
        msg = f"{directory}: no such folder: templates are looked for there"
        raise TemplateError(msg)
    return tuple(sorted(f.name.removesuffix(".yaml") for f in directory.iterdir() if f.name.endswith(".yaml")))


@functools.lru_cache(maxsize=16)
def load_template(name: str, folder: Path | None = None) -> Template:
    """Read the template ``name``.

    Parameters
    ----------
    name:
        File name without its ending.
    folder:
        A folder laid out as this package (``leiomyosarcoma/``, ``sections/``); by default the package itself.

    Raises
    ------
    TemplateError
        The first fault found, as ``file:line:column: what is wrong and the way out``. (`linter.lint` lists all of them.)
    """
    template, problems = read_template(name, folder)
    if problems or template is None:
        raise TemplateError(problems[0])
    return template


def read_template(name: str, folder: Path | None = None) -> tuple[Template | None, tuple[str, ...]]:
    """Read the template ``name`` and list every fault of its form; the template is None where nothing could be made of it."""
    root = _root(folder)
    problems: list[str] = []
    try:
        top = _file(root, f"{FAMILY}/{name}.yaml")
        reader = Reader(top, load_codes(), problems)
        reader.known("template", "version", "label", "title", "sections")
        sections = tuple(
            section for key in reader.names("sections") if (section := _section(root, key, top, problems)) is not None
        )
        if reader.text("template") != name:
            reader.fault("template", f"the template is called '{reader.text('template')}' in a file called '{name}'")
        template = Template(
            key=name,
            version=reader.text("version"),
            label=reader.text("label"),
            title=reader.code("title"),
            sections=sections,
        )
    except TemplateError as error:
        return None, (*problems, str(error))
    return template, tuple(problems)


def _file(root: Traversable, path: str) -> Mapping:
    file = root
    for part in path.split("/"):
        file = file.joinpath(part)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        available = sorted(f.name for f in root.joinpath(FAMILY).iterdir()) if root.joinpath(FAMILY).is_dir() else []
        msg = f"{path}: cannot be read ({type(error).__name__}); there are: {', '.join(available)}"
        raise TemplateError(msg) from error
    return read(text, path)


def _section(root: Traversable, key: str, top: Mapping, problems: list[str]) -> Section | None:
    try:
        mapping = _file(root, f"sections/{key}.yaml")
    except TemplateError as error:
        problems.append(f"{top.at('sections')}: section '{key}': {error}")
        return None
    reader = Reader(mapping, load_codes(), problems)
    reader.known("section", "heading", "items")
    if reader.text("section") != key:
        reader.fault("section", f"the section is called '{reader.text('section')}' in a file called '{key}'")
    items = tuple(_item(Reader(m, load_codes(), problems), key) for m in reader.mappings("items"))
    return Section(key=key, heading=reader.code("heading"), items=items)


def _item(reader: Reader, section: str) -> Item:
    reader.known(
        "key", "label", "concept", "type", "scope", "need", "fill", "values", "extensible", "unit", "range", "decimals",
        "max_length", "many", "modality", "when", "prompt", "prefill", "help", "cite",
    )  # fmt: skip
    key = reader.text("key")
    item_type = reader.member("type", ItemType)
    low, high = reader.span("range")
    return Item(
        key=key,
        label=reader.text("label"),
        concept=reader.code("concept", default=key),
        type=item_type,
        section=section,
        scope=reader.member("scope", Scope, default=Scope.REPORT),
        need=reader.member("need", Need),
        fill=reader.member("fill", Fill, default=Fill.PERSON),
        values=reader.codes("values"),
        extensible=reader.flag("extensible"),
        unit=reader.code("unit") if "unit" in reader.mapping else None,
        low=Decimal(str(low)) if low is not None else None,
        high=Decimal(str(high)) if high is not None else None,
        decimals=reader.whole("decimals", default=1),
        max_length=reader.whole("max_length", default=1024),
        many=reader.flag("many") or item_type is ItemType.CODES,
        modalities=reader.names("modality"),
        when=_condition(reader),
        prompt=reader.text("prompt", default=reader.text("label")),
        prefill=reader.names("prefill"),
        help=reader.text("help", default=""),
        cite=reader.text("cite", default=""),
    )


def _condition(reader: Reader) -> Condition | None:
    inner = reader.inner("when")
    if inner is None:
        return None
    inner.known("item", "one_of", "none_of", "answered")
    return Condition(
        item=inner.text("item"),
        one_of=inner.codes("one_of"),
        none_of=inner.codes("none_of"),
        answered=inner.flag("answered"),
    )
