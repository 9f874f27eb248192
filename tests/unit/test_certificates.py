"""What the files of TLS hold, until when, and what is said as the end comes near."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from service.clock import ManualClock
from service.dimse.certificates import Alarms, Kind, Lapse, fingerprint, keep_watch, lapses
from service.errors import ConfigurationError
from service.settings import Tls
from tests.authority import Authority

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def lapse(kind: Kind = Kind.CERTIFICATE, **left: float) -> Lapse:
    return Lapse(kind=kind, file="cert.pem", number=1, ends=NOW + dt.timedelta(**left))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize(
    ("kind", "left", "alarm"),
    [
        (Kind.CERTIFICATE, {"days": 30, "seconds": 1}, None),
        (Kind.CERTIFICATE, {"days": 30}, 30),
        (Kind.CERTIFICATE, {"days": 7, "seconds": 1}, 30),
        (Kind.CERTIFICATE, {"days": 7}, 7),
        (Kind.CERTIFICATE, {"days": 1, "seconds": 1}, 7),
        (Kind.CERTIFICATE, {"days": 1}, 1),
        (Kind.CERTIFICATE, {"seconds": 0}, 1),
        (Kind.CERTIFICATE, {"seconds": -1}, 0),
        (Kind.CA, {"days": 7}, 7),
        (Kind.CRL, {"days": 7}, None),
        (Kind.CRL, {"hours": 23}, 1),
        (Kind.CRL, {"seconds": -1}, 0),
    ],
)
def test_alarms_ring_30_7_and_1_days_before_and_lists_only_at_the_last(
    kind: Kind, left: dict[str, float], alarm: int | None
) -> None:
    assert lapse(kind, **left).alarm(NOW) == alarm


def test_sentences_name_setting_file_and_day() -> None:
    assert (
        lapse(days=6, hours=2).sentence(NOW) == "[tls] certificate (cert.pem) ends in 6 days, on 2026-06-07 14:00 UTC"
    )
    assert "ends in 1 day, on" in lapse(days=1).sentence(NOW)
    ended = Lapse(kind=Kind.CA, file="ca.pem", number=2, ends=NOW - dt.timedelta(days=3)).sentence(NOW)
    assert ended.startswith("[tls] ca (ca.pem, number 2) has ended on 2026-05-29")
    assert lapse(days=-1).days_left(NOW) == -1


def test_every_certificate_and_list_of_every_file_is_looked_at(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "Other CA")
    both = tmp_path / "both.pem"
    both.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
    lists = tmp_path / "lists.pem"
    lists.write_bytes(authority.crl("a.pem", days=3).read_bytes() + other.crl("b.pem", days=5).read_bytes())
    ours = authority.issue("chain", days=10, sends_ca=True)
    found = lapses(Tls(certificate=str(ours.cert), ca=(str(both),), crl=(str(lists),)))
    now = dt.datetime.now(dt.UTC)
    assert [(f.kind, f.number, f.days_left(now)) for f in found] == [
        (Kind.CERTIFICATE, 1, 9),
        (Kind.CERTIFICATE, 2, 3649),
        (Kind.CA, 1, 3649),
        (Kind.CA, 2, 3649),
        (Kind.CRL, 1, 2),
        (Kind.CRL, 2, 4),
    ]
    assert fingerprint(Tls(certificate=str(ours.cert))) == ours.fingerprint


def test_files_that_are_something_else_are_named_with_the_way_out(authority: Authority, tmp_path: Path) -> None:
    der = tmp_path / "cert.der"
    der.write_bytes(authority.x509.public_bytes(serialization.Encoding.DER))
    der_list = authority.crl("crl.der", encoding=serialization.Encoding.DER)
    nothing = tmp_path / "empty.pem"
    nothing.write_text("-----BEGIN NOTHING-----\n")
    for tls, said in (
        (Tls(ca=("/nowhere/ca.pem",)), r"\[tls\] ca: /nowhere/ca\.pem cannot be read \(No such file"),
        (Tls(ca=(str(der),)), r"is DER: openssl x509 -inform DER -in .*cert\.der"),
        (Tls(certificate=str(nothing)), r"\[tls\] certificate: .*empty\.pem holds no certificate"),
        (Tls(crl=(str(nothing),)), r"\[tls\] crl: .*empty\.pem holds no revocation list"),
        (Tls(crl=(str(der_list),)), r"is DER: openssl crl -inform DER -in .*crl\.der"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            lapses(tls)


def test_alarms_are_told_at_each_step_and_then_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(at=NOW)
    alarms = Alarms(clock, logging.getLogger("lms_sr.tls"))
    caplog.set_level(logging.INFO, "lms_sr")
    ends = NOW + dt.timedelta(days=8)

    def look() -> list[tuple[str, str, int]]:
        caplog.clear()
        alarms.look((Lapse(kind=Kind.CERTIFICATE, file="cert.pem", number=1, ends=ends),))
        return [(r.levelname, r.getMessage(), r.ids["days"]) for r in caplog.records]  # type: ignore[attr-defined]

    assert look() == [("WARNING", "certificate_ends", 8)]
    assert look() == []
    clock.advance(86400)
    assert look() == [("ERROR", "certificate_ends", 7)]
    clock.advance(3600)
    assert look() == []
    clock.advance(86400)
    assert look() == [("ERROR", "certificate_ends", 5)]
    clock.advance(7 * 86400)
    assert look() == [("ERROR", "certificate_ended", -2)]
    # renewed: all is said anew the next time
    ends += dt.timedelta(days=365)
    assert look() == []
    clock.advance(350 * 86400)
    assert look()[0][1] == "certificate_ends"


def test_watch_tells_what_ends_and_survives_a_file_that_is_away(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = authority.issue("watched", days=5)
    stop = threading.Event()
    caplog.set_level(logging.INFO, "lms_sr")
    clock = ManualClock(at=dt.datetime.now(dt.UTC))
    thread = keep_watch(Tls(certificate=str(ours.cert)), clock, stop, seconds=0.01)
    assert thread is not None

    def wait_for(event: str, count: int) -> None:
        for _ in range(1000):
            if sum(r.getMessage() == event for r in caplog.records) >= count:
                return
            stop.wait(0.01)
        pytest.fail(f"{event} was told less than {count} times")

    wait_for("certificate_ends", 1)
    kept = ours.cert.rename(tmp_path / "kept.pem")
    wait_for("certificates_unreadable", 1)
    kept.rename(ours.cert)
    clock.advance(6 * 86400)
    wait_for("certificate_ended", 1)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert sum(r.getMessage() == "certificates_unreadable" for r in caplog.records) == 1


def test_without_files_nothing_is_watched() -> None:
    assert keep_watch(Tls(), ManualClock(), threading.Event()) is None
