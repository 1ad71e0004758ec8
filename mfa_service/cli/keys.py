"""`mfa-service keys`: look at the keys in the registry, replace them, and let old ones go."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import click

from mfa_service import app, opening, sealing
from mfa_service.access import keysets
from mfa_service.cli.operator import Operator
from mfa_service.cli.printing import echo_json, echo_table, moment
from mfa_service.cli.walking import seal_all_anew
from mfa_service.errors import KeyNotFound
from mfa_service.model import KeyPurpose, KeyRecord
from mfa_service.stores.sql import Registry

_LEAD_S = 600
_HEADINGS = ("PURPOSE", "GENERATION", "ID", "ALGORITHM", "STATUS", "ACTIVE FROM", "DEVICES")


@click.group()
def keys() -> None:
    """Look at the keys in the registry and replace them while the service runs; no key material is ever printed."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(operator: Operator, *, as_json: bool) -> None:
    """List the keys by purpose and generation, with which is current and how many devices need it."""

    async def look(registry: Registry) -> tuple[Sequence[KeyRecord], Mapping[str, int], int]:
        return await registry.keys.all(), await registry.sealed_devices.per_key(), await registry.now_ms()

    records, needed, now_ms = operator.run(look)
    rows = [
        {
            "purpose": record.purpose.value,
            "generation": record.generation,
            "id": record.id,
            "algorithm": record.algorithm,
            "status": _status(record, records, now_ms),
            "created_at": moment(record.created_at_ms),
            "active_from": moment(max(record.active_from_ms, record.created_at_ms)),
            "devices": needed.get(record.id, 0) if record.purpose is KeyPurpose.SEALING else None,
        }
        for record in records
    ]
    if as_json:
        echo_json(rows)
        return
    names = [heading.lower().replace(" ", "_") for heading in _HEADINGS]
    echo_table(_HEADINGS, [["" if row[name] is None else str(row[name]) for name in names] for row in rows])


@keys.group()
def rotate() -> None:
    """Let a new key take over from the current one; the service need not be restarted."""


@rotate.command()
@click.option(
    "--algorithm",
    type=click.Choice(("RS256", "ES256", "EdDSA")),
    help="How the new key signs, in place of tokens.signing_algorithm.",
)
@click.option(
    "--lead-s",
    type=click.IntRange(0, 86_400),
    default=_LEAD_S,
    show_default=True,
    help="Seconds that the new key is published before it signs. The service's own workers need one; others that "
    "verify its tokens keep a key set for some minutes. 0 where the current key has leaked. A registry's first key "
    "signs at once.",
)
@click.pass_obj
def signing(operator: Operator, algorithm: str | None, lead_s: int) -> None:
    """Publish a new token-signing key, which signs after a lead; tokens signed before stay good to their end."""
    operator.refuse_another_issuer("no key of this service signs")
    material = keysets.new_signing_key(algorithm or operator.settings.tokens.signing_algorithm)
    record = operator.run(lambda registry: _rotate(operator, registry, KeyPurpose.SIGNING, material, lead_s=lead_s))
    from_when = f"from {moment(record.active_from_ms)} on" if record.active_from_ms else "from now on"
    click.echo(f"{record.id} is published and signs {from_when}")


@rotate.command("sealing")
@click.pass_obj
def sealing_(operator: Operator) -> None:
    """Seal new secrets with a new key, within a second on every worker; `keys reseal` does so with the old ones."""
    material = sealing.new_sealing_key(app.random_bytes)
    record = operator.run(lambda registry: _rotate(operator, registry, KeyPurpose.SEALING, material, lead_s=0))
    click.echo(f"{record.id} seals from now on")


@keys.command()
@click.pass_obj
def reseal(operator: Operator) -> None:
    """Seal every device's secret with the current key, while the service runs; stopped, it goes on when run again."""

    async def act(registry: Registry) -> Sequence[str]:
        async with _keyring(operator, registry) as keyring:
            return await seal_all_anew(registry.sealed_devices, keyring)

    damaged = operator.run(act)
    if damaged:
        listed = ", ".join(damaged)
        raise click.ClickException(f"the secrets of these devices do not open and stay as they are: {listed}")
    click.echo("every device's secret is sealed with the current key")


@keys.command(context_settings={"ignore_unknown_options": True})  # a thumbprint may begin with a hyphen
@click.argument("key_id")
@click.option(
    "--revoke-tokens",
    is_flag=True,
    help="Let a signing key go with the tokens that it has signed, which count no more: for a key that has leaked.",
)
@click.pass_obj
def retire(operator: Operator, key_id: str, *, revoke_tokens: bool) -> None:
    """Remove a key for good; refused for a current one, and while a device or a token may need it."""

    async def act(registry: Registry) -> None:
        purposes = {record.id: record.purpose for record in await registry.keys.all()}
        if key_id not in purposes:
            raise KeyNotFound
        superseded_for_ms = sealing.retirement_ms(purposes[key_id], revoke_tokens=revoke_tokens)
        await registry.keys.retire(key_id, superseded_for_ms=superseded_for_ms)

    operator.run(act)
    click.echo(f"retired {key_id}")


def _status(record: KeyRecord, records: Sequence[KeyRecord], now_ms: int) -> str:
    now = sealing.current((one for one in records if one.purpose is record.purpose), now_ms)
    if record.generation == now.generation:
        return "current"
    return "next" if record.generation > now.generation else "old"


@asynccontextmanager
async def _keyring(operator: Operator, registry: Registry) -> AsyncIterator[sealing.Keyring]:
    clock = app.DatabaseClock(await registry.now_ms())
    async with opening.open_keyring(operator.settings, registry, clock=clock, random_bytes=app.random_bytes) as keyring:
        yield keyring


async def _rotate(
    operator: Operator, registry: Registry, purpose: KeyPurpose, material: sealing.KeyMaterial, *, lead_s: int
) -> KeyRecord:
    async with _keyring(operator, registry) as keyring:
        # Without a lead it holds for every node that has read it, whatever the node's clock says. So does a first key:
        # there is none that could go on meanwhile.
        has_lead = lead_s and keyring.records(purpose)
        active_from_ms = await registry.now_ms() + lead_s * 1000 if has_lead else 0
        return await sealing.rotate(keyring, purpose, material, active_from_ms=active_from_ms)
