"""Masks and images to measurements. Every number says how it was made, and what could not be measured says why."""
