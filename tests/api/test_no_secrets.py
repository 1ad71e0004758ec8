"""What is secret stands in the one answer it belongs to: in no log line, no error and no `repr`."""

import asyncio
import io
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from mfa_service import settings as settings_module
from mfa_service.model import Enrolment, IssuedToken, NewDevice, Owner, SealedSecret, TokenRequest, TotpParameters
from mfa_service.ops import logs
from mfa_service.web.answers import answer
from mfa_service.web.bodies import Body, MediaType
from mfa_service.web.credentials import basic_credentials
from mfa_service.web.routes import Call
from tests.api.service import Caller, Response, Service, serving
from tests.clocks import ManualClock

DEVICES = "/users/alice/mfadevices"


pytestmark = pytest.mark.usefixtures("logging_as_before")


class Secrets:
    """Everything secret that a flow made, and where it may not be found."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def add(self, *texts: str) -> None:
        assert all(texts)
        self._texts.update(texts)

    def refuse_in(self, text: str) -> None:
        """Fail where a secret stands in a text; digits within a longer number or an id are none."""
        for secret in self._texts:
            for written in {secret, quote(secret, safe="")}:
                found = re.search(rf"(?<![0-9A-Za-z]){re.escape(written)}(?![0-9A-Za-z])", text)
                assert found is None, "a secret is told"


async def raw(service: Service, octets: bytes) -> str:
    """Send what need not be HTTP and return the whole answer."""
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    answered = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answered.decode()


async def walk(shop: Caller, secrets: Secrets) -> list[Response]:
    """Walk the three steps with every kind of mishap on the way; return the answers that tell of no secret."""
    service = shop.service
    token = (await shop.bearer())["Authorization"].removeprefix("Bearer ")
    secrets.add(token, shop.client_secret, shop.basic.removeprefix("Basic "))
    told: list[Response] = []

    phone, auth_id = await shop.pending()
    secrets.add(phone.totp.secret, phone.code(), *phone.wrong_codes(4), phone.code(steps=1), phone.code(steps=2))
    told += [
        await shop.activate(auth_id, phone.wrong_code()),
        await shop.activate(auth_id, phone.code()),
        await shop.activate(auth_id, phone.code()),
        await shop.activate(auth_id, phone.code(steps=1)),
        await shop.devices(),
        await shop.pair(),
    ]
    await service.advance(30)
    challenge = await shop.challenge()
    told += [
        await shop.validate(challenge, phone.wrong_code()),
        await shop.validate(challenge, phone.code()),
        await shop.validate(challenge, phone.code()),
        await shop.validate(challenge, phone.wrong_code()),
        await shop.validate(await shop.challenge(), phone.code()),
    ]
    # Secrets where they do not belong: unknown properties and parameters, broken bodies, paths, other headers.
    code, path = phone.code(steps=1), f"/deviceAuthentications/{await shop.challenge()}"
    told += [
        await shop.call("POST", path, {"deviceType": "TOTP", "otp": code, "note": phone.totp.secret}),
        await shop.call("POST", path, {"deviceType": "TOTP", "otp": int(code)}),
        await shop.call("POST", path, {"deviceType": "TOTP", "otp": code + phone.totp.secret}),
        await shop.call("POST", path, {"deviceType": phone.totp.secret, "otp": code}),
        await shop.call("POST", path, f'{{"deviceType":"TOTP","otp":"{code}"'.encode()),
        await shop.call("POST", f"{path[:-36]}{code}", {"deviceType": "TOTP", "otp": code}),
        await shop.call("GET", f"{DEVICES}?access_token={token}"),
        await shop.call("GET", f"/{token}/{code}"),
        await service.send("GET", DEVICES, headers={"Authorization": f"Basic {token}"}),
        await service.send("GET", DEVICES, headers={"Authorization": f"Bearer {token} {token}"}),
        await service.send("GET", DEVICES, headers={"Authorization": f"Bearer {token[:-1]}"}),
        await service.token_call(data={**shop.grant, "client_id": "nobody"}),
        await service.token_call(data={**shop.grant, "scope": shop.client_secret}),
        await service.token_call(data={**shop.grant, "grant_type": shop.client_secret}),
        await service.token_call(json={**shop.grant, "client_secret": [shop.client_secret]}),
        await service.token_call(data=shop.grant, headers={"Authorization": shop.basic}),
        await service.token_call(data={"grant_type": "client_credentials"}, headers={"Authorization": shop.basic[:-2]}),
    ]
    assert {response.status for response in told} == {200, 400, 401, 404, 409}
    for octets in (f"GET /{code} HTTP/9.9\r\nAuthorization: Bearer {token}\r\n\r\n", f"{token} {code}\r\n\r\n"):
        secrets.refuse_in(await raw(service, octets.encode()))
    # Faults whose own texts tell secrets.
    secrets.add(service.entropy.text)
    service.entropy.fails_at = 20
    told.append(await shop.pair("Tablet"))
    service.entropy.fails_at = None
    assert told[-1].outcome == (500, "10015")
    await service.registry.close()
    told.append(await shop.validate(path.rpartition("/")[2], code))
    assert told[-1].outcome == (503, "10015")
    return told


@pytest.mark.parametrize("format", ["json", "console"])
async def test_no_secret_is_in_a_log_line_or_an_error(
    tmp_path: Path,
    clock: ManualClock,
    format: str,  # noqa: A002  the setting's own name
) -> None:
    stream = io.StringIO()
    log = logs.configure(level="debug", format=format, stream=stream, now_ms=clock.now_ms)
    secrets = Secrets()
    async with serving(tmp_path, clock, log=log) as service:
        shop = await service.onboard()
        told = await walk(shop, secrets)
    for response in told:
        secrets.refuse_in(response.body.decode())
        secrets.refuse_in(str(response.headers))
    secrets.refuse_in(stream.getvalue())
    assert stream.getvalue().count(" request ") + stream.getvalue().count('"request"') > len(told)
    assert "RuntimeError" in stream.getvalue()


async def test_a_line_tells_of_each_request_its_trace_id_application_route_status_and_duration(
    tmp_path: Path, clock: ManualClock
) -> None:
    stream = io.StringIO()
    log = logs.configure(level="info", format="json", stream=stream, now_ms=clock.now_ms)
    async with serving(tmp_path, clock, log=log) as service:
        shop = await service.onboard()
        response = await shop.devices(user="Zoë")
    assert [json.loads(line) for line in stream.getvalue().splitlines()][-1] == {
        "timestamp": response.json["timestamp"],
        "level": "info",
        "event": "request",
        "trace_id": response.json["traceId"],
        "application": shop.application.client_id,
        "method": "GET",
        "route": "/ciam-mfa/v2/users/{userName}/mfadevices",
        "status": 404,
        "duration_ms": 0.0,
    }


async def test_the_line_of_a_fault_has_the_request_s_trace_id(tmp_path: Path, clock: ManualClock) -> None:
    stream = io.StringIO()
    log = logs.configure(level="info", format="json", stream=stream, now_ms=clock.now_ms)
    async with serving(tmp_path, clock, log=log) as service:
        shop = await service.onboard()
        await shop.bearer()
        service.entropy.fails_at = 20
        response = await shop.pair()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    of_it = [line for line in lines if line.get("trace_id") == response.json["traceId"]]
    assert [(line["level"], line["event"]) for line in of_it] == [("error", "request_failed"), ("info", "request")]
    assert of_it[0]["exception"][0]["type"] == "builtins.RuntimeError"


async def test_no_secret_is_in_a_repr(shop: Caller) -> None:
    service = shop.service
    secrets = Secrets()
    phone = await shop.enrolled()
    uri = phone.totp.provisioning_uri()
    token = await shop.token()
    secrets.add(shop.client_secret, token, phone.totp.secret, uri, shop.basic, shop.basic.removeprefix("Basic "))
    [application] = await service.registry.applications.all()
    row, keys = await shop.row(), await service.registry.keys.all()
    sealed = [row.secret.blob, *(one.digest for one in application.secret_hashes), *(key.sealed for key in keys)]
    secrets.add(*(text for octets in sealed for text in (octets.hex(), repr(octets), repr(octets)[2:-1])))
    body = Body(MediaType.JSON, f'{{"otp":"{phone.code()}","secret":"{phone.totp.secret}"}}'.encode())
    secrets.add(phone.code())
    for value in (
        application,
        row,
        *keys,
        NewDevice("d", Owner("a", "alice"), "Phone", TotpParameters(), row.secret, 0),
        SealedSecret("k", row.secret.blob),
        TokenRequest(shop.application.client_id, shop.client_secret, None, basic=True),
        IssuedToken(token, 3600, frozenset()),
        Enrolment("i", "Phone", phone.totp.secret, uri),
        basic_credentials([shop.basic]),
        body,
        Call(body=body),
        answer(201, {"secret": phone.totp.secret, "access_token": token}),
    ):
        secrets.refuse_in(repr(value))
        secrets.refuse_in(str(value))


def test_no_secret_setting_is_in_a_repr() -> None:
    secrets = Secrets()
    flags = {
        "keys.root": "Zm9yIHRlc3RzIGFsb25lLCAzMiBieXRlcyBpbiBhbGw",
        "database.url": "postgresql+asyncpg://mfa:a-password@db/mfa",
        "redis.url": "rediss://:a-password@redis/0",
        "vault.token": "hvs.CAESIJ-a-token",
    }
    settings = settings_module.load(config_path=None, environment={}, flags=flags).settings
    secrets.add(*flags.values(), "a-password")
    for value in (settings, settings.keys, settings.database, settings.redis, settings.vault):
        secrets.refuse_in(repr(value))
        secrets.refuse_in(str(value))
