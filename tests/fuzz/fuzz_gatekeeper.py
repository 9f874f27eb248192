"""Bytes for the gatekeeper: it passes or refuses them, at once, and says what the plain walk says.

``python -m tests.fuzz.fuzz_gatekeeper --seconds 30``. The first byte of an input chooses the encoding, the rest is the data set.
"""

from __future__ import annotations

from tests.dicom_bytes import BIG, CT, EXPLICIT, IMPLICIT, INSTANCE, JPEG2000
from tests.fuzz.driving import drive

#: the longest data set that is made
LONGEST = 2048
SYNTAXES = (EXPLICIT, IMPLICIT, BIG, JPEG2000)


def one_input(data: bytes) -> None:
    """Look at one data set.

    Raises
    ------
    AssertionError
        Something else than a verdict came out, or another one than the plain walk's.
    """
    from service.dimse import gatekeeper  # noqa: PLC0415 - when the fuzzer has made it observable
    from service.errors import Refused  # noqa: PLC0415
    from tests import plain_gatekeeper  # noqa: PLC0415

    if not data:
        return
    syntax = SYNTAXES[data[0] % len(SYNTAXES)]
    data_set = data[1:]
    encoding = {IMPLICIT: plain_gatekeeper.IMPLICIT, BIG: plain_gatekeeper.BIG}.get(syntax, plain_gatekeeper.EXPLICIT)
    plain: object
    quick: object
    status, why = 0, ""
    try:
        found, elements, depth = plain_gatekeeper.walk(data_set, encoding)
        plain = (elements, depth, found.get((0x0008, 0x0018), b"").decode("ascii", "replace").strip("\0 "))
    except Refused as error:
        plain = str(error)
    try:
        scanned = gatekeeper.scan(
            memoryview(data_set), transfer_syntax_uid=syntax, sop_class_uid=CT, sop_instance_uid=INSTANCE
        )
        quick = (scanned.elements, scanned.depth, scanned.sop_instance_uid)
    except Refused as error:
        quick, status, why = str(error), error.status, str(error)
    assert status in (0, 0xA900, 0xC000), hex(status)
    assert len(why) <= 64, why
    # the plain walk does not judge the UIDs
    judged = isinstance(plain, tuple) and "UID" in why
    assert judged or quick == plain, (quick, plain)


def main() -> None:
    """Run."""
    import atheris  # noqa: PLC0415 - Linux on x86-64 only

    with atheris.instrument_imports(include=["service.dimse.gatekeeper"]):
        import service.dimse.gatekeeper  # noqa: F401, PLC0415
    drive("gatekeeper", one_input, LONGEST + 1)


if __name__ == "__main__":
    main()
