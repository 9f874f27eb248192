"""Reads templates and their sections, from this package or from a folder of a site's own, into frozen values."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from service.errors import TemplateError
from service.model.code import Code
from service.model.report import Scope
from sr_templates.codes import load_codes
from sr_templates.language.reader import Reader, did_you_mean
from sr_templates.language.source import Mapping as Written
from sr_templates.language.source import Place, decoded, read
from sr_templates.language.values import Fill, Item, ItemType, Matrix, Need, Row, Rule, Section, Template

FAMILY = "leiomyosarcoma"
#: reserved answer that every item accepts, with a reason
NOT_EVALUATED = "v.not_evaluated"
#: parts a structure from its side in the key of a row
AFTER_STRUCTURE = "/"
#: items that earlier versions had
RETIRED = "retired.yaml"
#: in the order in which they are written
ITEM_KEYS = (
    "key", "label", "concept", "type", "scope", "need", "fill", "values", "extensible", "unit", "range", "decimals",
    "max_length", "many", "each", "rows", "modality", "when", "prompt", "prefill", "derive", "help", "cite",
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SIDES = {"right": "v.right", "left": "v.left", "midline": "v.midline", "bilateral": "v.bilateral"}


def _root(folder: Path | None) -> Traversable:
    return folder if folder is not None else resources.files("sr_templates")


def template_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of the templates, sorted."""
    directory = _root(folder).joinpath(FAMILY)
    if not directory.is_dir():
        msg = f"{directory}: no such folder: templates are looked for there"
        raise TemplateError(msg)
    return _names(directory)


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
    reading = read_template(name, folder)
    if reading.problems or reading.template is None:
        raise TemplateError(reading.problems[0])
    return reading.template


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A template as far as it could be read, every fault of its form, and where its parts stand."""

    template: Template | None
    problems: tuple[str, ...]
    #: what was written there: by `Item.place`, `Matrix.place`, `Rule.place`, and the place of the template file
    mappings: Mapping[Place, Written]
    #: places of items, matrices and rules with a fault of form: what else is wrong with them cannot be told yet
    unsound: frozenset[Place]
    top: Place
    #: every section could be read: only then can something be said to be missing
    whole: bool = True
    #: the items of its sections that the template leaves out (``without``)
    left_out: tuple[Item, ...] = ()

    def at(self, place: Place, key: str, member: int | None = None) -> Place:
        """Return where ``key`` of the item, matrix or rule at ``place`` stands."""
        written = self.mappings.get(place)
        return written.at(key, member) if written is not None else place


class _Files:
    """Reads the files of one template; notes what is wrong and where things stand."""

    def __init__(self, root: Traversable) -> None:
        self.root = root
        self.problems: list[str] = []
        self.mappings: dict[Place, Written] = {}
        self.unsound: set[Place] = set()
        #: True once a section, or the items of one, could not be read
        self.partial = False

    def open(self, path: str) -> Written:
        """Return what stands in a file of the folder."""
        return _file(self.root, path, self.problems)

    def reader(self, mapping: Written) -> Reader:
        """Return a reader of a mapping."""
        return Reader(mapping, load_codes(), self.problems)

    def note(self, place: Place, reader: Reader) -> None:
        """Keep what was written at ``place``, and whether it was sound."""
        self.mappings[place] = reader.mapping
        if not reader.sound:
            self.unsound.add(place)

    def section(self, key: str, top: Reader, member: int) -> Section | None:
        """Return a section of the template whose file ``top`` reads; None where nothing could be made of it."""
        if not _NAME.fullmatch(key):
            top.fault("sections", f"'{key}' is no name of a section: lower case letters, digits and _", member)
            return None
        path = f"sections/{key}.yaml"
        if not _at(self.root, path).is_file():
            hint = did_you_mean(key, _names(self.root.joinpath("sections")))
            top.fault("sections", f"section '{key}' has no file {path}: {hint}", member)
            return None
        try:
            mapping = self.open(path)
        except TemplateError as error:
            self.problems.append(str(error))
            return None
        reader = self.reader(mapping)
        reader.known("section", "heading", "matrices", "items", "rules")
        if reader.text("section") != key:
            reader.fault("section", f"the section is called '{reader.text('section')}' in a file called '{key}'")
        if "items" not in mapping:
            reader.fault("items", "'items' is missing: a section without items asks nothing")
        items = reader.mappings("items")
        self.partial = self.partial or not items
        return Section(
            key=key,
            heading=reader.code("heading"),
            place=mapping.place,
            items=tuple(self.item(m, key) for m in items),
            matrices=tuple(self.matrix(m) for m in reader.mappings("matrices")),
            rules=tuple(self.rule(m) for m in reader.mappings("rules")),
        )

    def item(self, mapping: Written, section: str) -> Item:
        """Return an item."""
        reader = self.reader(mapping)
        found = _item(reader, section)
        self.note(found.place, reader)
        return found

    def matrix(self, mapping: Written) -> Matrix:
        """Return a matrix."""
        reader = self.reader(mapping)
        found = _matrix(reader)
        self.note(found.place, reader)
        return found

    def rule(self, mapping: Written) -> Rule:
        """Return a rule."""
        reader = self.reader(mapping)
        found = _rule(reader)
        self.note(found.place, reader)
        return found

    def retired(self, name: str) -> tuple[Item, ...]:
        """Return the items that reports of earlier versions carry, from ``retired.yaml``."""
        if not _at(self.root, RETIRED).is_file():
            return ()
        try:
            mapping = self.open(RETIRED)
        except TemplateError as error:
            self.problems.append(str(error))
            return ()
        reader = self.reader(mapping)
        reader.known(*dict.fromkeys((name, *_names(self.root.joinpath(FAMILY)))))
        return tuple(self.item(m, "retired") for m in reader.mappings(name))


def read_template(name: str, folder: Path | None = None) -> Reading:
    """Read the template ``name`` and list every fault of its form."""
    files = _Files(_root(folder))
    path = f"{FAMILY}/{name}.yaml"
    try:
        top = files.open(path)
    except TemplateError as error:
        return Reading(
            template=None,
            problems=(*files.problems, str(error)),
            mappings={},
            unsound=frozenset(),
            top=Place(path, 1, 1),
        )
    reader = files.reader(top)
    reader.known("template", "version", "label", "title", "sections", "without")
    if reader.text("template") != name:
        reader.fault("template", f"the template is called '{reader.text('template')}' in a file called '{name}'")
    named = reader.names("sections")
    if not named and "sections" not in top:
        reader.fault("sections", "'sections' is missing: list the sections in reading order")
    read = (files.section(key, reader, member) for member, key in enumerate(named) if key not in named[:member])
    sections = tuple(section for section in read if section is not None)
    left_out = reader.names("without")
    known = {i.key for s in sections for i in s.items}
    for member, key in enumerate(left_out):
        if key not in known:
            reader.fault("without", f"'{key}' is no item of these sections: {did_you_mean(key, known)}", member)
    template = Template(
        key=name,
        version=reader.text("version"),
        label=reader.text("label"),
        title=reader.code("title"),
        sections=tuple(_without(s, left_out) for s in sections),
        retired=files.retired(name),
    )
    files.mappings[top.place] = top
    return Reading(
        template=template,
        problems=tuple(dict.fromkeys(files.problems)),
        mappings=files.mappings,
        unsound=frozenset(files.unsound),
        top=top.place,
        whole=not files.partial and len(sections) == len(dict.fromkeys(named)),
        left_out=tuple(i for s in sections for i in s.items if i.key in left_out),
    )


def section_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of the sections that lie in a folder, sorted, whether a template lists them or not."""
    return _names(_root(folder).joinpath("sections"))


