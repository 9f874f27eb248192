"""docker-compose.yml: valid by the compose specification, and every name in it stands for something that is there."""

from __future__ import annotations

import importlib.resources
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from service.configuration import load
from tests.helpers import ROOT

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
#: ${NAME:-default}, the only form that the file uses
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")


def _interpolated() -> dict[str, Any]:
    loaded = yaml.safe_load(VARIABLE.sub(lambda match: match[2], COMPOSE_TEXT))
    assert isinstance(loaded, dict)
    return loaded


COMPOSE = _interpolated()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ORTHANC: dict[str, Any] = json.loads((ROOT / "config/compose/orthanc.json").read_text(encoding="utf-8"))


def _mounts(service: str) -> dict[str, str]:
    """Return what is mounted in a service: path inside, source outside."""
    pairs = (volume.split(":") for volume in SERVICES[service].get("volumes", ()))
    return {inside: source for source, inside, *_ in pairs}


def _inner_port(service: str, variable: str) -> int:
    """Return the port inside the container that is published under ``variable``."""
    raw = yaml.safe_load(COMPOSE_TEXT)["services"][service]["ports"]
    [line] = [port for port in raw if variable in port]
    return int(line.rpartition(":")[2])


def test_it_follows_the_compose_specification() -> None:
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(yaml.safe_load(COMPOSE_TEXT), json.loads(schema.read_text(encoding="utf-8")))
    jsonschema.validate(COMPOSE, json.loads(schema.read_text(encoding="utf-8")))


def test_the_schema_would_notice_a_wrong_key() -> None:
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    broken = {**COMPOSE, "services": {"lms-sr": {**SERVICES["lms-sr"], "read-only": True}}}
    with pytest.raises(jsonschema.ValidationError, match="read-only"):
        jsonschema.validate(broken, json.loads(schema.read_text(encoding="utf-8")))


