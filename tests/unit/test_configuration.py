"""Settings from file and environment, and what is said when they are wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from service import configuration
from service.configuration import effective, load
from service.errors import ConfigurationError
from service.flow import triage
from service.settings import Settings

ROOT = Path(__file__).parent.parent.parent


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "lms-sr.toml"
    file.write_text(text)
    return file


def test_without_file_and_environment_the_defaults_hold():
    assert load(None, {}) == Settings()


def test_the_environment_comes_before_the_file(tmp_path):
    file = write(tmp_path, "[local]\nport = 104\nae_title = 'FILE'\n")
    settings = load(file, {"LMS_SR_LOCAL__PORT": "105"})
    assert (settings.local.port, settings.local.ae_title) == (105, "FILE")


def test_nodes_come_whole_as_json_and_lists_with_commas():
    settings = load(
        None,
        {
            "LMS_SR_NODES": '[{"name": "A", "ae_title": "A", "from": ["10.0.0.0/8"]}]',
            "LMS_SR_TRIAGE__ALWAYS": "X,Y",
        },
    )
    assert settings.nodes[0].from_ == ("10.0.0.0/8",)
    assert settings.triage.always == ("X", "Y")
    assert settings.node("A") is settings.nodes[0]
    assert settings.node("B") is None


def test_a_secret_may_come_from_a_file(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:hunter2@h/d\n")
    settings = load(None, {"LMS_SR_DATABASE__URL_FILE": str(secret)})
    assert settings.database.url.get_secret_value() == "postgresql://u:hunter2@h/d"
    shown = str(effective(settings))
    assert "hunter2" not in shown
    assert "***@h/d" in shown
    assert "hunter2" not in repr(settings)


def test_passphrase_of_the_key_comes_as_a_variable_or_as_a_file_that_is_read_when_it_is_needed():
    settings = load(None, {"LMS_SR_TLS__CERTIFICATE": "c", "LMS_SR_TLS__KEY_PASSPHRASE": "hunter2"})
    assert settings.tls.key_passphrase.get_secret_value() == "hunter2"
    assert "hunter2" not in str(effective(settings))
    settings = load(None, {"LMS_SR_TLS__CERTIFICATE": "c", "LMS_SR_TLS__KEY_PASSPHRASE_FILE": "/run/secrets/word"})
    assert settings.tls.key_passphrase_file == "/run/secrets/word"
    assert load(None, {"LMS_SR_TLS__CA": "a.pem, b.pem"}).tls.ca == ("a.pem", "b.pem")


def test_variables_that_are_not_ours_are_left_alone():
    assert load(None, {"LMS_SR_SERVICE_HOST": "10.0.0.1", "LMS_SR_PORT": "tcp://x", "OTHER__X": "1"}) == Settings()


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("[local]\nprot = 1\n", {}, ":2: [local] 'prot' is not known: did you mean 'port'?"),
        ("[lokal]\nport = 1\n", {}, ":1: [lokal] is not known: did you mean 'local'?"),
        ("[[nodes]]\nname='A'\nae_title='A'\nhots='x'\n", {}, "[[nodes]] 1: 'hots' is not known: did you mean 'host'?"),
        ("[local]\nport = 70000\n", {}, "[local] port: Input should be less than or equal to 65535"),
        ("[local]\nae_title = 'a title that is too long'\n", {}, "is no AE title"),
        ("[site]\ntimezone = 'Mars'\n", {}, "is no time zone"),
        ("[local\n", {}, "no TOML"),
        ("", {"LMS_SR_LOCAL__PROT": "1"}, "LMS_SR_LOCAL__PROT matches no setting: did you mean 'LMS_SR_LOCAL__PORT'?"),
        ("", {"LMS_SR_LOKAL__PORT": "1"}, "LMS_SR_LOKAL__PORT matches no setting"),
        ("", {"LMS_SR_NODES": "PACS"}, "LMS_SR_NODES is no JSON"),
        ("", {"LMS_SR_NODES": "[1]"}, "JSON list of objects"),
        ("", {"LMS_SR_NODES": '[{"nam": "A"}]'}, "LMS_SR_NODES 1: 'nam' is not known: did you mean 'name'?"),
        ("", {"LMS_SR_DATABASE__URL_FILE": "/nowhere"}, "LMS_SR_DATABASE__URL_FILE: /nowhere cannot be read"),
        ("[[nodes]]\nname='A'\nae_title='A'\n[[nodes]]\nname='A'\nae_title='B'\n", {}, "'A' stands twice"),
        ("[[nodes]]\nname='A'\nae_title='A'\nreports=true\n", {}, "'A' has no port"),
        ("[triage]\nalways=['LMS_SR']\n", {}, "our own title"),
        ("[completion]\nmax_seconds=10\n", {}, "completed by force"),
        ("[local]\ntls_port=2762\n", {}, "[local] tls_port needs a certificate to show: set [tls] certificate"),
        ("[local]\ntls_port=2762\n[tls]\ncertificate='c'\n", {}, "[tls] mutual needs the CAs of those who call"),
        ("[local]\nport=2762\ntls_port=2762\n", {}, "tls_port and port are both 2762"),
        ("[tls]\nkey='k'\n", {}, "[tls] key is of no use without its certificate"),
        ("[tls]\nkey_passphrase='hunter2'\n", {}, "[tls] key is of no use without its certificate"),
        (
            "[tls]\ncertificate='c'\nkey_passphrase='p'\n",
            {"LMS_SR_TLS__KEY_PASSPHRASE_FILE": "f"},
            "key_passphrase and key_passphrase_file are both set",
        ),
        ("[tls]\ncrl=['r']\n", {}, "[tls] crl is of no use without CAs"),
        ("[tls]\nprofile='B.1'\n", {}, "[tls] profile: Input should be 'B.12' or 'B.13'"),
        ("[[nodes]]\nname='A'\nae_title='A'\ntls=true\n", {}, "'A' has tls = true: set [tls] ca"),
        ("[[nodes]]\nname='A'\nae_title='A'\ntls_name='a'\n", {}, "'A' has a tls_name, but we call it without TLS"),
        (
            "[[nodes]]\nname='A'\nae_title='A'\ncertificate=['a']\n",
            {},
            "'A' has to call with a certificate: set [local]",
        ),
        ("[[nodes]]\nname='A'\nae_title='A'\ncertificate=['sha256:ab']\n", {}, "'sha256:ab' is no fingerprint"),
        ("[[nodes]]\nname='A'\nae_title='A'\ncertificate=['ä']\n", {}, "is no name of a certificate"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(tmp_path, text, environ, said):
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text), environ)
    assert said in str(caught.value)


def test_every_problem_is_told_at_once(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, "[local]\nprot = 1\n[sight]\nx = 1\n"), {"LMS_SR_LOCAL__PROT": "1"})
    assert len(str(caught.value).splitlines()) == 3


def test_a_named_file_has_to_exist(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read"):
        load(tmp_path / "none.toml", {})


def test_no_message_shows_a_secret():
    with pytest.raises(ConfigurationError) as caught:
        load(None, {"LMS_SR_DATABASE__URL": "x", "LMS_SR_LOCAL__PORT": "hunter2"})
    assert "hunter2" not in str(caught.value)


def uncommented(text: str) -> dict:
    """Return the settings that the commented file shows."""
    lines = [line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()]
    return tomllib.loads("\n".join(lines))


def test_the_shipped_file_shows_every_setting_with_its_default():
    shown = uncommented(configuration.shipped())
    (node,) = shown.pop("nodes")
    defaults = Settings().model_dump(mode="json", by_alias=True)
    defaults.pop("nodes")
    defaults["database"]["url"] = Settings().database.url.get_secret_value()
    assert shown == defaults
    assert set(node) == set(configuration._keys(configuration.Node))


@pytest.mark.parametrize(("copy", "shipped"), [("lms-sr.toml", configuration.shipped), ("triage.toml", triage.shipped)])
def test_the_copies_in_config_are_the_shipped_files(copy, shipped):
    assert (ROOT / "config" / copy).read_text() == shipped()


def test_the_shipped_file_loads_as_the_defaults():
    assert load(ROOT / "config" / "lms-sr.toml", {}) == Settings()


def test_a_database_url_that_is_none_is_shown_as_such():
    assert configuration.masked("no url") == "(not a URL)"
