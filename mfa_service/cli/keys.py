"""`mfa-service keys`: look at the keys in the registry."""

import click

from mfa_service.cli.operator import Operator
from mfa_service.cli.printing import echo_json, echo_table, moment


@click.group()
def keys() -> None:
    """Look at the keys in the registry; no key material is ever printed."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(operator: Operator, *, as_json: bool) -> None:
    """List the keys by purpose and generation."""
    found = operator.run(lambda registry: registry.keys.all())
    rows = [
        {
            "purpose": record.purpose.value,
            "generation": record.generation,
            "id": record.id,
            "algorithm": record.algorithm,
            "created_at": moment(record.created_at_ms),
        }
        for record in found
    ]
    if as_json:
        echo_json(rows)
        return
    echo_table(("PURPOSE", "GENERATION", "ID", "ALGORITHM", "CREATED"), [[str(v) for v in r.values()] for r in rows])
