"""Report templates as data: codes, sections, templates, and the language they are written in."""

from __future__ import annotations

from sr_templates.codes import CodeTable, load_codes
from sr_templates.language.loader import load_template, template_names
from sr_templates.language.values import Item, ItemType, Need, Section, Template

__all__ = [
    "CodeTable",
    "Item",
    "ItemType",
    "Need",
    "Section",
    "Template",
    "load_codes",
    "load_template",
    "template_names",
]
