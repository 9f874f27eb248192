"""LMS-SR: leiomyosarcoma structured reports for the studies that a PACS forwards."""

from __future__ import annotations

__version__ = "0.1.0"
