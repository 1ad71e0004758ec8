"""`mfa-service serve` runs the service; `mfa-service demo` walks its three steps."""

import asyncio
import sys
from functools import partial

import click

from mfa_service import app, node
from mfa_service.access import applications as onboarding
from mfa_service.cli import demonstration
from mfa_service.cli.arguments import Name
from mfa_service.cli.operator import Operator, clock_of
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL
from mfa_service.stores.sql import Registry

_SCOPES = frozenset({SCOPE_ENROLL, SCOPE_AUTHENTICATE})


@click.command()
@click.option("--host", help="Address of the API, in place of http.host.")
@click.option("--port", type=int, help="Port of the API, in place of http.port.")
@click.option("--workers", type=int, help="Worker processes, in place of http.workers.")
@click.option(
    "--onboard",
    type=Name(),
    metavar="NAME",
    help="Where there is no application yet, onboard one and print its secret.",
)
@click.pass_obj
def serve(operator: Operator, host: str | None, port: int | None, workers: int | None, onboard: str | None) -> None:
    """Serve the API until SIGTERM or SIGINT."""
    given = {"http.host": host, "http.port": port, "http.workers": workers}
    operator = operator.with_flags({key: value for key, value in given.items() if value is not None})
    app.refuse_unfit(operator.settings)
    if onboard is not None:
        operator.refuse_another_issuer("onboard its applications by `mfa-service applications add --client-id`")
    first = None if onboard is None else partial(operator.run, partial(_onboard, operator, onboard))
    sys.exit(node.serve(operator.settings, first=first))


@click.command()
@click.pass_obj
def demo(operator: Operator) -> None:
    """Walk the three steps against the running service with an authenticator of its own, showing every message."""
    operator.refuse_another_issuer("the demonstration would need an application there")

    async def act() -> None:
        async with operator.registry() as registry:
            application, client_secret = onboarding.new_application(
                f"demonstration {app.random_bytes(4).hex()}",
                _SCOPES,
                clock=await clock_of(registry),
                random_bytes=app.random_bytes,
            )
            await registry.applications.add(application)
            try:
                await demonstration.walk(
                    app.api_url(operator.settings), application.client_id, client_secret, clock=app.SystemClock()
                )
            finally:
                await registry.applications.remove(application.id, with_devices=True)

    asyncio.run(act())


async def _onboard(operator: Operator, name: str, registry: Registry) -> None:
    """Onboard the first application and print its credentials and the calls to try, to standard output alone."""
    if await registry.applications.all():
        return
    application, client_secret = onboarding.new_application(
        name, _SCOPES, clock=await clock_of(registry), random_bytes=app.random_bytes
    )
    await registry.applications.add(application)
    click.echo(
        demonstration.curl_lines(app.api_url(operator.settings), application.client_id, client_secret, application.name)
    )
