"""The kinds of values a setting takes: each makes a dataclass field that carries its marshmallow field.

So a setting is written once, in `mfa_service.settings.sections`: type, default, bounds and meaning together.
"""
# ruff: noqa: ARG002  # the signatures of the methods that are overridden are marshmallow's

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from marshmallow import ValidationError, fields, validate

Value = TypeVar("Value")
KIND = "kind"  # where a dataclass field's metadata holds it


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a setting beside its name and its default.

    Attributes:
        field: checks a value and turns it into the setting's type, and back.
        meaning: what the setting does, with its unit.
        bounds: which values it takes, as a phrase that also follows `must be`.
        secret: whether its value is never shown; it may then come from a file that `…_FILE` names.
    """

    field: fields.Field[Any]
    meaning: str
    bounds: str
    secret: bool

    def from_text(self, text: str) -> object:
        """Return what a text of the environment or the command line stands for, ready to be checked.

        Only `true`, `false` and decimal digits without leading zeros are read; any other text is left as it is.
        """
        if isinstance(self.field, _Switch):
            return {"true": True, "false": False}.get(text, text)
        if isinstance(self.field, fields.Integer) and re.fullmatch(r"0|-?[1-9][0-9]{0,99}", text):
            return int(text)
        return text


def whole(default: int, meaning: str, *, least: int, most: int) -> int:
    """Declare a whole number between two bounds."""
    bounds = f"{least:,} to {most:,}"
    number = fields.Integer(
        strict=True,
        validate=validate.Range(least, most, error=f"must be {bounds}"),
        error_messages={"invalid": "must be a whole number"},
    )
    return _declare(default, number, meaning, bounds=bounds)


def switch(meaning: str, *, default: bool) -> bool:
    """Declare a setting that is on or off."""
    return _declare(default, _Switch(), meaning, bounds="true or false")


def choice(default: str, meaning: str, *, among: tuple[str, ...]) -> str:
    """Declare one of a few words."""
    bounds = f"{', '.join(among[:-1])} or {among[-1]}"
    return _declare(default, _Text(validate=validate.OneOf(among, error=f"must be {bounds}")), meaning, bounds=bounds)


def text(default: str, meaning: str, *, pattern: str, bounds: str, secret: bool = False) -> str:
    """Declare a line of text that matches a pattern as a whole; `bounds` says the pattern in words."""
    matching = validate.Regexp(rf"(?:{pattern})\Z", error=f"must be {bounds}")
    return _declare(default, _Text(validate=matching), meaning, bounds=bounds, secret=secret)


def folder(default: str, meaning: str) -> Path:
    """Declare a folder, relative to the working directory unless absolute."""
    return _declare(Path(default), _Path(validate=_not_empty), meaning, bounds="a path")


def optional_file(meaning: str) -> Path | None:
    """Declare a file, relative to the working directory unless absolute; the default, empty text, names none."""
    return _declare(None, _Path(), meaning, bounds="a path, or empty")


def _declare(default: Value, kind: fields.Field[Any], meaning: str, *, bounds: str, secret: bool = False) -> Value:
    return field(default=default, repr=not secret, metadata={KIND: Kind(kind, meaning, bounds, secret)})


class _Switch(fields.Boolean):
    """True or false and nothing that merely equals them: marshmallow's own field takes 0 and 1 for them."""

    def _deserialize(self, value: object, attr: object, data: object, **kwargs: object) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class _Text(fields.String):
    """One line of text that can be printed, so that no setting breaks a log line, a header or a TOML file."""

    def _deserialize(self, value: object, attr: object, data: object, **kwargs: object) -> str:
        return _line(value)


class _Path(fields.Field["Path | None"]):
    """A path; empty text is none."""

    def _serialize(self, value: Path | None, attr: object, obj: object, **kwargs: object) -> str:
        return "" if value is None else str(value)

    def _deserialize(self, value: object, attr: object, data: object, **kwargs: object) -> Path | None:
        line = _line(str(value) if isinstance(value, Path) else value)
        return Path(line) if line else None


def _line(value: object) -> str:
    if not isinstance(value, str):
        raise ValidationError("must be text")
    if not value.isprintable():
        raise ValidationError("must be one line without control characters")
    return value


def _not_empty(path: Path | None) -> None:
    if path is None:
        raise ValidationError("must not be empty")
