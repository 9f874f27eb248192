"""Reads the settings: environment, then the file named by ``--config``, then the defaults of `service.settings`.

Unknown keys are errors, in the file as in the environment, and no message shows a secret.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from service.errors import ConfigurationError
from service.settings import Node, Section, Settings

PREFIX = "LMS_SR_"
_FILE = "_FILE"


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings.

    Parameters
    ----------
    path:
        A TOML file, which has to exist when it is named; None: no file. Relative paths in it are relative to the current directory.
    environ:
        The environment: ``LMS_SR_`` + section + ``__`` + key; ``LMS_SR_NODES`` holds all nodes as JSON; ``…_FILE`` names a file that
        holds the value, for secrets.

    Raises
    ------
    ConfigurationError
        Every problem found, a line each, with the key and the way out.
    """
    data = _file(path) if path is not None else {}
    problems = list(_unknown_in_file(data, path))
    for place, value in _from_environment(environ, problems):
        section, _, key = place.partition(".")
        if key:
            data.setdefault(section, {})[key] = value
        else:
            data[section] = value
    if problems:
        raise ConfigurationError("\n".join(problems))
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_said(error, path))) from None
    if problems := list(_contradictions(settings)):
        raise ConfigurationError("\n".join(problems))
    return settings


def shipped() -> str:
    """Return the text of the commented settings file that the package brings: every setting with its default."""
    return resources.files("service").joinpath("lms-sr.toml").read_text(encoding="utf-8")


def effective(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values, without secrets."""
    data = settings.model_dump(mode="json", by_alias=True)
    data["database"]["url"] = masked(settings.database.url.get_secret_value())
    return data


def as_toml(values: Mapping[str, Any]) -> str:
    """Return what `effective` gave as a settings file."""
    lines: list[str] = []
    for name, section in values.items():
        tables = (
            [(f"[[{name}]]", entry) for entry in section] if isinstance(section, list) else [(f"[{name}]", section)]
        )
        for heading, entry in tables:
            lines += [
                heading,
                *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()),
                "",
            ]
    return "\n".join(lines)


def masked(url: str) -> str:
    """Return a database URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "(not a URL)"


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}): name a file that exists, or leave --config out for the defaults"
        raise ConfigurationError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: no TOML: {error}"
        raise ConfigurationError(msg) from error


def _sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _unknown_in_file(data: Mapping[str, Any], path: Path | None) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None else []
    sections = _sections()
    for name, content in data.items():
        if name not in Settings.model_fields:
            yield f"{_place(path, lines, f'[{name}')}[{name}] is not known{_hint(name, tuple(Settings.model_fields))}"
        elif name == "nodes" and isinstance(content, list):
            for number, node in enumerate(content, start=1):
                for key in node if isinstance(node, dict) else ():
                    if key not in _keys(Node):
                        yield f"{_place(path, lines, key)}[[nodes]] {number}: '{key}' is not known{_hint(key, _keys(Node))}"
        elif name in sections and isinstance(content, dict):
            for key in content:
                if key not in _keys(sections[name]):
                    yield f"{_place(path, lines, key)}[{name}] '{key}' is not known{_hint(key, _keys(sections[name]))}"


def _place(path: Path | None, lines: list[str], start: str) -> str:
    for number, line in enumerate(lines, start=1):
        if line.strip().lstrip("[").startswith(start.lstrip("[")):
            return f"{path}:{number}: "
    return f"{path}: " if path else ""


