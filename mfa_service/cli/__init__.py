"""The `mfa-service` command: exit code 0 done, 1 failed, 2 wrong use."""

import os
import sys
from pathlib import Path

import click

from mfa_service import settings as settings_module
from mfa_service.cli.applications import applications
from mfa_service.cli.configuration import config
from mfa_service.cli.database import database
from mfa_service.cli.devices import devices
from mfa_service.cli.keys import keys
from mfa_service.cli.operator import Operator, RefusalGroup
from mfa_service.cli.serving import demo, serve
from mfa_service.ops import logs


@click.group(cls=RefusalGroup)
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="A TOML file of settings.")
@click.option("--set", "flags", multiple=True, metavar="KEY=VALUE", help="One setting, such as challenge.ttl_s=120.")
@click.version_option(package_name="mfa-service")
@click.pass_context
def main(context: click.Context, config_path: Path | None, flags: tuple[str, ...]) -> None:
    """Self-hosted TOTP second factor: serve it, and look after its applications, devices and keys."""
    pairs: dict[str, object] = {}
    for flag in flags:
        key, separator, value = flag.partition("=")
        if not separator:
            raise click.BadParameter(f"{key!r} has no '='; write KEY=VALUE", param_hint="--set")
        pairs[key] = value
    loaded = settings_module.load(config_path=config_path, environment=os.environ, flags=pairs)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    logs.configure(level=loaded.settings.log.level, format=loaded.settings.log.format, stream=sys.stderr)
    context.obj = Operator(loaded.settings, config_path=config_path, flags=pairs)


for command in (applications, config, database, demo, devices, keys, serve):
    main.add_command(command)
