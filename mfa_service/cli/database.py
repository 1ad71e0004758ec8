"""`mfa-service database`: bring the schema up to date, or check it."""

import asyncio

import click

from mfa_service import opening
from mfa_service.cli.operator import Operator
from mfa_service.stores.sql import Registry


@click.group()
def database() -> None:
    """Bring the database's schema up to date, or check it."""


@database.command()
@click.pass_obj
def upgrade(operator: Operator) -> None:
    """Bring the schema to this version's; run it once, before the first node of this version starts."""
    asyncio.run(opening.upgrade_database(operator.settings))
    click.echo("the schema is up to date")


@database.command()
@click.pass_obj
def check(operator: Operator) -> None:
    """Check that the database answers and its schema fits this version."""

    async def act(registry: Registry) -> None:
        await registry.ping()
        await registry.check_schema()

    operator.run(act)
    click.echo("the database answers and its schema fits")
