"""The three steps as a person sees them: the `curl` lines to try, and a walk with a virtual authenticator."""

import io
from collections.abc import Mapping

import aiohttp
import click
import orjson

from mfa_service.errors import MfaError
from mfa_service.model import TotpParameters
from mfa_service.otp import keyuri, totp
from mfa_service.ports import Clock

_USER = "alice"
_DEVICE = "phone"
_SHOWN_OF_A_TOKEN = 24


class DemonstrationFailed(MfaError):
    """The running service did not answer as the three steps need; the text says where."""


def curl_lines(api_url: str, client_id: str, client_secret: str, name: str) -> str:
    """Return the credentials of a fresh application and the calls that walk the three steps, to be pasted in order."""
    return f"""\
The application '{name}' is onboarded. Keep these now, the secret is not shown again:

  client_id      {client_id}
  client_secret  {client_secret}

Paste these lines into another shell, one by one:

  API={api_url}

  # 1. an access token
  TOKEN=$(curl -s $API/oauth2/token -u {client_id}:{client_secret} -d grant_type=client_credentials \\
    | python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])')

  # a device for {_USER}: scan registrationUri, or type secret into an authenticator; then activate with its code
  curl -s $API/users/{_USER}/mfadevices -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d '{{"deviceType":"TOTP","deviceName":"{_DEVICE}"}}'
  curl -s $API/users/{_USER}/mfadevices/AUTH_ID -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{{"deviceType":"TOTP","otp":"CODE"}}'

  # 2. open a challenge
  curl -s $API/deviceAuthentications -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d '{{"userName":"{_USER}","deviceName":"{_DEVICE}","deviceType":"TOTP"}}'

  # 3. validate the next code
  curl -s $API/deviceAuthentications/AUTH_ID -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{{"deviceType":"TOTP","otp":"CODE"}}'
"""


async def walk(api_url: str, client_id: str, client_secret: str, *, clock: Clock) -> None:
    """Walk the three steps against a running service and print each request, its answer and the QR code.

    Args:
        api_url: the base URL of the calls.
        client_id: of an application with both scopes.
        client_secret: its secret; it is not printed.
        clock: the authenticator's time.

    Raises:
        DemonstrationFailed: the service is out of reach or refused a step.
    """
    import segno  # noqa: PLC0415  1 MiB that a node need not have, which prints `curl_lines` alone

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        walker = _Walker(session, api_url)
        await walker.take_token(client_id, client_secret)
        click.secho("\nA device for alice", bold=True)
        enrolment = await walker.post(f"/users/{_USER}/mfadevices", {"deviceType": "TOTP", "deviceName": _DEVICE}, 201)
        drawing = io.StringIO()
        segno.make(enrolment["registrationUri"]).terminal(drawing, compact=True)
        click.echo(drawing.getvalue())
        secret = keyuri.bytes_of_base32(enrolment["secret"])
        step = totp.step_at(clock.now_ms(), TotpParameters().period_s)
        await walker.post(f"/users/{_USER}/mfadevices/{enrolment['authId']}", _code(secret, step), 200)
        click.secho("\nStep 2: open a challenge", bold=True)
        asked = {"userName": _USER, "deviceName": _DEVICE, "deviceType": "TOTP"}
        challenge = await walker.post("/deviceAuthentications", asked, 201)
        click.secho("\nStep 3: validate the next code (the activation's counts as used)", bold=True)
        await walker.post(f"/deviceAuthentications/{challenge['authId']}", _code(secret, step + 1), 200)
        click.secho("\nThe same code on a new challenge is refused", bold=True)
        challenge = await walker.post("/deviceAuthentications", asked, 201)
        await walker.post(f"/deviceAuthentications/{challenge['authId']}", _code(secret, step + 1), 400)


class _Walker:
    """Sends requests and shows them."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str) -> None:
        self._session = session
        self._api_url = api_url
        self._headers: dict[str, str] = {}

    async def take_token(self, client_id: str, client_secret: str) -> None:
        click.secho("Step 1: an access token", bold=True)
        click.echo(f"POST {self._api_url}/oauth2/token  grant_type=client_credentials, Basic {client_id}:…")
        self._headers["Authorization"] = aiohttp.encode_basic_auth(client_id, client_secret)
        form = aiohttp.FormData({"grant_type": "client_credentials"})
        answer = await self._send("/oauth2/token", 200, data=form)
        self._headers["Authorization"] = f"Bearer {answer['access_token']}"
        _show({**answer, "access_token": answer["access_token"][:_SHOWN_OF_A_TOKEN] + "…"})

    async def post(self, path: str, body: Mapping[str, str], expected: int) -> dict[str, str]:
        click.echo(f"POST {self._api_url}{path}")
        _show(body)
        answer = await self._send(path, expected, json=body)
        _show(answer)
        return answer

    async def _send(self, path: str, expected: int, **arguments: object) -> dict[str, str]:
        try:
            async with self._session.post(
                self._api_url + path,
                headers=self._headers,
                **arguments,  # type: ignore[arg-type]  # the two ways a body is given here
            ) as answer:
                body: dict[str, str] = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise DemonstrationFailed(f"no answer from {self._api_url}: {error}; is `make run` running?") from None
        click.secho(f"  ← {answer.status}", fg="green" if answer.status == expected else "red")
        if answer.status != expected:
            raise DemonstrationFailed(f"{path} answered {answer.status}: {body.get('message', '')}")
        return body


def _code(secret: bytes, step: int) -> dict[str, str]:
    return {"deviceType": "TOTP", "otp": totp.code_at(secret, TotpParameters(), step)}


def _show(body: Mapping[str, str]) -> None:
    for line in orjson.dumps(body, option=orjson.OPT_INDENT_2).decode().splitlines():
        click.echo(f"    {line}")