def items_of(section: str, folder: Path | None = None) -> tuple[str, ...]:
    """Return the keys of the items that the file of a section has; empty where it cannot be read."""
    try:
        items = _file(_root(folder), f"sections/{section}.yaml", []).get("items")
    except TemplateError:
        return ()
    keys = (m.get("key") for m in items if isinstance(m, Written)) if isinstance(items, list) else ()
    return tuple(k for k in keys if isinstance(k, str))


def _at(root: Traversable, path: str) -> Traversable:
    file = root
    for part in path.split("/"):
        file = file.joinpath(part)
    return file


def _names(directory: Traversable) -> tuple[str, ...]:
    if not directory.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in directory.iterdir() if f.name.endswith(".yaml")))


def _file(root: Traversable, path: str, problems: list[str]) -> Written:
    file = _at(root, path)
    if not file.is_file():
        there = ", ".join(f"{n}.yaml" for n in _names(_at(root, path.rpartition("/")[0])))
        msg = f"{path}:1:1: there is no such file; there are: {there or 'none'}"
        raise TemplateError(msg)
    try:
        data = file.read_bytes()
    except OSError as error:
        msg = f"{path}:1:1: cannot be read ({type(error).__name__}): see to its rights"
        raise TemplateError(msg) from error
    return read(decoded(data, path), path, problems)


