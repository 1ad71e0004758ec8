"""Prints the settings as TOML: the commented defaults, and what is in force with its secrets left out."""

import json
from collections.abc import Callable, Iterator
from itertools import groupby

from mfa_service.settings.catalogue import CATALOGUE, Entry
from mfa_service.settings.sections import Settings

_HEAD = """\
# Every setting of mfa-service with its default.
#
# A later source wins: these defaults, the file given by --config or MFA_CONFIG, the environment, flags. Above each
# setting stand what it does, its environment variable and what it takes. A secret is commented out; the second
# variable beside it, ending in _FILE, names a file that holds the value.
"""


def default_toml() -> str:
    """Return the text of `config/default.toml`: every setting with meaning, unit, bounds, variable and default."""
    return _HEAD + "\n" + _print(Settings(), _commented)


def show(settings: Settings) -> str:
    """Return the settings in force as TOML, without anything secret.

    A secret reads `(set)` or `(not set)`; one that is a URL is shown without its credentials and query.
    """
    return _print(settings, _masked)


def _print(settings: Settings, lines_of: Callable[[Entry, object], Iterator[str]]) -> str:
    blocks = []
    for section, entries in groupby(CATALOGUE.values(), key=lambda entry: entry.section):
        lines = [f"[{section}]"] if section else []
        for entry in entries:
            lines.extend(lines_of(entry, entry.value_in(settings)))
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _commented(entry: Entry, value: object) -> Iterator[str]:
    variables = f"{entry.variable} or {entry.variable}_FILE" if entry.kind.secret else entry.variable
    yield f"# {entry.kind.meaning}"
    yield f"# {variables}: {entry.kind.bounds}"
    yield f"{'# ' if entry.kind.secret else ''}{entry.name} = {_literal(value)}"


def _masked(entry: Entry, value: object) -> Iterator[str]:
    shown = _without_secret(str(value)) if entry.kind.secret else value
    yield f"{entry.name} = {_literal(shown)}"


def _without_secret(value: str) -> str:
    """Return what may be seen of a secret: of a URL where it leads, of anything else whether it is there."""
    if not value:
        return "(not set)"
    scheme, separator, rest = value.partition("://")
    if not separator:
        return "(set)"
    # After the last @, for a password may hold any character but is never behind it.
    credentials, _, place = rest.rpartition("@")
    place, query, _ = place.partition("?")
    return f"{scheme}://{'…@' if credentials else ''}{place}{'?…' if query else ''}"


def _literal(value: object) -> str:
    """Return a TOML literal: printable text, whole numbers and truth values are written as in JSON."""
    return json.dumps(value, ensure_ascii=False)