def _hint(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean '{close[0]}'?" if close else f": known are {', '.join(known)}"


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield section.key (or ``nodes``) and value of every variable that is ours."""
    sections = _sections()
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        name, value = variable.removeprefix(PREFIX), environ[variable]
        if name == "NODES":
            yield from _nodes(value, problems)
            continue
        if "__" not in name:
            continue  # not ours: Kubernetes, for one, makes such names from services
        section, key = name.lower().split("__", 1)
        from_file = name.endswith(_FILE) and key not in _known(sections, section)
        key = key.removesuffix(_FILE.lower()) if from_file else key
        if key not in _known(sections, section):
            known = tuple(f"{PREFIX}{s}__{k}".upper() for s, m in sections.items() for k in _keys(m))
            problems.append(f"{variable} matches no setting{_hint(variable, known) if _near(variable, known) else ''}")
            continue
        read = _secret(variable, value, problems) if from_file else value
        if read is not None:
            yield f"{section}.{key}", _typed(sections[section], key, read)


def _near(variable: str, known: tuple[str, ...]) -> bool:
    return bool(difflib.get_close_matches(variable, known, n=1))


def _known(sections: Mapping[str, type[BaseModel]], section: str) -> tuple[str, ...]:
    return _keys(sections[section]) if section in sections else ()


def _nodes(value: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        nodes = json.loads(value)
    except ValueError:
        problems.append(f"{PREFIX}NODES is no JSON: it holds all nodes as a list of objects")
        return
    if not isinstance(nodes, list) or not all(isinstance(n, dict) for n in nodes):
        problems.append(f"{PREFIX}NODES has to be a JSON list of objects")
        return
    for number, node in enumerate(nodes, start=1):
        problems.extend(
            f"{PREFIX}NODES {number}: '{key}' is not known{_hint(key, _keys(Node))}"
            for key in node
            if key not in _keys(Node)
        )
    yield "nodes", nodes


def _secret(variable: str, path: str, problems: list[str]) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{variable}: {path} cannot be read ({getattr(error, 'strerror', None) or 'no text'})")
        return None


def _typed(model: type[BaseModel], key: str, value: str) -> Any:
    """Turn a variable into what the field takes: lists are JSON or words with commas between them; the rest pydantic reads."""
    field = next(f for n, f in model.model_fields.items() if (f.alias or n) == key)
    if "tuple" not in str(field.annotation):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _said(error: ValidationError, path: Path | None) -> Iterator[str]:
    """Say what pydantic found, without the value: it may be a secret."""
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        *above, last = problem["loc"] or ("settings",)
        number = next((int(p) + 1 for p in above if isinstance(p, int)), None)
        section = f"[[nodes]] {number}" if number else f"[{above[0]}]" if above else ""
        yield f"{f'{path}: ' if path else ''}{section} {last}: {problem['msg'].removeprefix('Value error, ')}".replace(
            "  ", " "
        )


def _contradictions(settings: Settings) -> Iterator[str]:
    names = [n.name for n in settings.nodes]
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"[[nodes]] '{name}' stands twice: give each node a name of its own"
    if settings.local.ae_title in settings.triage.always:
        yield (
            f"[triage] always holds '{settings.local.ae_title}', our own title: then every study gets a report; "
            "give the PACS a second title for those that always get one"
        )
    if settings.completion.max_seconds < settings.completion.quiet_seconds:
        yield "[completion] max_seconds is shorter than quiet_seconds: every study would be completed by force"
    yield from _tls_contradictions(settings)
    for node in settings.nodes:
        if (node.reports or node.query) and not node.port:
            yield f"[[nodes]] '{node.name}' has no port: reports and queries need one"


def _tls_contradictions(settings: Settings) -> Iterator[str]:
    local, tls = settings.local, settings.tls
    if local.tls_port:
        if local.tls_port == local.port:
            yield f"[local] tls_port and port are both {local.port}: give TLS a port of its own (2762), or set port = 0"
        if not tls.certificate:
            yield "[local] tls_port needs a certificate to show: set [tls] certificate and key"
        if tls.mutual and not tls.ca:
            yield "[tls] mutual needs the CAs of those who call: set [tls] ca, or mutual = false"
    if (tls.key or tls.key_passphrase_file or tls.key_passphrase.get_secret_value()) and not tls.certificate:
        yield "[tls] key is of no use without its certificate: set [tls] certificate"
    if tls.key_passphrase_file and tls.key_passphrase.get_secret_value():
        yield "[tls] key_passphrase and key_passphrase_file are both set: keep one of them"
    if tls.crl and not tls.ca:
        yield "[tls] crl is of no use without CAs: set [tls] ca"
    for node in settings.nodes:
        if node.tls and not tls.ca:
            yield f"[[nodes]] '{node.name}' has tls = true: set [tls] ca, the CA of its certificate"
        if node.tls_name and not node.tls:
            yield f"[[nodes]] '{node.name}' has a tls_name, but we call it without TLS: set tls = true"
        if node.certificate and not local.tls_port:
            yield f"[[nodes]] '{node.name}' has to call with a certificate: set [local] tls_port"
