"""The seven calls as an application makes them, with the bodies, statuses and headers that callers rely on."""

import base64
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.api.authenticator import Authenticator
from tests.api.service import Caller, Response, Service
from tests.clocks import ManualClock

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACE_ID = re.compile(r"[0-9a-f]{32}")


def decoded(secret: str) -> bytes:
    return base64.b32decode(secret + "=" * (-len(secret) % 8))


def refuse_unusual_head(response: Response) -> None:
    assert TRACE_ID.fullmatch(response.headers["X-Trace-Id"])
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if response.status == 204:
        assert response.body == b""
        assert "Content-Type" not in response.headers
    else:
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"


class TestToken:
    @pytest.mark.parametrize("path", ["/get/token", "/oauth2/token"])
    @pytest.mark.parametrize("as_json", [False, True], ids=["form", "JSON"])
    @pytest.mark.parametrize("basic", [False, True], ids=["body", "Basic"])
    async def test_a_token_is_given_to_every_form_of_the_request(
        self, service: Service, shop: Caller, path: str, *, as_json: bool, basic: bool
    ) -> None:
        parameters = {"grant_type": "client_credentials"} if basic else shop.grant
        headers = {"Authorization": shop.basic} if basic else {}
        body = {"json": parameters} if as_json else {"data": parameters}
        response = await service.token_call(path, headers=headers, **body)
        assert response.status == 200
        assert response.json == {
            "access_token": response.json["access_token"],
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "mfa:authenticate mfa:enroll",
        }
        refuse_unusual_head(response)
        assert response.headers["Pragma"] == "no-cache"
        listing = await service.send(
            "GET",
            "/users/alice/mfadevices",
            headers={"Authorization": f"Bearer {response.json['access_token']}"},
        )
        assert listing.outcome == (404, "10003")

    async def test_a_token_has_the_scope_asked_for(self, service: Service, shop: Caller) -> None:
        response = await service.token_call(json={**shop.grant, "scope": "mfa:enroll"})
        assert (response.status, response.json["scope"]) == (200, "mfa:enroll")

    async def test_other_parameters_of_a_form_are_ignored(self, service: Service, shop: Caller) -> None:
        response = await service.token_call(data={**shop.grant, "resource": "https://mfa.example", "a": ""})
        assert response.status == 200

    async def test_a_good_token_is_good_to_its_last_second(self, shop: Caller) -> None:
        await shop.bearer()
        token = {"Authorization": f"Bearer {await shop.token()}"}
        await shop.service.advance(3600 + 9.999)  # with the leeway
        assert (await shop.call("GET", "/users/alice/mfadevices", headers=token)).outcome == (404, "10003")
        await shop.service.advance(0.001)
        assert (await shop.call("GET", "/users/alice/mfadevices", headers=token)).outcome == (401, "10001")


