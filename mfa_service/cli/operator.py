"""What every command shares: the settings, the registry, and how refusals are printed."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from mfa_service import app, opening
from mfa_service import settings as settings_module
from mfa_service.errors import MfaError
from mfa_service.ports import Clock
from mfa_service.settings import Settings
from mfa_service.stores.sql import Registry

Result = TypeVar("Result")


class RefusalGroup(click.Group):
    """A group whose commands print the service's own errors as one line and exit with 1."""

    def invoke(self, context: click.Context) -> object:
        """Run the command; an `MfaError` becomes its sentence on standard error."""
        try:
            return super().invoke(context)
        except MfaError as error:
            raise click.ClickException(_sentence(error)) from None


def _sentence(error: MfaError) -> str:
    """Return an error's own text, or what its class says where it has none."""
    text = str(error)
    if text:
        return text
    return (type(error).__doc__ or type(error).__name__).splitlines()[0]


async def clock_of(registry: Registry) -> Clock:
    """Return the clock that onboardings and ends of secrets are set by: the database's, whatever this machine's says.

    Raises:
        StoreUnavailable: the database is out of reach.
    """
    return app.DatabaseClock(await registry.now_ms())


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever runs a command, with the settings that hold for it.

    Attributes:
        config_path: the settings file given, if any.
        flags: the settings given on the command line, dotted key → value.
    """

    settings: Settings
    config_path: Path | None
    flags: Mapping[str, object]

    def with_flags(self, flags: Mapping[str, object]) -> "Operator":
        """Return the same operator with more settings given on the command line."""
        merged = {**self.flags, **flags}
        loaded = settings_module.load(config_path=self.config_path, environment=os.environ, flags=merged)
        return Operator(loaded.settings, config_path=self.config_path, flags=merged)

    def refuse_another_issuer(self, reason: str) -> None:
        """Refuse a command that has no meaning where this service does not issue the access tokens.

        Args:
            reason: why not, the end of a sentence.
        """
        if not self.settings.tokens.is_embedded:
            raise click.ClickException(f"access tokens come from {self.settings.tokens.issuer}: {reason}")

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[Registry]:
        """Open the registry of these settings for one command."""
        registry = await opening.open_registry_of(self.settings, clock=app.SystemClock())
        try:
            yield registry
        finally:
            await registry.close()

    def run(self, act: Callable[[Registry], Awaitable[Result]]) -> Result:
        """Run one coroutine function on the registry and return what it gives."""

        async def whole() -> Result:
            async with self.registry() as registry:
                return await act(registry)

        return asyncio.run(whole())