def test_every_variable_has_its_default_in_the_example() -> None:
    example = dict(
        line.split("=", 1)
        for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert "$" not in VARIABLE.sub("", COMPOSE_TEXT), "write every variable as ${NAME:-default}"
    assert {(name, default) for name, default in VARIABLE.findall(COMPOSE_TEXT)} == set(example.items())


@pytest.mark.parametrize("service", SERVICES)
def test_mounted_files_and_named_volumes_exist(service: str) -> None:
    for source in _mounts(service).values():
        if source.startswith("."):
            assert (ROOT / source).is_file(), f"{source} is mounted but absent"
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_confined_and_watched(service: str) -> None:
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert definition["healthcheck"]["test"][0] == "CMD"
    assert not definition["image"].endswith(":latest")
    assert all(port.startswith("127.0.0.1:") for port in definition.get("ports", ())), "not open to the network unasked"


@pytest.mark.parametrize("service", SERVICES)
def test_references_between_services_are_closed(service: str) -> None:
    definition = SERVICES[service]
    assert set(definition.get("depends_on", ())) <= set(SERVICES)
    assert set(definition.get("networks", ())) <= set(COMPOSE["networks"])
    assert set(definition.get("secrets", ())) <= set(COMPOSE["secrets"])
    for name, value in definition.get("environment", {}).items():
        if name.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in definition["secrets"]


def test_the_script_makes_each_secret_and_both_name_the_same_password(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = [ROOT / "config/compose/make-secrets", str(folder)]
    subprocess.run(script, check=True, capture_output=True)
    wanted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert {path.name for path in folder.iterdir()} == wanted
    assert {Path(secret["file"]).parent for secret in COMPOSE["secrets"].values()} == {Path("secrets")}

    url = urlsplit((folder / "database_url").read_text())
    postgres = SERVICES["postgres"]["environment"]
    assert url.password == (folder / "postgres_password").read_text()
    assert (url.username, url.hostname, url.port, url.path) == (
        postgres["POSTGRES_USER"], "postgres", 5432, "/" + postgres["POSTGRES_DB"],
    )  # fmt: skip
    assert folder.stat().st_mode & 0o077 == 0

    second = subprocess.run(script, check=False, capture_output=True, text=True)
    assert second.returncode == 1
    assert "has secrets already" in second.stderr


def test_the_service_starts_from_its_file_with_the_secret(tmp_path: Path) -> None:
    secret = tmp_path / "database_url"
    secret.write_text("postgresql+psycopg://lms_sr:s3cret@postgres:5432/lms_sr")
    environment = dict(SERVICES["lms-sr"]["environment"])
    environment["LMS_SR_DATABASE__URL_FILE"] = str(secret)
    settings = load(_source_of("lms-sr", "/etc/lms-sr/lms-sr.toml"), environment)
    assert settings.database.url.get_secret_value() == secret.read_text()
    assert settings.storage.spool.is_relative_to("/data"), "the only writable place"
    assert settings.local.bind == "0.0.0.0"
    assert "/data" in _mounts("lms-sr")


def test_the_image_starts_from_its_own_file() -> None:
    settings = load(ROOT / "config/image/lms-sr.toml", {})
    assert settings.storage.spool.is_relative_to("/data")
    assert settings.database.url.get_secret_value().startswith("sqlite:////data/")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"EXPOSE {settings.local.port} {settings.web.port}" in dockerfile
    assert "COPY config/image/lms-sr.toml /etc/lms-sr/lms-sr.toml" in dockerfile
    assert '"--config", "/etc/lms-sr/lms-sr.toml"' in dockerfile


def test_the_pacs_and_the_service_agree_on_each_other() -> None:
    settings = load(_source_of("lms-sr", "/etc/lms-sr/lms-sr.toml"), {})
    [pacs] = settings.nodes
    assert (pacs.ae_title, pacs.host, pacs.port) == (ORTHANC["DicomAet"], "orthanc", ORTHANC["DicomPort"])
    assert pacs.reports
    assert "store" in pacs.may
    [(name, destination)] = ORTHANC["DicomModalities"].items()
    assert destination["Host"] == "lms-sr"
    assert destination["Port"] == settings.local.port
    assert destination["AET"] in {settings.local.ae_title, *settings.triage.always}
    assert destination["AllowStore"], "the report comes back"
    assert destination["AllowFind"] == pacs.query
    shared = set(SERVICES["lms-sr"]["networks"]) & set(SERVICES["orthanc"]["networks"])
    assert shared == {"dicom"}

    script = Path(_source_of("orthanc", ORTHANC["LuaScripts"][0])).read_text(encoding="utf-8")
    constants = dict(re.findall(r"^local ([A-Z]+) = '([^']+)'", script, re.MULTILINE))
    assert constants == {
        "DESTINATION": name,
        "OURS": settings.local.ae_title,
        "MARK": next(iter(ORTHANC["UserMetadata"])),
    }


def test_published_ports_lead_to_listeners() -> None:
    settings = load(_source_of("lms-sr", "/etc/lms-sr/lms-sr.toml"), {})
    nginx = Path(_source_of("ohif", "/etc/lms-sr/nginx.conf")).read_text(encoding="utf-8")
    assert _inner_port("lms-sr", "LMS_SR_DICOM_PORT") == settings.local.port
    assert _inner_port("orthanc", "ORTHANC_DICOM_PORT") == ORTHANC["DicomPort"]
    assert _inner_port("orthanc", "ORTHANC_WEB_PORT") == ORTHANC["HttpPort"]
    assert f"listen {_inner_port('ohif', 'VIEWER_PORT')};" in nginx


def test_the_viewer_asks_where_the_pacs_answers() -> None:
    nginx = Path(_source_of("ohif", "/etc/lms-sr/nginx.conf")).read_text(encoding="utf-8")
    viewer = Path(_source_of("ohif", "/etc/lms-sr/app-config.js")).read_text(encoding="utf-8")
    assert f"proxy_pass http://orthanc:{ORTHANC['HttpPort']};" in nginx
    assert set(SERVICES["ohif"]["networks"]) & set(SERVICES["orthanc"]["networks"]) == {"viewer"}
    roots = dict(re.findall(r"(qidoRoot|wadoRoot|wadoUriRoot): '([^']+)'", viewer))
    dicom_web = ORTHANC["DicomWeb"]["Root"].rstrip("/")
    assert roots == {"qidoRoot": dicom_web, "wadoRoot": dicom_web, "wadoUriRoot": ORTHANC["DicomWeb"]["WadoRoot"]}
    [proxied] = re.findall(r"location ~ (\S+) \{", nginx)
    assert all(re.match(proxied, root) for root in roots.values())
    assert "alias /etc/lms-sr/app-config.js;" in nginx


def _source_of(service: str, inside: str) -> Path:
    return ROOT / _mounts(service)[inside]
