"""The command ``lms-sr``: what a person, or a script, asks of the service."""

from __future__ import annotations

from service.cli.commands import app, main

__all__ = ["app", "main"]
