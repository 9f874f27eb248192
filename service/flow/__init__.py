"""Decisions: pure functions from facts to what should happen."""