class TestRegistration:
    async def test_a_device_is_registered_activated_and_listed(self, shop: Caller, clock: ManualClock) -> None:
        paired = await shop.pair()
        assert paired.status == 201
        assert paired.json == {
            "authId": paired.json["authId"],
            "deviceType": "TOTP",
            "status": "ACTIVATION_REQUIRED",
            "message": paired.json["message"],
            "deviceName": "Phone",
            "secret": paired.json["secret"],
            "registrationUri": paired.json["registrationUri"],
        }
        assert list(paired.json) == [
            "authId", "deviceType", "status", "message", "deviceName", "secret", "registrationUri",
        ]  # fmt: skip
        assert UUID.fullmatch(paired.json["authId"])
        assert len(decoded(paired.json["secret"])) == 20
        refuse_unusual_head(paired)

        listed = await shop.devices()
        assert (listed.status, [one["status"] for one in listed.json]) == (200, ["ACTIVATION_REQUIRED"])

        authenticator = Authenticator(paired.json["registrationUri"], clock)
        activated = await shop.activate(paired.json["authId"], authenticator.code())
        assert activated.status == 200
        assert activated.json == {"status": "ACTIVE", "message": activated.json["message"], "deviceName": "Phone"}
        refuse_unusual_head(activated)

        listed = await shop.devices()
        assert listed.status == 200
        assert listed.json == [
            {
                "deviceType": "TOTP",
                "status": "ACTIVE",
                "deviceName": "Phone",
                "createdAt": "2027-01-15T08:00:00.000Z",
            }
        ]
        refuse_unusual_head(listed)

    async def test_the_registration_uri_says_what_an_authenticator_needs(self, shop: Caller) -> None:
        response = await shop.pair(user="Zoë / 東京 & co")
        uri = urlsplit(response.json["registrationUri"])
        assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
        assert unquote(uri.path) == "/mfa-service:Zoë / 東京 & co"
        assert "/" not in uri.path[1:]
        assert parse_qs(uri.query, strict_parsing=True) == {
            "secret": [response.json["secret"]],
            "issuer": ["mfa-service"],
            "algorithm": ["SHA1"],
            "digits": ["6"],
            "period": ["30"],
        }

    @pytest.mark.parametrize("query", ["", "?type=TOTP", "?type=totp"])
    async def test_a_listing_never_shows_a_secret(self, shop: Caller, query: str) -> None:
        active = await shop.enrolled("Phone")
        pending, _ = await shop.pending("Tablet")
        listed = await shop.devices(query=query)
        assert [(one["deviceName"], one["status"]) for one in listed.json] == [
            ("Phone", "ACTIVE"),
            ("Tablet", "ACTIVATION_REQUIRED"),
        ]
        for authenticator in (active, pending):
            assert authenticator.totp.secret.encode() not in listed.body
        assert all(set(one) == {"deviceType", "status", "deviceName", "createdAt"} for one in listed.json)

    async def test_devices_are_listed_oldest_first(self, shop: Caller) -> None:
        for name in ("c", "a", "b"):
            await shop.pair(name)
            await shop.service.advance(1)
        listed = (await shop.devices()).json
        assert [one["deviceName"] for one in listed] == ["c", "a", "b"]
        assert [one["createdAt"][-6:] for one in listed] == ["0.000Z", "1.000Z", "2.000Z"]

    async def test_one_device_is_unpaired(self, shop: Caller) -> None:
        await shop.enrolled("Phone")
        await shop.enrolled("Tablet")
        response = await shop.unpair("Phone")
        assert response.status == 204
        refuse_unusual_head(response)
        assert [one["deviceName"] for one in (await shop.devices()).json] == ["Tablet"]
        assert (await shop.initiate("Phone")).outcome == (404, "100016")
        assert (await shop.unpair("Phone")).outcome == (404, "10050")

    async def test_all_devices_are_unpaired_the_pending_ones_too(self, shop: Caller) -> None:
        await shop.enrolled("Phone")
        await shop.pending("Tablet")
        assert (await shop.unpair("all", device_type="totp")).status == 204
        assert (await shop.devices()).outcome == (404, "10003")
        assert (await shop.unpair("all")).outcome == (404, "10003")

    async def test_an_unpaired_device_takes_no_code_that_it_was_challenged_for(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        auth_id = await shop.challenge()
        await shop.unpair()
        assert (await shop.validate(auth_id, phone.code())).outcome == (404, "10007")

    async def test_registering_a_pending_name_again_replaces_it(self, shop: Caller) -> None:
        old, old_auth_id = await shop.pending()
        new, new_auth_id = await shop.pending()
        assert old.totp.secret != new.totp.secret
        assert (await shop.activate(old_auth_id, old.code())).outcome == (404, "10007")
        assert len((await shop.devices()).json) == 1
        assert (await shop.activate(new_auth_id, new.code())).status == 200

    async def test_a_pending_device_is_there_to_its_last_moment(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        await shop.service.advance(899.999)
        assert len((await shop.devices()).json) == 1
        assert (await shop.activate(auth_id, phone.code())).status == 200

    async def test_an_expired_pending_device_is_gone_and_its_name_is_free(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        shop.service.clock.advance(900)  # and nothing has been swept
        await shop.service.duties.do(but="sweep")
        assert (await shop.activate(auth_id, phone.code())).outcome == (404, "10007")
        assert (await shop.devices()).outcome == (404, "10003")
        assert (await shop.initiate()).outcome == (404, "10003")
        assert (await shop.unpair()).outcome == (404, "10050")
        again, new_auth_id = await shop.pending()
        assert (await shop.activate(new_auth_id, again.code())).status == 200

    @pytest.mark.parametrize(
        "name", ["Phone of Zoë", "a/b", "100 %", "?#&=+;", "ALL", "..", "電話", "x" * 255, "é" * 255]
    )
    async def test_a_name_is_the_same_in_a_path_and_in_a_body(self, shop: Caller, name: str) -> None:
        phone = await shop.enrolled(name, user=name)
        auth_id = await shop.challenge(name, user=name)
        assert (await shop.validate(auth_id, phone.code())).status == 200
        assert [one["deviceName"] for one in (await shop.devices(user=name)).json] == [name]
        assert (await shop.unpair(name, user=name)).status == 204


class TestAuthentication:
    async def test_the_three_steps_end_in_a_validated_code(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        initiated = await shop.initiate()
        assert initiated.status == 201
        assert initiated.json == {
            "authId": initiated.json["authId"],
            "status": "SUCCESS",
            "message": "Please get the OTP from registered device to authenticate",
        }
        assert UUID.fullmatch(initiated.json["authId"])
        refuse_unusual_head(initiated)
        validated = await shop.validate(initiated.json["authId"], phone.code())
        assert validated.status == 200
        assert validated.json == {"status": "SUCCESS", "message": "OTP has been validated successfully"}
        refuse_unusual_head(validated)

    @pytest.mark.parametrize("body", [
        {"DeviceType": "TOTP", "OTP": ""}, {"deviceType": "totp", "OTP": ""}, {"DeviceType": "Totp", "otp": ""},
    ])  # fmt: skip
    async def test_both_spellings_of_the_reference_are_taken(self, shop: Caller, body: dict[str, str]) -> None:
        phone, auth_id = await shop.pending()
        spelling = next(name for name in body if name.lower() == "otp")
        activation = {**body, spelling: phone.code()}
        assert (await shop.call("POST", f"/users/alice/mfadevices/{auth_id}", activation)).status == 200
        await shop.service.advance(30)
        login = {**body, spelling: phone.code()}
        path = f"/deviceAuthentications/{await shop.challenge()}"
        assert (await shop.call("POST", path, login)).status == 200

    async def test_an_activation_code_is_no_login_code(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        code = phone.code()
        assert (await shop.activate(auth_id, code)).status == 200
        refused = await shop.validate(await shop.challenge(), code)
        assert refused.outcome == (400, "10008")
        assert "already used" in refused.json["message"]

    async def test_an_activation_is_no_challenge_and_the_other_way_round(self, shop: Caller) -> None:
        phone, auth_id = await shop.pending()
        assert (await shop.validate(auth_id, phone.code())).outcome == (404, "10007")
        assert (await shop.activate(auth_id, phone.code())).status == 200
        await shop.service.advance(30)
        challenge = await shop.challenge()
        assert (await shop.activate(challenge, phone.code())).outcome == (404, "10007")
        assert (await shop.validate(challenge, phone.code())).status == 200

    @pytest.mark.parametrize(
        ("options", "secret_bytes", "digits", "period_s"),
        [
            ({"algorithm": "SHA256", "digits": 8, "period": 60}, 32, 8, 60),
            ({"algorithm": "SHA512"}, 64, 6, 30),
            ({"algorithm": "SHA1", "digits": 6, "period": 30}, 20, 6, 30),
        ],
        ids=["SHA256/8/60", "SHA512", "SHA1"],
    )
    async def test_every_kind_of_device_authenticates(
        self, shop: Caller, options: dict[str, Any], secret_bytes: int, digits: int, period_s: int
    ) -> None:
        phone = await shop.enrolled(**options)
        assert len(decoded(phone.totp.secret)) == secret_bytes
        assert (len(phone.code()), phone.totp.interval) == (digits, period_s)
        assert (await shop.validate(await shop.challenge(), phone.code())).status == 200

    @pytest.mark.parametrize(
        ("seconds", "outcome"),
        [
            (-30.001, (400, "10008")),
            (-30, (200, None)),
            (-0.001, (200, None)),
            (0, (200, None)),
            (29.999, (200, None)),
            (30, (200, None)),
            (59.999, (200, None)),
            (60, (400, "10008")),
        ],
    )
    async def test_a_code_is_good_in_its_own_step_and_one_to_either_side(
        self, shop: Caller, seconds: float, outcome: tuple[int, str | None]
    ) -> None:
        phone = await shop.enrolled()
        code = phone.code(steps=4)  # its step begins 120 s from now
        await shop.service.advance(120 + seconds)
        assert (await shop.validate(await shop.challenge(), code)).outcome == outcome

    async def test_each_step_gives_one_login_and_an_older_code_dies_with_a_newer_one(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        for _ in range(3):
            code = phone.code()
            assert (await shop.validate(await shop.challenge(), code)).status == 200
            await shop.service.advance(29.999)
            assert phone.code() == code
            assert (await shop.validate(await shop.challenge(), code)).outcome == (400, "10008")
            await shop.service.advance(0.001)
            assert phone.code() != code
        older, newer = phone.code(), phone.code(steps=1)
        assert (await shop.validate(await shop.challenge(), newer)).status == 200
        assert (await shop.validate(await shop.challenge(), older)).outcome == (400, "10008")

    async def test_a_challenge_lives_300_seconds(self, shop: Caller) -> None:
        phone = await shop.enrolled()
        first = await shop.challenge()
        await shop.service.advance(0.001)
        second = await shop.challenge()
        await shop.service.advance(299.999)
        assert (await shop.validate(first, phone.code())).outcome == (404, "10007")
        assert (await shop.validate(second, phone.code())).status == 200

    async def test_a_user_authenticates_with_each_of_several_devices(self, shop: Caller) -> None:
        phone, tablet = await shop.enrolled("Phone"), await shop.enrolled("Tablet")
        assert (await shop.validate(await shop.challenge("Phone"), tablet.code())).outcome == (400, "10008")
        assert (await shop.validate(await shop.challenge("Phone"), phone.code())).status == 200
        assert (await shop.validate(await shop.challenge("Tablet"), tablet.code())).status == 200


class TestDiscovery:
    async def test_what_other_parties_need_is_public_at_the_root(self, service: Service) -> None:
        metadata = await service.send("GET", "/.well-known/oauth-authorization-server")
        assert metadata.status == 200
        assert metadata.json["token_endpoint"].endswith("/ciam-mfa/v2/oauth2/token")
        keys = await service.send("GET", "/.well-known/jwks.json")
        assert keys.status == 200
        assert [key["alg"] for key in keys.json["keys"]] == ["ES256"]
        assert not {"d", "p", "q", "k"} & {name for key in keys.json["keys"] for name in key}

    async def test_a_caller_s_trace_id_comes_back(self, shop: Caller) -> None:
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        response = await shop.call("GET", "/users/alice/mfadevices", headers=headers)
        assert response.headers["X-Trace-Id"] == response.json["traceId"] == trace_id
