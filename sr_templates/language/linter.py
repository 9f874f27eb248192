"""Finds every fault of a template before a patient's report does: ``file:line:column: what is wrong and the way out``."""

from __future__ import annotations

import re
from pathlib import Path

from service.errors import TemplateError
from sr_templates.language import evidence
from sr_templates.language.condition_faults import condition_faults
from sr_templates.language.faults import Linted, Registered
from sr_templates.language.item_faults import item_faults
from sr_templates.language.labels import missing_labels
from sr_templates.language.loader import Reading, items_of, read_template, section_names, template_names
from sr_templates.language.structure_faults import structure_faults

__all__ = ["Registered", "lint", "missing_labels"]

#: the template whose items the evidence of ``differential.yaml`` names
CANDIDATES_OF = "baseline"
_PLACE = re.compile(r"(.*?):(\d+):(\d+): ")


def lint(name: str, *, names: Registered, folder: Path | None = None) -> tuple[str, ...]:
    """Return every fault of the template ``name``, in the order of files and lines; an empty tuple when it is sound.

    An item with a fault of form (a type that does not exist, say) is not looked at further: what else is wrong with it shows once that
    is mended. No fault is raised.

    Parameters
    ----------
    name:
        The template's name.
    names:
        Names of functions that the template may use.
    folder:
        A folder laid out as this package; by default the package.
    """
    reading = read_template(name, folder)
    found = list(reading.problems)
    if reading.template is not None:
        linted = Linted(
            reading=reading,
            template=reading.template,
            names=names,
            absent=_absent(reading, folder),
            templates=_templates(folder),
        )
        item_faults(linted)
        structure_faults(linted)
        condition_faults(linted)
        found += linted.faults
        # (while an item is not understood, nothing can be said about what names it)
        if name == CANDIDATES_OF and not reading.problems and (folder is None or (folder / evidence.FILE).is_file()):
            found += evidence.lint_candidates(reading.template, folder)
    return tuple(sorted(dict.fromkeys(found), key=_order))


def _order(fault: str) -> tuple[str, int, int]:
    place = _PLACE.match(fault)
    return (place[1], int(place[2]), int(place[3])) if place else ("", 0, 0)


def _absent(reading: Reading, folder: Path | None) -> dict[str, str]:
    """Return the items that the folder has and the template does not, with the reason."""
    if reading.template is None:
        return {}
    there = {s.key for s in reading.template.sections}
    found = {
        key: f"is in section '{section}', which this template does not list"
        for section in section_names(folder)
        if section not in there
        for key in items_of(section, folder)
    }
    found |= {i.key: "is left out ('without')" for i in reading.left_out}
    return {k: why for k, why in found.items() if reading.template.item(k) is None}


def _templates(folder: Path | None) -> tuple[str, ...]:
    try:
        return template_names(folder)
    except TemplateError:
        return ()
