"""`mfa-service applications`: onboard applications and look after their secrets."""

import click

from mfa_service.access import applications as onboarding
from mfa_service.app import random_bytes
from mfa_service.cli.arguments import Name
from mfa_service.cli.operator import Operator, clock_of
from mfa_service.cli.printing import echo_fields, echo_json, echo_table, moment
from mfa_service.errors import ApplicationHasDevices, NameRefused
from mfa_service.model import SCOPE_AUTHENTICATE, SCOPE_ENROLL, Application
from mfa_service.stores.sql import Registry

_ALL_SCOPES = (SCOPE_ENROLL, SCOPE_AUTHENTICATE)
_application = click.argument("application", type=Name())
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def applications() -> None:
    """Onboard applications and look after their secrets."""


@applications.command()
@click.argument("name", type=Name())
@click.option("--scope", "scopes", multiple=True, type=click.Choice(_ALL_SCOPES), help="Default: both.")
@click.option("--client-id", help="A client id of your own choice; needed where tokens.issuer is another issuer.")
@_json
@click.pass_obj
def add(operator: Operator, name: str, scopes: tuple[str, ...], client_id: str | None, *, as_json: bool) -> None:
    """Onboard an application and print its client secret, this once; one of another issuer has its secret there."""
    given = frozenset(scopes or _ALL_SCOPES)
    tokens = operator.settings.tokens

    async def act(registry: Registry) -> tuple[Application, str | None]:
        clock = await clock_of(registry)
        client_secret = None
        if client_id is None or tokens.is_embedded:
            application, client_secret = onboarding.new_application(
                name, given, clock=clock, random_bytes=random_bytes, client_id=client_id
            )
        else:
            application = onboarding.application_elsewhere(
                name, given, client_id=client_id, clock=clock, random_bytes=random_bytes
            )
        await registry.applications.add(application)
        return application, client_secret

    if client_id is None and not tokens.is_embedded:
        raise click.UsageError(f"'--client-id' is needed: the id that {tokens.issuer} knows it by")
    try:
        application, client_secret = operator.run(act)
    except NameRefused as refusal:  # the client id: the name has been looked at
        raise click.BadParameter(str(refusal), param_hint="'--client-id'") from None
    if client_secret is not None:
        _show_secret(application, client_secret, as_json=as_json)
    elif as_json:
        echo_json(_as_json(application))
    else:
        echo_fields({"client_id": application.client_id})
        click.echo("It has no secret here: its tokens come from the issuer.", err=True)


@applications.command("list")
@_json
@click.pass_obj
def list_(operator: Operator, *, as_json: bool) -> None:
    """List the applications."""
    found = operator.run(lambda registry: registry.applications.all())
    if as_json:
        echo_json([_as_json(application) for application in found])
        return
    echo_table(
        ("NAME", "CLIENT ID", "SCOPES", "STATUS"),
        [(one.name, one.client_id, " ".join(sorted(one.scopes)), _status(one)) for one in found],
    )


@applications.command()
@_application
@_json
@click.pass_obj
def show(operator: Operator, application: str, *, as_json: bool) -> None:
    """Show an application, named by its client id or its name."""
    found = operator.run(lambda registry: registry.applications.named(application))
    if as_json:
        echo_json(_as_json(found))
        return
    echo_fields(
        {
            "name": found.name,
            "client id": found.client_id,
            "scopes": " ".join(sorted(found.scopes)),
            "status": _status(found),
            "onboarded": moment(found.created_at_ms),
        }
    )


@applications.command("rotate-secret")
@_application
@click.option(
    "--grace-s", type=click.IntRange(min=0), default=0, show_default=True, help="Seconds the old secret stays good."
)
@_json
@click.pass_obj
def rotate_secret(operator: Operator, application: str, grace_s: int, *, as_json: bool) -> None:
    """Give an application a new client secret and print it, this once."""
    operator.refuse_another_issuer("an application's secret is kept there, and rotated there")

    async def act(registry: Registry) -> tuple[Application, str]:
        found = await registry.applications.named(application)
        hashes, client_secret = onboarding.rotate_secret(
            found, grace_s=grace_s, clock=await clock_of(registry), random_bytes=random_bytes
        )
        await registry.applications.set_secrets(found.id, hashes)
        return found, client_secret

    found, client_secret = operator.run(act)
    _show_secret(found, client_secret, as_json=as_json)


@applications.command()
@_application
@click.pass_obj
def disable(operator: Operator, application: str) -> None:
    """Refuse an application's tokens and token calls, within a second everywhere."""
    _set_disabled(operator, application, disabled=True)


@applications.command()
@_application
@click.pass_obj
def enable(operator: Operator, application: str) -> None:
    """Let a disabled application in again."""
    _set_disabled(operator, application, disabled=False)


@applications.command()
@_application
@click.option("--with-devices", is_flag=True, help="Remove its users' devices too; they cannot be brought back.")
@click.pass_obj
def remove(operator: Operator, application: str, *, with_devices: bool) -> None:
    """Remove an application."""

    async def act(registry: Registry) -> Application:
        found = await registry.applications.named(application)
        try:
            await registry.applications.remove(found.id, with_devices=with_devices)
        except ApplicationHasDevices:
            raise ApplicationHasDevices(
                f"{found.name} still has devices: remove them first, or give --with-devices to remove them too"
            ) from None
        return found

    click.echo(f"removed {operator.run(act).name}")


def _set_disabled(operator: Operator, name: str, *, disabled: bool) -> None:
    async def act(registry: Registry) -> Application:
        found = await registry.applications.named(name)
        await registry.applications.set_disabled(found.id, disabled=disabled)
        return found

    click.echo(f"{'disabled' if disabled else 'enabled'} {operator.run(act).name}")


def _show_secret(application: Application, client_secret: str, *, as_json: bool) -> None:
    if as_json:
        echo_json({**_as_json(application), "client_secret": client_secret})
        return
    echo_fields({"client_id": application.client_id, "client_secret": client_secret})
    click.echo("Keep the secret now: only its hash is stored.", err=True)


def _as_json(application: Application) -> dict[str, object]:
    return {
        "name": application.name,
        "client_id": application.client_id,
        "scopes": sorted(application.scopes),
        "disabled": application.disabled,
        "created_at": moment(application.created_at_ms),
    }


def _status(application: Application) -> str:
    return "disabled" if application.disabled else "enabled"
