"""A coded concept, PS3.3 Section 8 (code sequence macro)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept.

    Two codes are the same concept when value and scheme agree (`same`); the meaning is for people.
    """

    #: Code Value (0008,0100)
    value: str
    #: Coding Scheme Designator (0008,0102)
    scheme: str
    #: Code Meaning (0008,0104), LO: at most 64 characters
    meaning: str

    def same(self, other: Code) -> bool:
        """Say whether both name the same concept, whatever the wording."""
        return (self.value, self.scheme) == (other.value, other.scheme)
