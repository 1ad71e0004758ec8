"""The keys of another issuer over time: when it is asked, and what holds while it fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog
from joserfc.jwk import ECKey
from structlog.testing import capture_logs

from mfa_service.access.outside import IssuerKeys
from mfa_service.access.outside.documents import Document, Unusable
from mfa_service.errors import StoreUnavailable
from tests.clocks import ManualClock

ISSUER = "https://issuer.example"
METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
OPENID = f"{ISSUER}/.well-known/openid-configuration"
KEYS = f"{ISSUER}/keys"
EC = {kid: ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=False) for kid in ("old", "new", "other")}


class Issuer:
    """Publishes keys.

    Attributes:
        kids: of the keys that it publishes.
        name: what its metadata calls it.
        max_age_s: what it says of its keys.
        trouble: why its keys cannot be had.
        keys_url: where they are, as its metadata has it.
        fault: what asking it raises that nothing should.
        asked: the URLs, in order.
        answers: clear, it does not answer.
    """

    def __init__(self) -> None:
        self.kids: Sequence[str] = ["old"]
        self.name = ISSUER
        self.max_age_s: int | None = None
        self.trouble: str | None = None
        self.keys_url = KEYS
        self.fault: Exception | None = None
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, url: str) -> Document:
        self.asked.append(url)
        await self.answers.wait()
        if self.fault is not None:
            raise self.fault
        if url == METADATA:
            return Document(json.dumps({"issuer": self.name, "jwks_uri": self.keys_url}).encode(), 0)
        if url == OPENID:
            raise Unusable("answers 404")
        if self.trouble is not None:
            raise Unusable(self.trouble)
        kids = self.kids if url == self.keys_url else ["old"]
        return Document(json.dumps({"keys": [EC[kid] for kid in kids]}).encode(), self.max_age_s)

    @property
    def looks(self) -> int:
        """How often its keys were asked for."""
        return self.asked.count(KEYS)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def keys(issuer: Issuer, clock: ManualClock) -> AsyncIterator[IssuerKeys]:
    """The issuer's keys, not read yet."""
    opened = IssuerKeys(ISSUER, fetch=issuer, clock=clock)
    yield opened
    await opened.close()


async def seconds(clock: ManualClock, keys: IssuerKeys, count: int) -> None:
    """Let so many seconds pass, with what a process does in each."""
    for _ in range(count):
        clock.advance(1)
        await keys.refresh()


# At first


async def test_keys_are_known_once_they_have_been_read(issuer: Issuer, keys: IssuerKeys) -> None:
    with pytest.raises(StoreUnavailable):
        await keys.find("old")
    assert issuer.asked == []
    await keys.start()
    found = keys.get("old")
    assert found is not None
    assert (found.kid, found.algorithm) == ("old", "ES256")
    assert await keys.find("old") is found


