"""Reads the settings: defaults, then a TOML file, then the environment, then flags; the later one wins."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from marshmallow import ValidationError

from mfa_service.errors import SettingsInvalid
from mfa_service.settings import secret_files
from mfa_service.settings.catalogue import CATALOGUE, PREFIX
from mfa_service.settings.sections import Settings

CONFIG_VARIABLE = "MFA_CONFIG"
_TEST_PREFIX = "MFA_TEST_"
_FILE_SUFFIX = "_FILE"
_BY_VARIABLE = {entry.variable: entry for entry in CATALOGUE.values()}
_BY_FILE_VARIABLE = {entry.variable + _FILE_SUFFIX: entry for entry in CATALOGUE.values() if entry.kind.secret}


class Loaded(NamedTuple):
    """The settings that hold, and what to tell the operator about where they came from, a sentence each."""

    settings: Settings
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class _Given:
    """A value somebody gave; `origin` names source and key, for messages."""

    key: str
    value: object = field(repr=False)
    origin: str


def load(*, config_path: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """Read the settings from all their sources.

    Args:
        config_path: the TOML file; where None, `MFA_CONFIG` of the environment names it, if anything does.
        environment: `MFA_<SECTION>_<KEY>` → text, and for secrets `MFA_<SECTION>_<KEY>_FILE` → path of a file that
            holds the value; the exact variable wins. Other variables are left alone.
        flags: dotted key → value; a text is read as the environment's are, and None counts as not given.

    Returns:
        The settings and the warnings, one for each `MFA_…` variable that is no setting (`MFA_TEST_…` aside), and for
        each secret's file that is open to others.

    Raises:
        SettingsInvalid: a file cannot be read, a key is unknown, a value is bad or contradicts another; the text is
            one line, names source and key and repeats no value.
    """
    path = config_path or environment.get(CONFIG_VARIABLE)
    given = [*(_from_file(Path(path)) if path else ()), *_from_environment(environment), *_from_flags(flags)]
    values = {key: entry.default for key, entry in CATALOGUE.items()}
    origins: dict[str, str] = {}
    for one in given:
        values[one.key] = _checked(one)
        origins[one.key] = one.origin
    settings = _assemble(values)
    _refuse_contradictions(settings, origins)
    return Loaded(settings, list(_warnings(environment)))


def _from_file(path: Path) -> Iterator[_Given]:
    source = f"file {_visible(str(path))}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{source}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"{source}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{source}: {_visible(str(error))}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; nesting as deep as that
        raise SettingsInvalid(f"{source}: has a longer number or deeper nesting than is read") from None
    sections = {entry.section for entry in CATALOGUE.values()}
    for name, value in table.items():
        if name in sections and isinstance(value, dict):
            for inner, inner_value in value.items():
                yield _Given(f"{name}.{inner}", inner_value, f"{source}: {_visible(f'{name}.{inner}')}")
        else:
            yield _Given(name, value, f"{source}: {_visible(name)}")


def _from_environment(environment: Mapping[str, str]) -> Iterator[_Given]:
    for variable, entry in _BY_FILE_VARIABLE.items():
        if variable in environment and entry.variable not in environment:
            origin = f"environment variable {variable}"
            yield _Given(entry.key, secret_files.content(Path(environment[variable]), origin), origin)
    for variable, entry in _BY_VARIABLE.items():
        if variable in environment:
            value = entry.kind.from_text(environment[variable])
            yield _Given(entry.key, value, f"environment variable {variable}")


def _from_flags(flags: Mapping[str, object]) -> Iterator[_Given]:
    for key, value in flags.items():
        if value is not None:
            entry = CATALOGUE.get(key)
            read = entry.kind.from_text(value) if entry and isinstance(value, str) else value
            yield _Given(key, read, f"flag {_visible(key)}")


def _checked(given: _Given) -> object:
    entry = CATALOGUE.get(given.key)
    if entry is None:
        raise SettingsInvalid(f"{given.origin}: there is no such setting")
    try:
        return entry.kind.field.deserialize(given.value)
    except ValidationError as error:
        raise SettingsInvalid(f"{given.origin}: {' '.join(error.messages)}") from None


def _assemble(values: Mapping[str, object]) -> Settings:
    by_section: dict[str, dict[str, Any]] = {}
    for key, entry in CATALOGUE.items():
        by_section.setdefault(entry.section, {})[entry.attribute] = values[key]
    parts = by_section.pop("")
    for part in fields(Settings):
        if is_dataclass(part.type) and isinstance(part.type, type):
            parts[part.name] = part.type(**by_section[part.name])
    return Settings(**parts)


class _Contradiction(NamedTuple):
    """Two settings that cannot hold together; the keys are those to name, the likelier culprit first."""

    keys: tuple[str, str]
    found: Callable[[Settings], bool]
    sentence: str


_CONTRADICTIONS = (
    _Contradiction(
        ("http.workers", "redis.url"),
        lambda settings: settings.http.workers > 1 and not settings.redis.url,
        "more than one of http.workers needs Redis, where workers share their challenges: set redis.url",
    ),
    _Contradiction(
        ("guessing.disable_after", "guessing.free_failures"),
        lambda settings: settings.guessing.disable_after < settings.guessing.free_failures,
        "guessing.disable_after must be at least guessing.free_failures",
    ),
    _Contradiction(
        ("guessing.longest_wait_s", "guessing.first_wait_s"),
        lambda settings: settings.guessing.longest_wait_s < settings.guessing.first_wait_s,
        "guessing.longest_wait_s must be at least guessing.first_wait_s",
    ),
    _Contradiction(
        ("quota.burst", "quota.requests_per_s"),
        lambda settings: settings.quota.requests_per_s > 0 and settings.quota.burst < 1,
        "quota.burst must be at least 1 where quota.requests_per_s sets a limit",
    ),
    _Contradiction(
        ("tokens.issuer", "tokens.audience"),
        lambda settings: not settings.tokens.is_embedded and not settings.tokens.audience,
        "another tokens.issuer needs tokens.audience: what its tokens for this service name as aud",
    ),
    _Contradiction(
        ("keys.provider", "vault.address"),
        lambda settings: (
            settings.keys.provider == "vault-transit" and not (settings.vault.address and settings.vault.token)
        ),
        "keys.provider vault-transit needs vault.address and vault.token",
    ),
    _Contradiction(
        ("keys.root", "keys.provider"),
        lambda settings: settings.keys.provider != "root-key" and bool(settings.keys.root),
        "keys.root is of no use where keys.provider is not root-key: leave it empty",
    ),
)


def _refuse_contradictions(settings: Settings, origins: Mapping[str, str]) -> None:
    for keys, found, sentence in _CONTRADICTIONS:
        if found(settings):
            origin = next(origins[key] for key in keys if key in origins)  # the defaults agree with one another
            raise SettingsInvalid(f"{origin}: {sentence}")


def _warnings(environment: Mapping[str, str]) -> Iterator[str]:
    known = {CONFIG_VARIABLE, *_BY_VARIABLE, *_BY_FILE_VARIABLE}
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and not variable.startswith(_TEST_PREFIX) and variable not in known:
            yield f"environment variable {_visible(variable)} is no setting and was ignored"
    for variable, entry in _BY_FILE_VARIABLE.items():
        if variable in environment and entry.variable not in environment:
            warning = secret_files.warning(Path(environment[variable]), f"environment variable {variable}")
            if warning is not None:
                yield warning


def _visible(text: str) -> str:
    """Return a text of the outside as one line that shows what would break it."""
    return text.encode("unicode_escape").decode("ascii")
