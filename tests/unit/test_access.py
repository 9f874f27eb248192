"""Who may associate with us: title and address together, and the answer says which of them failed."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from service.dimse import access
from service.dimse.access import Access, decide, resolve
from service.dimse.tls import PeerCertificate
from service.settings import Local, Node, Settings, Triage

PACS = Node(name="PACS", ae_title="ORTHANC", host="10.0.0.5")
SCANNER = Node.model_validate(
    {
        "name": "CT1",
        "ae_title": "CT1",
        "host": "ct1.example",
        "from": ["10.2.0.0/16", "192.0.2.7", "gw.example"],
        "may": ["store"],
    }
)
SETTINGS = Settings(local=Local(ae_title="LMS_SR"), triage=Triage(always=("LMS_ALWAYS",)), nodes=(PACS, SCANNER))


def names(host: str) -> frozenset[access.Address]:
    return frozenset({ipaddress.ip_address("10.9.9.9")}) if host == "gw.example" else frozenset()


def ask(
    called: str = "LMS_SR",
    calling: str = "ORTHANC",
    address: str = "10.0.0.5",
    operation: access.Operation = "associate",
) -> Access:
    return decide(SETTINGS, called, calling, address, operation, addresses_of=names)


def test_known_peer_may_associate_and_do_what_its_node_says() -> None:
    assert ask() == Access(node=PACS)
    assert ask(operation="store").granted
    assert ask(operation="echo").granted


@pytest.mark.parametrize("called", ["LMS_SR", " LMS_SR  ", "LMS_ALWAYS"])
@pytest.mark.parametrize("calling", ["ORTHANC", "ORTHANC         "])
def test_padding_does_not_count_and_always_titles_are_ours(called: str, calling: str) -> None:
    assert ask(called=called, calling=calling).granted


@pytest.mark.parametrize(
    ("decision", "failed", "reason", "words"),
    [
        (ask(called="ANY-SCP"), "called", 7, ["called AE title 'ANY-SCP'", "LMS_SR"]),
        (ask(called="lms_sr"), "called", 7, ["'lms_sr'"]),
        (ask(called=""), "called", 7, ["called AE title ''"]),
        (ask(calling="STRANGER"), "calling", 3, ["calling AE title 'STRANGER'", "[[nodes]]"]),
        (ask(address="10.0.0.6"), "address", 1, ["address 10.0.0.6", "ORTHANC", "10.0.0.5"]),
        (ask(calling="CT1", address="10.0.0.5"), "address", 1, ["10.2.0.0/16"]),
        (ask(address="garbage"), "address", 1, ["garbage"]),
    ],
)
def test_refusal_names_what_failed(decision: Access, failed: str, reason: int, words: list[str]) -> None:
    assert not decision.granted
    assert decision.failed == failed
    # PS3.8 Table 9-21: rejected permanent, by the service user
    assert (decision.result, decision.source, decision.reason) == (1, 1, reason)
    assert all(word in decision.why for word in words)


def test_operation_that_a_node_may_not_do_is_refused_after_the_association() -> None:
    assert ask(calling="CT1", address="10.2.3.4").node == SCANNER
    refused = ask(calling="CT1", address="10.2.3.4", operation="echo")
    assert (refused.failed, refused.node, refused.granted) == ("operation", SCANNER, False)
    assert "CT1 may not echo" in refused.why


@pytest.mark.parametrize("address", ["10.2.0.1", "10.2.255.254", "192.0.2.7", "10.9.9.9", "::ffff:10.2.0.1"])
def test_from_lists_addresses_networks_and_names(address: str) -> None:
    assert ask(calling="CT1", address=address).granted


def test_from_replaces_the_host() -> None:
    assert not decide(SETTINGS, "LMS_SR", "CT1", "10.9.9.9", addresses_of=lambda _: frozenset()).granted


def test_two_nodes_may_share_a_title() -> None:
    other = Node(name="PACS2", ae_title="ORTHANC", host="10.0.0.7")
    both = Settings(nodes=(PACS, other))
    assert decide(both, "LMS_SR", "ORTHANC", "10.0.0.7").node == other


def test_hostile_titles_cannot_break_a_log_line() -> None:
    assert "\n" not in ask(called="A\nB").why
    assert ask(calling="A\x1b[2J").why.isprintable()


def test_ipv6_scope_does_not_count() -> None:
    node = Node(name="P", ae_title="P", host="fe80::1")
    assert decide(Settings(nodes=(node,)), "LMS_SR", "P", "fe80::1%eth0").granted


def test_names_are_resolved_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def look_up(host: str, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if host == "down.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", ("10.8.0.1", 0)), (socket.AF_INET6, 1, 6, "", ("fe80::1%lo", 0, 0, 1))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(access, "_names", access._Names())
    clock = [100.0]
    monkeypatch.setattr("service.dimse.access.time.monotonic", lambda: clock[0])
    expected = frozenset({ipaddress.ip_address("10.8.0.1"), ipaddress.ip_address("fe80::1")})
    assert resolve("pacs.example") == resolve("pacs.example") == expected
    assert asked == ["pacs.example"]
    clock[0] += 61
    assert resolve("pacs.example") == expected
    assert asked == ["pacs.example"] * 2
    # a resolver that is down does not lock out who was known
    clock[0] += 61
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: look_up("down.example"))
    assert resolve("pacs.example") == expected
    assert resolve("down.example") == frozenset()
    assert resolve("192.0.2.1") == frozenset({ipaddress.ip_address("192.0.2.1")})


SHOWN = PeerCertificate(names=frozenset({"scanner.example"}), fingerprint="sha256:" + "ab" * 32)
OTHER = PeerCertificate(names=frozenset({"other.example", "evil\nname"}), fingerprint="sha256:" + "cd" * 32)
NONE_SHOWN = PeerCertificate()
BOUND = {"name": "SCANNER", "ae_title": "SCANNER", "host": "10.0.0.9"}


def proven(bound_to: list[str], certificate: PeerCertificate | None, address: str = "10.0.0.9") -> Access:
    node = Node.model_validate({**BOUND, "certificate": bound_to})
    return decide(Settings(nodes=(node,)), "LMS_SR", "SCANNER", address, certificate=certificate)


@pytest.mark.parametrize("bound_to", [["scanner.example"], ["else.example", "SHA256:" + ":".join(["AB"] * 32)]])
def test_node_that_names_a_certificate_has_to_show_it(bound_to: list[str]) -> None:
    assert proven(bound_to, SHOWN).granted
    for certificate, said in (
        (None, "SCANNER has to call with TLS"),
        (NONE_SHOWN, "SCANNER has to show its certificate: it showed none"),
        (OTHER, f"(evil?name, other.example, {OTHER.fingerprint}) is not that of node SCANNER: see `certificate`"),
    ):
        decision = proven(bound_to, certificate)
        assert (decision.failed, decision.node) == ("certificate", None)
        # PS3.8 Table 9-21: rejected permanent, by the service user, no reason given
        assert (decision.result, decision.source, decision.reason) == (1, 1, 1)
        assert said in decision.why


@pytest.mark.parametrize("certificate", [None, NONE_SHOWN, SHOWN, OTHER])
def test_node_that_names_no_certificate_is_known_by_title_and_address(certificate: PeerCertificate | None) -> None:
    assert proven([], certificate).granted


def test_certificate_does_not_stand_for_the_address() -> None:
    assert proven(["scanner.example"], SHOWN, address="10.0.0.8").failed == "address"


def test_of_two_nodes_with_a_title_the_certificate_says_which_calls() -> None:
    first, second = (
        Node.model_validate({**BOUND, "name": name, "certificate": [name]}) for name in ("a.example", "scanner.example")
    )
    settings = Settings(nodes=(first, second))
    assert decide(settings, "LMS_SR", "SCANNER", "10.0.0.9", certificate=SHOWN).node == second
    assert "a.example, scanner.example" in decide(settings, "LMS_SR", "SCANNER", "10.0.0.9").why
