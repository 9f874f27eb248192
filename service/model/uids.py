"""UIDs that are made of what they stand for, so that doing a thing twice makes no twin (PS3.5 B.2)."""

from __future__ import annotations

import hashlib
import re
import uuid

#: Identifies the coding scheme 99LMSSR in Coding Scheme Identification Sequence (0008,0110).
CODING_SCHEME_UID = "2.25.233814915069190416157287421690870366871"
#: Implementation Class UID (0002,0012) of what this software writes.
IMPLEMENTATION_CLASS_UID = "2.25.281187460112387429064151072946201377402"
#: Implementation Version Name (0002,0013), at most 16 characters.
IMPLEMENTATION_VERSION_NAME = "LMS_SR_0_1"


#: PS3.5 9.1
MAX_UID = 64
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def derived_uid(*parts: str) -> str:
    """Return the UID that stands for ``parts``: the same parts give the same UID on every machine.

    The parts are hashed (SHA-256, length-prefixed so that no two lists collide) into a UUID of version 8
    under the 2.25 arc.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    octets = bytearray(digest.digest()[:16])
    octets[6] = (octets[6] & 0x0F) | 0x80
    octets[8] = (octets[8] & 0x3F) | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(octets)).int}"


def is_uid(text: str) -> bool:
    """Say whether ``text`` is a UID by the grammar of PS3.5 9.1 (leading zeros are let pass: devices write them)."""
    return len(text) <= MAX_UID and _UID.fullmatch(text) is not None
