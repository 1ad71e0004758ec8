"""Onboarding, rotation of client secrets, and the table of applications."""

import base64
import hashlib
import os
from dataclasses import replace

import pytest

from mfa_service.access.applications import ApplicationTable, new_application, rotate_secret
from mfa_service.errors import ApplicationNotFound, NameRefused, StoreUnavailable
from mfa_service.model import SecretHash
from tests.clocks import ManualClock
from tests.unit.access.conftest import SCOPES, Access

# Onboarding


def test_a_new_application_has_a_secret_of_256_bits_of_which_it_keeps_the_hash() -> None:
    application, client_secret = new_application("shop", SCOPES, clock=ManualClock(5), random_bytes=os.urandom)
    assert len(base64.urlsafe_b64decode(client_secret + "=")) == 32
    assert application.secret_hashes == (SecretHash(hashlib.sha256(client_secret.encode()).digest()),)
    assert (application.name, application.scopes, application.disabled) == ("shop", SCOPES, False)
    assert application.created_at_ms == 5
    assert client_secret not in repr(application)


def test_no_two_applications_share_an_id_or_a_secret() -> None:
    made = [new_application("shop", SCOPES, clock=ManualClock(), random_bytes=os.urandom) for _ in range(100)]
    assert len({secret for _, secret in made}) == 100
    assert len({one.id for one, _ in made} | {one.client_id for one, _ in made}) == 200


def test_a_client_id_of_another_issuer_is_taken_as_it_is() -> None:
    client_id = "https://shop.example/client"
    application, _ = new_application("shop", SCOPES, clock=ManualClock(), random_bytes=os.urandom, client_id=client_id)
    assert application.client_id == client_id
    assert application.id != client_id


@pytest.mark.parametrize("client_id", ["", "a b", " a", "é", "a\n", "a" * 256, "\0"])
def test_what_no_client_could_send_is_no_client_id(client_id: str) -> None:
    with pytest.raises(NameRefused, match="client id"):
        new_application("shop", SCOPES, clock=ManualClock(), random_bytes=os.urandom, client_id=client_id)


def test_an_application_s_name_follows_the_rules_of_names() -> None:
    with pytest.raises(NameRefused):
        new_application(" shop", SCOPES, clock=ManualClock(), random_bytes=os.urandom)
    application, _ = new_application("cafe\u0301", SCOPES, clock=ManualClock(), random_bytes=os.urandom)
    assert application.name == "caf\u00e9"


async def test_without_a_grace_the_new_secret_is_the_only_one(access: Access) -> None:
    hashes, client_secret = rotate_secret(access.application, grace_s=0, clock=access.clock, random_bytes=os.urandom)
    assert hashes == (SecretHash(hashlib.sha256(client_secret.encode()).digest()),)


def test_a_later_grace_does_not_lengthen_an_earlier_one() -> None:
    clock = ManualClock(1_000_000)
    application, _ = new_application("shop", SCOPES, clock=clock, random_bytes=os.urandom)

    def rotated(hashes: tuple[SecretHash, ...], grace_s: int) -> tuple[SecretHash, ...]:
        holder = replace(application, secret_hashes=hashes)
        return rotate_secret(holder, grace_s=grace_s, clock=clock, random_bytes=os.urandom)[0]

    (first,) = application.secret_hashes
    once = rotated(application.secret_hashes, 10)
    twice = rotated(once, 100)
    assert once[1:] == (SecretHash(first.digest, 1_010_000),)
    assert twice[1:] == (SecretHash(once[0].digest, 1_100_000), SecretHash(first.digest, 1_010_000))
    clock.advance(10)
    assert [one.digest for one in rotated(twice, 1)[1:]] == [twice[0].digest, once[0].digest]


# The table


async def test_an_application_in_the_table_is_found_without_a_query(access: Access) -> None:
    assert await access.table.find(access.application.client_id) == access.application
    assert access.applications.lookups == 0


async def test_an_application_onboarded_since_is_found_in_the_registry(access: Access) -> None:
    new, _ = new_application("new", SCOPES, clock=access.clock, random_bytes=os.urandom)
    await access.applications.add(new)
    for _ in range(10):
        assert await access.table.find(new.client_id) == new
    assert access.applications.lookups == 1


async def test_an_unknown_client_costs_one_query_until_the_table_is_read_again(access: Access) -> None:
    for _ in range(10):
        with pytest.raises(ApplicationNotFound):
            await access.table.find("nobody")
    assert access.applications.lookups == 1
    await access.table.refresh()
    with pytest.raises(ApplicationNotFound):
        await access.table.find("nobody")
    assert access.applications.lookups == 2


async def test_what_changed_holds_after_the_table_is_read_again(access: Access) -> None:
    await access.applications.set_disabled(access.application.id, disabled=True)
    await access.table.refresh()
    assert (await access.table.find(access.application.client_id)).disabled
    await access.applications.remove(access.application.id, with_devices=True)
    await access.table.refresh()
    with pytest.raises(ApplicationNotFound):
        await access.table.find(access.application.client_id)


async def test_a_table_never_read_lets_nobody_in(access: Access) -> None:
    with pytest.raises(StoreUnavailable):
        await ApplicationTable(access.applications, clock=access.clock).find(access.application.client_id)


async def test_a_table_older_than_five_seconds_lets_nobody_in(access: Access) -> None:
    access.applications.out_of_reach = True
    access.clock.advance(5)
    with pytest.raises(StoreUnavailable):
        await access.table.refresh()
    assert await access.table.find(access.application.client_id) == access.application
    access.clock.advance(0.001)
    with pytest.raises(StoreUnavailable, match="out of date"):
        await access.table.find(access.application.client_id)
    access.applications.out_of_reach = False
    await access.table.refresh()
    assert await access.table.find(access.application.client_id) == access.application


async def test_a_query_answered_late_does_not_undo_a_newer_reading(access: Access) -> None:
    new, _ = new_application("new", SCOPES, clock=access.clock, random_bytes=os.urandom)
    await access.applications.add(new)
    by_client_id = access.applications.by_client_id

    async def late(client_id: str) -> object:
        found = await by_client_id(client_id)
        await access.applications.set_disabled(found.id, disabled=True)
        await access.table.refresh()
        return found

    access.applications.by_client_id = late  # type: ignore[method-assign, assignment]  # the same, with a delay
    await access.table.find(new.client_id)
    assert (await access.table.find(new.client_id)).disabled
