"""`mfa-service devices`: look at users' devices and unlock them."""

from collections.abc import Sequence

import click

from mfa_service.cli.arguments import Name
from mfa_service.cli.operator import Operator
from mfa_service.cli.printing import echo_fields, echo_json, echo_table, moment
from mfa_service.errors import NoDevice
from mfa_service.model import Device, DeviceStatus, Owner
from mfa_service.rules import guessing
from mfa_service.stores.sql import Registry

_application = click.option(
    "--application", type=Name(), help="Client id or name; needed where more than one has this user."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


_user = click.argument("user", type=Name())
_device = click.argument("device", type=Name())


@click.group()
def devices() -> None:
    """Look at users' devices, unlock and remove them."""


@devices.command("list")
@_user
@_application
@_json
@click.pass_obj
def list_(operator: Operator, user: str, application: str | None, *, as_json: bool) -> None:
    """List a user's devices."""

    async def act(registry: Registry) -> Sequence[Device]:
        of_user = await registry.devices.all_of(await _owner(registry, user, application))
        if not of_user:
            raise NoDevice
        return of_user

    found = operator.run(act)
    if as_json:
        echo_json([_as_json(device) for device in found])
        return
    echo_table(
        ("DEVICE", "STATUS", "FAILURES", "WAITS", "LAST USED"),
        [(one.name, _status(one), str(one.failures), f"{_wait_s(one)} s", moment(one.last_used_ms)) for one in found],
    )


@devices.command()
@_user
@_device
@_application
@_json
@click.pass_obj
def show(operator: Operator, user: str, device: str, application: str | None, *, as_json: bool) -> None:
    """Explain a device: its status, failures, waits, use and parameters; never its secret."""

    async def act(registry: Registry) -> Device:
        return await registry.devices.find(await _owner(registry, user, application), device)

    found = operator.run(act)
    if as_json:
        echo_json(_as_json(found))
        return
    parameters = found.parameters
    echo_fields(
        {
            "device": found.name,
            "user": found.owner.user_name,
            "status": _status(found),
            "wrong codes in a row": str(found.failures),
            "wrong codes in 30 days": str(guessing.slow_failures(found)),
            "wait left": f"{_wait_s(found)} s",
            "last used": moment(found.last_used_ms),
            "clock drift seen": "-" if found.last_step < 0 else f"{_drift_steps(found):+d} steps",
            "registered": moment(found.created_at_ms),
            "parameters": f"{parameters.algorithm}, {parameters.digits} digits, {parameters.period_s} s",
        }
    )


@devices.command()
@_user
@_device
@_application
@click.pass_obj
def unlock(operator: Operator, user: str, device: str, application: str | None) -> None:
    """Clear a device's wrong codes, wait and block."""

    async def act(registry: Registry) -> None:
        await registry.devices.unlock(await _owner(registry, user, application), device)

    operator.run(act)
    click.echo(f"unlocked {device} of {user}")


@devices.command()
@_user
@_device
@_application
@click.pass_obj
def remove(operator: Operator, user: str, device: str, application: str | None) -> None:
    """Remove a device; it cannot be brought back."""

    async def act(registry: Registry) -> None:
        await registry.devices.remove(await _owner(registry, user, application), device)

    operator.run(act)
    click.echo(f"removed {device} of {user}")


async def _owner(registry: Registry, user: str, application: str | None) -> Owner:
    """Return whose devices are meant, from the registry where no application was named."""
    if application is not None:
        return Owner((await registry.applications.named(application)).id, user)
    owners = await registry.devices.owners_named(user)
    if not owners:
        raise NoDevice
    if len(owners) > 1:
        raise click.UsageError(f"{len(owners)} applications have a user {user}: name one with --application")
    return owners[0]


def _as_json(device: Device) -> dict[str, object]:
    return {
        "user": device.owner.user_name,
        "device": device.name,
        "status": _status(device),
        "failures": device.failures,
        "failures_30_days": guessing.slow_failures(device),
        "wait_s": _wait_s(device),
        "last_used": None if not device.last_used_ms else moment(device.last_used_ms),
        "drift_steps": None if device.last_step < 0 else _drift_steps(device),
        "registered": moment(device.created_at_ms),
        "algorithm": device.parameters.algorithm,
        "digits": device.parameters.digits,
        "period_s": device.parameters.period_s,
    }


def _status(device: Device) -> str:
    return "ACTIVATION_REQUIRED" if device.status is DeviceStatus.PENDING else device.status.value


def _wait_s(device: Device) -> int:
    return max(0, -(-(device.locked_until_ms - device.read_at_ms) // 1000))


def _drift_steps(device: Device) -> int:
    """Return by how many steps the last accepted code was ahead of the matching worker's clock."""
    return device.last_step - device.last_used_ms // (device.parameters.period_s * 1000)
