"""Attacks on challenges and their ids."""

import asyncio
import itertools
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self, cast

import pytest

from mfa_service import identifiers
from mfa_service.model import Challenge, Purpose
from mfa_service.stores.redis import open_challenges
from tests.api.conftest import Serve
from tests.api.service import Caller
from tests.attack.cases import attack
from tests.attack.outcomes import (
    GONE,
    INVALID,
    NO_CODE,
    NO_DEVICE,
    NO_METHOD,
    NO_ROUTE,
    OPENED,
    PASS,
    SPENT,
    UNFIT,
    told,
)
from tests.attack.scale import IS_FULL, times
from tests.attack.setups import TwoNodes, neighbour
from tests.attack.timing import medians_differ
from tests.attack.wires import HOST, JSON, authorization, fields, head, raw, with_body
from tests.servers.valkey import Deployment, Server, standalone

NOBODYS_ID = "3d1a7c52-0b1e-4c8e-9a55-0c2f6a1f9b10"
SIGMAS = 6


@attack("C-01")
def test_ids_are_unique_random_bits_without_structure() -> None:
    count = times(1_000_000)
    texts = [identifiers.auth_id(os.urandom) for _ in range(count)]
    assert len(set(texts)) == count
    octets = [bytes.fromhex(text.replace("-", "")) for text in texts]
    shares = share_of_ones(octets)
    fixed = [position for position, share in enumerate(shares) if share in (0.0, 1.0)]
    assert fixed == [48, 49, 50, 51, 64, 65]  # the version and the variant (RFC 9562 §5.4); 122 bits are left
    # Differences of neighbours show what an order or a clock in the ids would.
    neighbours = [
        (int.from_bytes(one) ^ int.from_bytes(next_one)).to_bytes(16) for one, next_one in itertools.pairwise(octets)
    ]
    for some in (shares, share_of_ones(neighbours)):
        random_ones = [share for position, share in enumerate(some) if position not in fixed]
        assert all(abs(share - 0.5) < SIGMAS * 0.5 / count**0.5 for share in random_ones)


def share_of_ones(values: list[bytes]) -> list[float]:
    """How often each of the 128 bits of some values is set, from the first on."""
    joined = b"".join(values)
    shares = []
    for position in range(16):
        column = Counter(joined[position::16])
        shares += [
            sum(count for octet, count in column.items() if octet >> bit & 1) / len(values) for bit in range(7, -1, -1)
        ]
    return shares


@attack("C-02")
async def test_unknown_expired_and_foreign_challenges_cannot_be_told_apart(shop: Caller) -> None:
    bank = await neighbour(shop)
    phone = await shop.enrolled()
    expired = await shop.challenge()
    await shop.service.advance(300)
    foreign, code = await shop.challenge(), phone.code()
    answers = [await bank.validate(auth_id, code) for auth_id in (NOBODYS_ID, expired, foreign)]
    assert answers[0].outcome == GONE
    assert told(answers[0]) == told(answers[1]) == told(answers[2])
    assert {name: value for name, value in answers[0].headers.items() if name != "X-Trace-Id"} == {
        name: value for name, value in answers[2].headers.items() if name != "X-Trace-Id"
    }
    acts = [lambda auth_id=auth_id: bank.validate(auth_id, code) for auth_id in (NOBODYS_ID, expired, foreign)]
    assert not await medians_differ(acts, by_more_than=0.1)


