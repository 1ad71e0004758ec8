"""The list of all settings by their dotted keys, as files, flags and the environment name them."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass

from mfa_service.settings.kinds import KIND, Kind
from mfa_service.settings.sections import Settings

PREFIX = "MFA_"


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting in its place.

    Attributes:
        section: the attribute of `Settings` that holds it; empty for one at the top.
        attribute: its own attribute there.
        kind: what it takes.
        default: what holds where nobody says anything.
    """

    section: str
    attribute: str
    kind: Kind
    default: object

    @property
    def name(self) -> str:
        """What the setting is called within its section: the attribute, which a Python keyword ends with `_`."""
        return self.attribute.rstrip("_")

    @property
    def key(self) -> str:
        """The dotted key, such as `http.port`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self) -> str:
        """The environment variable, such as `MFA_HTTP_PORT`."""
        return PREFIX + self.key.replace(".", "_").upper()

    def value_in(self, settings: Settings) -> object:
        """Return what this setting holds, as plain text, number or truth value."""
        holder = getattr(settings, self.section) if self.section else settings
        return self.kind.field.serialize(self.attribute, holder)


def _entries() -> Iterator[Entry]:
    for part in fields(Settings):
        if not is_dataclass(part.type):
            yield _entry("", part)
            continue
        for own in fields(part.type):
            yield _entry(part.name, own)


def _entry(section: str, declared: "Field[object]") -> Entry:
    return Entry(section, declared.name, kind=declared.metadata[KIND], default=declared.default)


CATALOGUE: Mapping[str, Entry] = {entry.key: entry for entry in _entries()}