def _without(section: Section, keys: tuple[str, ...]) -> Section:
    """Return the section without the items that a template leaves out."""
    return replace(section, items=tuple(i for i in section.items if i.key not in keys)) if keys else section


def _item(reader: Reader, section: str) -> Item:
    reader.known(*ITEM_KEYS)
    key = reader.text("key")
    item_type = reader.member("type", ItemType)
    low, high = reader.span("range")
    value_keys = reader.names("values")
    return Item(
        key=key,
        label=reader.text("label"),
        concept=reader.code("concept", default=key),
        type=item_type,
        section=section,
        scope=reader.member("scope", Scope, default=Scope.REPORT),
        need=reader.member("need", Need),
        place=reader.mapping.at("key"),
        fill=reader.member("fill", Fill, default=Fill.PERSON),
        values=tuple(reader.lookup("values", name, member) for member, name in enumerate(value_keys)),
        value_keys=value_keys,
        extensible=reader.flag("extensible"),
        unit=reader.code("unit") if "unit" in reader.mapping else None,
        low=low,
        high=high,
        decimals=reader.whole("decimals", default=1, high=6),
        max_length=reader.whole("max_length", default=1024, low=1, high=10240),
        many=reader.flag("many") or item_type is ItemType.CODES,
        each=reader.flag("each"),
        rows=reader.names("rows"),
        modalities=reader.names("modality"),
        when=reader.condition("when"),
        prompt=reader.text("prompt", default=reader.text("label")),
        prefill=reader.names("prefill"),
        derive=reader.text("derive", default=""),
        help=reader.text("help", default=""),
        cite=reader.text("cite", default=""),
    )


def _matrix(reader: Reader) -> Matrix:
    reader.known("scope", "prompt", "item", "rows")
    rows = []
    for member, entry in enumerate(reader.entries("rows")):
        if isinstance(entry, str):
            rows.append(_row(reader, entry, "rows", member))
            continue
        inner = Reader(entry, load_codes(), reader.problems)
        inner.known("row", "when")
        rows.append(replace(_row(inner, inner.text("row"), "row"), when=inner.condition("when")))
        reader.sound = reader.sound and inner.sound
    return Matrix(
        scope=reader.member("scope", Scope),
        prompt=reader.text("prompt"),
        item=reader.text("item"),
        place=reader.mapping.place,
        rows=tuple(rows),
    )


def _row(reader: Reader, key: str, at: str, member: int | None = None) -> Row:
    name, _, side = key.partition(AFTER_STRUCTURE)
    if side and side not in _SIDES:
        reader.fault(at, f"'{side}' is no side: one of {', '.join(_SIDES)}", member)
    structure = reader.lookup(at, name, member)
    return Row(
        key=key,
        structure=structure,
        side=load_codes()[_SIDES[side]] if side in _SIDES else None,
        label=structure_label(structure, side),
    )


def structure_label(structure: Code, side: str) -> str:
    """Return a structure as a reader calls it: "right renal vein", "Inferior vena cava"."""
    return f"{side} {structure.meaning[:1].lower()}{structure.meaning[1:]}" if side else structure.meaning


def side_of(side: Code | None) -> str:
    """Return the word that stands for a side in the key of a row; empty: none."""
    codes = load_codes()
    return next((word for word, key in _SIDES.items() if side is not None and codes[key].same(side)), "")


def _rule(reader: Reader) -> Rule:
    reader.known("rule", "message", "scope", "when", "require", "check", "warning", "cite")
    return Rule(
        key=reader.text("rule"),
        message=reader.text("message"),
        place=reader.mapping.place,
        scope=reader.member("scope", Scope, default=Scope.REPORT),
        when=reader.condition("when"),
        require=reader.condition("require"),
        check=reader.text("check", default=""),
        warning=reader.flag("warning"),
        cite=reader.text("cite", default=""),
    )
