"""What commands take on their command lines."""

import click

from mfa_service import names
from mfa_service.errors import NameRefused


class Name(click.ParamType[str]):
    """The name of a user, a device or an application, or a client id, brought to its stored form."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the canonical name, or fail as wrong use."""
        try:
            return names.canonical(value)
        except NameRefused as refusal:
            self.fail(str(refusal), param, ctx)
