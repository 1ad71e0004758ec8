"""The registry of onboarded applications, by the port's sentences, on every database."""

import asyncio
from dataclasses import replace

import pytest

from mfa_service.errors import ApplicationHasDevices, ApplicationNameTaken, ApplicationNotFound, DeviceNotFound
from mfa_service.model import Application, NewDevice, Owner, SealedSecret, SecretHash, TotpParameters
from tests.contract.sql_stores import BANK, SHOP, Stage

CLUB = Application(
    id="club",
    name="Club",
    client_id="client-club",
    scopes=frozenset({"mfa:enroll", "mfa:authenticate"}),
    disabled=False,
    created_at_ms=3,
    secret_hashes=(SecretHash(b"\x00" * 32), SecretHash(b"\xff" * 32, 1_900_000_000_000)),
)
ALICE = Owner("club", "alice")


async def register(stage: Stage) -> None:
    device = NewDevice("d1", ALICE, "phone", TotpParameters(), SealedSecret("k1", b"sealed"), 7)
    await stage.registry.devices.register(device, pending_ttl_s=900, max_per_user=5)


async def test_an_application_is_read_back_as_it_was_added(stage: Stage) -> None:
    await stage.registry.applications.add(CLUB)
    assert await stage.registry.applications.by_client_id("client-club") == CLUB
    assert await stage.registry.applications.named("client-club") == CLUB
    assert await stage.registry.applications.named("Club") == CLUB


async def test_applications_are_listed_by_name_in_the_order_of_code_points(stage: Stage) -> None:
    await stage.registry.applications.add(replace(CLUB, name="apple"))
    assert [one.name for one in await stage.registry.applications.all()] == ["Bank", "Shop", "apple"]


async def test_a_crowd_of_clients_at_once_each_find_their_own_application(stage: Stage) -> None:
    find = stage.registry.applications.by_client_id
    asked = [SHOP.client_id, BANK.client_id, "nobody"] * 100
    found = await asyncio.gather(*map(find, asked), return_exceptions=True)
    assert found[0::3] == [SHOP] * 100
    assert found[1::3] == [BANK] * 100
    assert {type(one) for one in found[2::3]} == {ApplicationNotFound}


@pytest.mark.parametrize(
    "twin",
    [
        replace(CLUB, name=SHOP.name),
        replace(CLUB, client_id=SHOP.client_id),
        replace(CLUB, name=SHOP.client_id),
        replace(CLUB, client_id=SHOP.name),
    ],
)
async def test_a_name_or_client_id_that_means_another_application_is_refused(stage: Stage, twin: Application) -> None:
    with pytest.raises(ApplicationNameTaken):
        await stage.registry.applications.add(twin)
    assert await stage.registry.applications.all() == [BANK, SHOP]


async def test_of_applications_added_at_once_no_name_is_anothers_client_id(stage: Stage) -> None:
    added = await asyncio.gather(
        stage.registry.applications.add(replace(CLUB, id="c1", name="left", client_id="right")),
        stage.registry.applications.add(replace(CLUB, id="c2", name="right", client_id="left")),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in added) == ["ApplicationNameTaken", "NoneType"]


@pytest.mark.parametrize(
    "text", ["none", "", "Club", "client-Shop", "shop", "nul\0", "lone \ud800 surrogate", "' OR 1=1"]
)
async def test_an_unknown_application_is_not_found(stage: Stage, text: str) -> None:
    with pytest.raises(ApplicationNotFound):
        await stage.registry.applications.by_client_id(text)
    with pytest.raises(ApplicationNotFound):
        await stage.registry.applications.named(text)


async def test_a_name_is_no_client_id(stage: Stage) -> None:
    with pytest.raises(ApplicationNotFound):
        await stage.registry.applications.by_client_id("Shop")


async def test_secrets_are_replaced_as_a_whole(stage: Stage) -> None:
    hashes = (SecretHash(b"\x01" * 32, 5),)
    await stage.registry.applications.set_secrets("shop", hashes)
    assert await stage.registry.applications.named("Shop") == replace(SHOP, secret_hashes=hashes)
    with pytest.raises(ApplicationNotFound):
        await stage.registry.applications.set_secrets("none", hashes)


async def test_an_application_is_disabled_and_enabled_again(stage: Stage) -> None:
    await stage.registry.applications.set_disabled("shop", disabled=True)
    assert (await stage.registry.applications.named("Shop")).disabled
    await stage.registry.applications.set_disabled("shop", disabled=False)
    assert not (await stage.registry.applications.named("Shop")).disabled
    with pytest.raises(ApplicationNotFound):
        await stage.registry.applications.set_disabled("none", disabled=True)


async def test_an_application_with_devices_is_removed_only_when_told_to(stage: Stage) -> None:
    await stage.registry.applications.add(CLUB)
    await register(stage)
    with pytest.raises(ApplicationHasDevices):
        await stage.registry.applications.remove("club", with_devices=False)
    assert (await stage.registry.devices.get("d1")).owner == ALICE
    await stage.registry.applications.remove("club", with_devices=True)
    with pytest.raises(DeviceNotFound):
        await stage.registry.devices.get("d1")
    assert await stage.registry.applications.all() == [BANK, SHOP]
    with pytest.raises(ApplicationNotFound):
        await stage.registry.applications.remove("club", with_devices=True)


async def test_expired_pending_devices_keep_no_application(stage: Stage) -> None:
    await stage.registry.applications.add(CLUB)
    await register(stage)
    await stage.advance(900)
    await stage.registry.applications.remove("club", with_devices=False)
    assert await stage.registry.applications.all() == [BANK, SHOP]


async def test_applications_are_there_after_reopening(stage: Stage) -> None:
    await stage.registry.applications.add(CLUB)
    async with stage.reopened() as again:
        assert await again.applications.all() == [BANK, CLUB, SHOP]
