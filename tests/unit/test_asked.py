"""What the spool knows of objects that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import StoreUnavailable
from service.store.asked import is_host_name
from service.store.spool import Spool, key_of

KEY, OTHER = key_of("1.2.1"), key_of("1.2.2")


def test_it_is_known_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.prepare()
    spool.asked.remember([KEY])
    spool.asked.remember([KEY])
    again = Spool(tmp_path)
    again.prepare()
    assert (again.asked.knows(KEY), again.asked.knows(OTHER)) == (True, False)


def test_it_makes_no_object(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.prepare()
    spool.asked.remember([KEY])
    assert list(spool.all_keys()) == spool.arrivals() == []


def test_a_disk_that_is_not_there_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "never prepared")
    with pytest.raises(StoreUnavailable, match="cannot be written down: No such file"):
        spool.asked.remember([KEY])


@pytest.mark.parametrize(
    ("address", "name"),
    [("pacs.example", True), ("pacs", True), ("10.0.0.7", False), ("fe80::1", False), ("", False)],
)
def test_only_names_are_names(address: str, name: bool) -> None:
    assert is_host_name(address) is name
