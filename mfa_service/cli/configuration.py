"""`mfa-service config`: show the settings in force, or check a file of them."""

import click

from mfa_service import app
from mfa_service import settings as settings_module
from mfa_service.cli.operator import Operator


@click.group()
def config() -> None:
    """Show the settings in force, or check them."""


@config.command()
@click.option("--defaults", is_flag=True, help="Print the commented defaults instead, as config/default.toml.")
@click.pass_obj
def show(operator: Operator, *, defaults: bool) -> None:
    """Print the settings in force as TOML; secrets are only said to be set or not."""
    click.echo(settings_module.default_toml() if defaults else settings_module.show(operator.settings), nl=False)


@config.command()
@click.pass_obj
def check(operator: Operator) -> None:
    """Check whether this version serves with the settings; a bad one is named and the exit code is 1."""
    app.refuse_unfit(operator.settings)
    click.echo("the settings are good")