async def test_a_start_waits_a_moment_for_an_issuer_that_does_not_answer(
    issuer: Issuer, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfa_service.access.outside.keys._PATIENCE_S", 0.01)
    issuer.answers.clear()
    async with asyncio.timeout(1):
        await keys.start()
    assert keys.obstacle == "starting"
    with pytest.raises(StoreUnavailable):
        await keys.find("old")
    issuer.answers.set()
    await keys.refresh()
    assert keys.get("old") is not None


async def test_an_issuer_that_is_away_at_first_is_asked_again_every_five_seconds(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    issuer.trouble = "is out of reach"
    await keys.start()
    assert keys.obstacle == "is out of reach"
    with pytest.raises(StoreUnavailable):
        await keys.find("old")
    assert issuer.looks == 1
    await seconds(clock, keys, 60)
    assert issuer.looks == 13
    issuer.trouble = None
    await seconds(clock, keys, 5)
    assert keys.obstacle is None


async def test_an_issuer_that_names_itself_otherwise_is_not_used(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    issuer.name = f"{ISSUER}/"
    with capture_logs() as lines:
        await keys.start()
        await seconds(clock, keys, 5)
    assert [(line["event"], line["expected_issuer"], line["named_issuer"]) for line in lines] == [
        ("issuer_unusable", ISSUER, f"{ISSUER}/")
    ]
    assert keys.obstacle == "its metadata names another issuer"
    assert issuer.looks == 0
    issuer.name = ISSUER
    await seconds(clock, keys, 5)
    assert keys.obstacle is None


async def test_an_issuer_without_a_key_that_verifies_is_told_of(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.kids = []
    await keys.start()
    assert keys.obstacle == "publishes no key that verifies tokens"
    with pytest.raises(StoreUnavailable):
        await keys.find("old")


# Fresh keys


@pytest.mark.parametrize(
    ("max_age_s", "fresh_s"), [(None, 280), (0, 60), (1, 60), (60, 60), (120, 120), (300, 280), (10**9, 280)]
)
async def test_keys_are_read_again_when_the_issuer_says_so_within_bounds(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys, max_age_s: int | None, fresh_s: int
) -> None:
    issuer.max_age_s = max_age_s
    await keys.start()
    await seconds(clock, keys, fresh_s - 1)
    assert issuer.looks == 1
    await seconds(clock, keys, 1)
    assert issuer.looks == 2


async def test_a_removed_key_is_gone_within_five_minutes_and_the_others_are_the_same_objects(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    issuer.kids = ["old", "other"]
    await keys.start()
    old, other = keys.get("old"), keys.get("other")
    issuer.kids = ["new", "other"]
    await seconds(clock, keys, 279)
    assert keys.get("old") is old
    await seconds(clock, keys, 1)
    assert keys.get("old") is None
    assert keys.get("other") is other is not None
    assert keys.get("new") is not None
    assert await keys.find("old") is None


async def test_another_key_of_the_same_id_is_another_object(
    clock: ManualClock, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keys.start()
    old = keys.get("old")
    monkeypatch.setitem(EC, "old", {**EC["new"], "kid": "old"})
    await seconds(clock, keys, 280)
    assert keys.get("old") is not None
    assert keys.get("old") is not old


async def test_metadata_is_read_again_every_hour(issuer: Issuer, clock: ManualClock, keys: IssuerKeys) -> None:
    await keys.start()
    await seconds(clock, keys, 3_600)
    assert issuer.asked.count(METADATA) == 1
    await seconds(clock, keys, 280)
    assert issuer.asked.count(METADATA) == 2


# A key id that is not known


async def test_a_new_key_is_found_by_one_look_for_all_who_ask(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    issuer.kids = ["old", "new"]
    clock.advance(30)
    issuer.answers.clear()
    waiting = [asyncio.ensure_future(keys.find("new")) for _ in range(100)]
    await asyncio.sleep(0)
    known = await asyncio.wait_for(keys.find("old"), 0.1)
    assert known is not None
    issuer.answers.set()
    found = await asyncio.gather(*waiting)
    assert found == [keys.get("new")] * 100 != [None] * 100
    assert issuer.looks == 2


async def test_no_look_is_begun_within_the_cool_down_of_the_last(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    for second in range(300):
        for number in range(20):
            assert await keys.find(f"nobody's {second} {number}") is None
            assert await keys.find(f"nobody's-{second}-{number}") is None
        await seconds(clock, keys, 1)
    assert issuer.looks <= 1 + 300 / 30


async def test_a_key_that_a_look_under_way_came_too_early_for_is_found_when_the_cool_down_is_over(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    clock.advance(280)
    issuer.answers.clear()
    reading = asyncio.ensure_future(keys.refresh())
    while issuer.looks == 1:  # noqa: ASYNC110  until the look has begun
        await asyncio.sleep(0)
    joined = asyncio.ensure_future(keys.find("new"))
    await asyncio.sleep(0)
    clock.advance(10)
    issuer.answers.set()
    await reading
    issuer.kids = ["old", "new"]
    assert await joined is None
    clock.advance(19)
    assert await keys.find("new") is None
    assert issuer.looks == 2
    clock.advance(1)
    assert await keys.find("new") is not None


@pytest.mark.parametrize("kid", ["", "a b", "x" * 257, "\0", "\u00e9", "new\n", "\ud800"])
async def test_what_is_no_key_id_is_not_looked_for(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys, kid: str
) -> None:
    await keys.start()
    clock.advance(100)
    assert await keys.find(kid) is None
    assert issuer.looks == 1


async def test_whoever_asks_for_a_new_key_waits_a_moment_at_most_and_the_look_goes_on(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keys.start()
    monkeypatch.setattr("mfa_service.access.outside.keys._PATIENCE_S", 0.01)
    issuer.kids = ["new"]
    clock.advance(30)
    issuer.answers.clear()
    async with asyncio.timeout(1):
        assert await keys.find("new") is None
    issuer.answers.set()
    await keys.refresh()
    assert keys.get("new") is not None


async def test_whoever_gives_up_waiting_does_not_end_the_look(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    issuer.kids = ["new"]
    clock.advance(30)
    issuer.answers.clear()
    waiting = asyncio.ensure_future(keys.find("new"))
    await asyncio.sleep(0)
    waiting.cancel()
    issuer.answers.set()
    await keys.refresh()
    assert keys.get("new") is not None


# An issuer that fails


async def test_the_last_good_keys_count_while_the_issuer_fails_and_it_is_asked_twice_a_minute(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    old = keys.get("old")
    issuer.trouble = "answers 500"
    with capture_logs() as lines:
        await seconds(clock, keys, 3_600)
        assert keys.get("old") is old is not None
        assert keys.obstacle is None
        assert issuer.looks <= 1 + 2 * 60
        issuer.trouble = None
        await seconds(clock, keys, 30)
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("issuer_unusable", "answers 500"),
        ("issuer_answers_again", None),
    ]
    assert keys.get("old") is old


@pytest.mark.parametrize("published", [[], ["shared"]])
async def test_a_key_set_without_a_key_that_verifies_is_a_failure_and_the_last_good_one_counts(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch, published: Sequence[str]
) -> None:
    monkeypatch.setitem(EC, "shared", {"kty": "oct", "kid": "shared", "k": "AAAA"})
    await keys.start()
    old = keys.get("old")
    issuer.kids = published
    with capture_logs() as lines:
        await seconds(clock, keys, 3_600)
        assert keys.get("old") is old is not None
        assert keys.obstacle is None
        assert issuer.looks <= 1 + 2 * 60
        issuer.kids = ["new"]
        await seconds(clock, keys, 30)
    assert [line["event"] for line in lines] == ["issuer_unusable", "issuer_keys_changed", "issuer_answers_again"]
    assert lines[0]["reason"] == "publishes no key that verifies tokens"
    assert lines[0]["ignored"] == ({"a type that is not taken": 1} if published else {})
    assert (keys.get("old"), keys.get("new") is None) == (None, False)


async def test_an_unknown_key_is_refused_without_a_look_while_the_issuer_fails(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    issuer.trouble = "answers 500"
    clock.advance(30)
    assert await keys.find("new") is None
    looks = issuer.looks
    issuer.answers.clear()
    clock.advance(30)
    reading = asyncio.ensure_future(keys.refresh())
    await asyncio.sleep(0)
    async with asyncio.timeout(0.1):
        for _ in range(100):
            assert await keys.find("new") is None
    issuer.kids, issuer.trouble = ["new"], None
    issuer.answers.set()
    await reading
    assert issuer.looks == looks + 1
    assert await keys.find("new") is not None


async def test_an_issuer_that_changed_its_name_is_not_read_again_and_its_last_keys_count(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    issuer.name = "https://evil.example"
    await seconds(clock, keys, 4_000)
    issuer.kids = ["new"]
    await seconds(clock, keys, 300)
    assert keys.get("old") is not None
    assert keys.get("new") is None


async def test_keys_that_moved_are_found_where_they_are_now(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    await keys.start()
    issuer.keys_url, issuer.kids = f"{ISSUER}/moved", ["new"]
    clock.advance(30)
    assert await keys.find("new") is None
    clock.advance(30)
    assert await keys.find("new") is not None
    assert keys.get("old") is None


async def test_a_defect_in_a_look_is_told_of_and_does_not_end_the_looking(
    issuer: Issuer, clock: ManualClock, keys: IssuerKeys
) -> None:
    issuer.fault = RuntimeError("a text that may hold anything")
    with capture_logs() as lines:
        await keys.start()
    assert keys.obstacle == "a defect in reading it"
    [line] = lines
    assert (line["event"], line["fault"]) == ("issuer_unusable", "RuntimeError")
    assert "anything" not in str(line)
    issuer.fault = None
    await seconds(clock, keys, 5)
    assert keys.obstacle is None


async def test_a_look_logs_under_no_request_s_trace_id(issuer: Issuer, clock: ManualClock, keys: IssuerKeys) -> None:
    await keys.start()
    issuer.kids = ["new"]
    clock.advance(30)
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        structlog.contextvars.bind_contextvars(trace_id="a request's")
        await keys.find("new")
        structlog.contextvars.clear_contextvars()
    assert [line["event"] for line in lines] == ["issuer_keys_changed"]
    assert "trace_id" not in lines[0]


async def test_closing_gives_up_the_look_under_way(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.answers.clear()
    waiting = asyncio.ensure_future(keys.refresh())
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await keys.close()
        await waiting
    assert keys.obstacle == "starting"