@attack("C-03")
async def test_the_right_code_a_second_too_late_is_not_charged(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    await shop.service.advance(301)
    assert (await shop.validate(auth_id, phone.code())).outcome == GONE
    assert (await shop.row()).failures == 0


@attack("C-04")
async def test_another_application_s_challenge_is_not_there_and_stays_its_own(caller: Caller) -> None:
    bank = await neighbour(caller)
    phone = await caller.enrolled()
    auth_id = await caller.challenge()
    for code in (*phone.wrong_codes(6), phone.code()):
        assert (await bank.validate(auth_id, code)).outcome == GONE
    assert (await caller.row()).failures == 0
    assert (await caller.validate(auth_id, phone.code())).outcome == PASS


@attack("C-05")
async def test_another_user_s_activation_is_not_there_and_stays_hers(caller: Caller) -> None:
    phone, auth_id = await caller.pending(user="alice")
    await caller.pending(user="bob")
    for code in (*phone.wrong_codes(6), phone.code()):
        assert (await caller.activate(auth_id, code, user="bob")).outcome == GONE
    assert (await caller.activate(auth_id, phone.code(), user="alice")).outcome == PASS


@attack("C-06")
async def test_an_id_of_one_kind_is_none_of_the_other(caller: Caller) -> None:
    phone = await caller.enrolled()
    tablet, activation = await caller.pending("Tablet")
    login = await caller.challenge()
    assert (await caller.validate(activation, tablet.code())).outcome == GONE
    assert (await caller.activate(login, phone.code())).outcome == GONE
    assert (await caller.row()).failures == (await caller.row("Tablet")).failures == 0
    assert (await caller.activate(activation, tablet.code())).outcome == PASS
    assert (await caller.validate(login, phone.code())).outcome == PASS


@attack("C-07")
async def test_an_id_that_is_almost_right_is_none(caller: Caller) -> None:
    phone = await caller.enrolled()
    auth_id = await caller.challenge()
    code = phone.code()
    last = "0" if auth_id[-1] != "0" else "1"
    for other in (
        auth_id[:-1] + last,
        auth_id.upper() if auth_id.upper() != auth_id else f"{auth_id}A",
        auth_id[:-1],
        f"{auth_id}0",
        auth_id.replace("-", ""),
        f"%{ord(auth_id[0]):02x}{auth_id[1:]}",
        f"{{{auth_id}}}",
        f"urn:uuid:{auth_id}",
        f"{auth_id}%20",
        f"{auth_id}%00",
        f"{auth_id}.json",
        f"{auth_id};v=1",
    ):
        assert (await caller.validate(other, code)).outcome == GONE
    assert (await caller.row()).failures == 0
    assert (await caller.validate(auth_id, code)).outcome == PASS


HOSTILE_IDS = {
    "colon": b"mfa:c:x",
    "braces": b"{mfa}",
    "star": b"*",
    "question mark": b"a?b",
    "encoded line": b"a%0d%0aFLUSHALL%0d%0a",
    "encoded NUL": b"a%00b",
    "line": b"a\r\nFLUSHALL\r\n",
    "NUL": b"a\0b",
    "long": b"a" * 10_240,
}


@attack("C-08")
async def test_an_id_that_means_something_to_redis_never_gets_there(nodes: TwoNodes, valkey: Deployment) -> None:
    caller = await nodes.onboard()
    phone = await caller.enrolled()
    auth_id, known = await caller.challenge(), await authorization(caller)
    content = {"deviceType": "TOTP", "otp": phone.wrong_code()}
    with Monitor(valkey.servers[0]) as monitor:
        for hostile in HOSTILE_IDS.values():
            begun = head("POST", "/deviceAuthentications/@", HOST, JSON, known).replace(b"@", hostile, 1)
            answer, _ = await raw(nodes, with_body(begun, content))
            assert answer.status in (400, 404, 414)
        assert (await caller.validate(auth_id, phone.code())).outcome == PASS
    commands = [line for line in monitor.lines if nodes.site.key_prefix in line]
    assert any(f":c:{auth_id}" in line for line in commands)
    assert all(f":c:{auth_id}" in line for line in commands)
    assert not any("FLUSH" in line.upper() for line in monitor.lines)


class Monitor:
    """Everything that a server is told between the beginning and the end of the block.

    Attributes:
        lines: the commands, as MONITOR shows them.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.command("ECHO", "that is all")
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _listen(self) -> None:
        with self._server.client.monitor() as monitor:  # type: ignore[no-untyped-call] # redis-py leaves it untyped
            self._ready.set()
            while "that is all" not in "".join(self.lines[-1:]):
                self.lines.append(str(monitor.next_command()["command"]))


@attack("C-09")
async def test_a_used_or_spent_challenge_never_passes_with_a_fresh_code(nodes: TwoNodes) -> None:
    caller = await nodes.onboard()
    phone = await caller.enrolled()
    used, spent = await caller.challenge(), await caller.challenge()
    for wrong in phone.wrong_codes(nodes.settings.challenge.max_attempts):
        assert (await caller.validate(spent, wrong)).outcome == INVALID
    assert (await caller.validate(used, phone.code())).outcome == PASS
    for _ in range(2):
        assert (await caller.validate(used, phone.code(steps=1))).outcome == GONE
        assert (await caller.validate(spent, phone.code(steps=1))).outcome == SPENT
    assert (await caller.validate(await caller.challenge(), phone.code(steps=1))).outcome == PASS


@attack("C-09")
async def test_a_used_challenge_is_gone_for_every_later_code(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    assert (await shop.validate(auth_id, phone.code())).outcome == PASS
    for _ in range(4):
        await shop.service.advance(30)
        assert (await shop.validate(auth_id, phone.code())).outcome == GONE
    assert (await shop.validate(await shop.challenge(), phone.code())).outcome == PASS


@attack("C-10")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_challenge_has_no_other_method(caller: Caller, method: str) -> None:
    await caller.enrolled()
    auth_id = await caller.challenge()
    for path in (f"/deviceAuthentications/{auth_id}", f"/users/alice/mfadevices/{auth_id}"):
        answer = await caller.call(method, path)
        assert (answer.outcome, answer.headers["Allow"]) == (NO_METHOD, "POST")


@attack("C-11")
async def test_a_challenge_that_is_asked_for_without_pause_ends_on_time(shop: Caller) -> None:
    phone = await shop.enrolled()
    auth_id = await shop.challenge()
    for number in range(299):
        await shop.service.advance(1)
        if number % 100 == 50:
            assert (await shop.validate(auth_id, phone.wrong_code())).outcome == INVALID
        assert (await shop.validate(auth_id, phone.code() + "00")).outcome == NO_CODE
    assert (await shop.validate(auth_id, phone.wrong_code())).outcome == INVALID
    await shop.service.advance(1)
    assert (await shop.validate(auth_id, phone.code())).outcome == GONE


@attack("C-12")
async def test_a_challenge_stays_with_its_device_whatever_the_body_says(caller: Caller) -> None:
    phone, tablet = await caller.enrolled(), await caller.enrolled("Tablet")
    auth_id = await caller.challenge()
    path, tablets = f"/deviceAuthentications/{auth_id}", await caller.row("Tablet")
    content = {"deviceType": "TOTP", "otp": tablet.code()}
    for name, value in (("deviceId", tablets.id), ("deviceName", "Tablet"), ("device", {"id": tablets.id})):
        assert (await caller.call("POST", path, {**content, name: value})).outcome == UNFIT
    assert (await caller.call("POST", path, content)).outcome == INVALID
    assert ((await caller.row()).failures, (await caller.row("Tablet")).failures) == (1, 0)
    assert (await caller.validate(auth_id, phone.code())).outcome == PASS


@attack("C-13")
async def test_countless_challenges_are_small_and_leave_nothing_behind(tmp_path: Path) -> None:
    count = times(1_000_000)
    ttl_s = 240 if IS_FULL else 3  # opening a million takes minutes
    with standalone(tmp_path) as deployment:
        [server] = deployment.servers
        challenges = await open_challenges(deployment.url, prefix="mfa:", deadline_s=5)
        try:
            await asyncio.sleep(1.1)  # for which the start's rehearsal leaves a key
            assert server.command("DBSIZE") == 0
            before = used_bytes(server)
            for _ in range(count // 500):
                await asyncio.gather(*(challenges.open(new_challenge(), ttl_s=ttl_s) for _ in range(500)))
            assert server.command("DBSIZE") == count
            assert (used_bytes(server) - before) / count <= 512
            without_end = [
                key for key in server.client.scan_iter("mfa:*", count=1_000) if server.client.pttl(key) == -1
            ]
            assert without_end == []
        finally:
            await challenges.close()
        deadline_s = time.monotonic() + ttl_s + 10
        while server.command("DBSIZE"):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.2)


def used_bytes(server: Server) -> int:
    return cast("int", server.facts("memory")["used_memory"])


def new_challenge() -> Challenge:
    """A challenge as the service makes them."""
    return Challenge(
        auth_id=identifiers.auth_id(os.urandom),
        application_id=os.urandom(16).hex(),
        device_id=identifiers.device_id(os.urandom),
        purpose=Purpose.AUTHENTICATION,
    )


@attack("C-14")
async def test_an_answer_with_an_id_or_a_secret_is_kept_nowhere(caller: Caller) -> None:
    registered = await caller.pair("Tablet")
    await caller.enrolled()
    opened = await caller.initiate()
    token = await caller.service.token_call(data=caller.grant)
    for answer in (registered, opened, token):
        assert answer.headers["Cache-Control"] == "no-store"
        assert not {"Location", "Set-Cookie", "ETag", "Link", "Refresh"} & answer.headers.keys()


@attack("C-16")
async def test_a_challenge_for_another_user_s_device_is_not_opened(nodes: TwoNodes, valkey: Deployment) -> None:
    caller, bank = await nodes.onboard(), await nodes.onboard("bank")
    await caller.enrolled(user="alice")
    row = await caller.row(user="alice")
    client, pattern = valkey.servers[0].client, f"{nodes.site.key_prefix}:c:*"
    await bank.bearer()
    before = set(client.scan_iter(pattern))
    content = {"userName": "bob", "deviceName": "Phone", "deviceType": "TOTP"}
    assert (await caller.call("POST", "/deviceAuthentications", content)).outcome == NO_DEVICE
    assert (await caller.call("POST", "/deviceAuthentications", {**content, "deviceId": row.id})).outcome == UNFIT
    assert (await caller.call("POST", "/deviceAuthentications", {**content, "deviceName": row.id})).outcome == NO_DEVICE
    assert (await bank.initiate(user="alice")).outcome == NO_DEVICE
    assert set(client.scan_iter(pattern)) <= before


@attack("C-14")
async def test_no_answer_of_a_challenge_leads_anywhere(serve: Serve) -> None:
    shop = await (await serve({"http.public_url": "http://mfa.example"})).onboard()
    await shop.enrolled()
    answer, _ = await raw(
        shop.service,
        with_body(
            head("POST", "/deviceAuthentications", HOST, JSON, await authorization(shop)),
            {"userName": "alice", "deviceName": "Phone", "deviceType": "TOTP"},
        ),
    )
    assert (answer.status, None) == OPENED
    assert fields(answer).keys() == {
        "content-type",
        "x-content-type-options",
        "cache-control",
        "date",
        "x-trace-id",
        "content-length",
    }
    assert (await shop.call("GET", f"/deviceAuthentications/{answer.json['authId']}/")).outcome == NO_ROUTE
