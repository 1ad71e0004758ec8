"""Every call while a store is out of reach: 503 10015, and nothing accepted, registered or removed meanwhile."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import pytest

from mfa_service.errors import StoreUnavailable
from mfa_service.stores.memory import MemoryChallenges
from mfa_service.stores.sql.database import Database
from tests.api.service import Caller, Response

CHALLENGES: Mapping[type, tuple[str, ...]] = {MemoryChallenges: ("open", "peek", "settle")}
DATABASE: Mapping[type, tuple[str, ...]] = {
    Database: ("read", "read_batch", "look", "write", "write_batch", "change_batch", "transaction")
}
REFUSED = (503, "10015")


@dataclass(frozen=True)
class Scene:
    """What was there before a store went out of reach."""

    shop: Caller
    code: str
    auth_id: str
    activation_code: str
    activation_id: str


Act = Callable[[Scene], Awaitable[Response]]
NEED_THE_REGISTRY_ALONE: Mapping[str, Act] = {
    "token": lambda scene: scene.shop.service.token_call(data=scene.shop.grant),
    "list": lambda scene: scene.shop.devices(),
    "remove": lambda scene: scene.shop.unpair(),
}
NEED_BOTH: Mapping[str, Act] = {
    "register": lambda scene: scene.shop.pair("Another"),
    "activate": lambda scene: scene.shop.activate(scene.activation_id, scene.activation_code),
    "initiate": lambda scene: scene.shop.initiate(),
    "validate": lambda scene: scene.shop.validate(scene.auth_id, scene.code),
    "validate with a wrong code": lambda scene: scene.shop.validate(scene.auth_id, "000000"),
}
EVERY: Mapping[str, Act] = {**NEED_THE_REGISTRY_ALONE, **NEED_BOTH}


@contextmanager
def out_of_reach(methods: Mapping[type, tuple[str, ...]]) -> Iterator[None]:
    """Let every one of these methods fail."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise StoreUnavailable("out of reach")

    with pytest.MonkeyPatch.context() as patch:
        for kind, names in methods.items():
            for name in names:
                patch.setattr(kind, name, fail)
        yield


@pytest.fixture
async def scene(shop: Caller) -> Scene:
    """A device with an open challenge, and a pending one."""
    phone = await shop.enrolled()
    pending, activation_id = await shop.pending("Tablet")
    return Scene(shop, phone.code(), await shop.challenge(), pending.code(), activation_id)


async def held(scene: Scene) -> tuple[object, ...]:
    """What both stores hold: the devices as the registry has them, and that both codes are still good."""
    rows = [await scene.shop.row(), await scene.shop.row("Tablet")]
    return tuple((row.status, row.last_step, row.failures, row.locked_until_ms) for row in rows)


@pytest.mark.parametrize("name", NEED_BOTH)
async def test_a_call_that_needs_challenges_is_refused_without_them_and_leaves_nothing(scene: Scene, name: str) -> None:
    before = await held(scene)
    with out_of_reach(CHALLENGES):
        answer = await NEED_BOTH[name](scene)
    assert (answer.outcome, answer.headers["Retry-After"]) == (REFUSED, "1")
    assert await held(scene) == before
    assert [device["deviceName"] for device in (await scene.shop.devices()).json] == ["Phone", "Tablet"]
    assert (await scene.shop.validate(scene.auth_id, scene.code)).status == 200


@pytest.mark.parametrize("name", NEED_THE_REGISTRY_ALONE)
async def test_a_call_that_needs_the_registry_alone_is_answered_without_challenges(scene: Scene, name: str) -> None:
    with out_of_reach(CHALLENGES):
        assert (await NEED_THE_REGISTRY_ALONE[name](scene)).status in (200, 204)


@pytest.mark.parametrize("name", EVERY)
async def test_a_call_is_refused_without_the_registry_and_leaves_nothing(scene: Scene, name: str) -> None:
    before = await held(scene)
    with out_of_reach(DATABASE):
        answer = await EVERY[name](scene)
    assert (answer.outcome, answer.headers["Retry-After"]) == (REFUSED, "1")
    assert await held(scene) == before
    assert (await scene.shop.validate(scene.auth_id, scene.code)).status == 200
    assert (await scene.shop.activate(scene.activation_id, scene.activation_code)).status == 200
