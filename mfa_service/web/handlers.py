"""Calls 2 to 7: each hands a checked request to the rules and answers with what they return."""

import orjson

from mfa_service.model import DeviceStatus, Owner
from mfa_service.rules.authentication import Authentication
from mfa_service.rules.registration import Registration
from mfa_service.web import answers, paths, schemas
from mfa_service.web.answers import Answer
from mfa_service.web.bodies import json_object
from mfa_service.web.paths import DEVICE_TYPE
from mfa_service.web.routes import Call

_NEXT_ACTIVATE = "Put the device into an authenticator and activate it with its first OTP"
_ACTIVATED = "The device is active and ready to authenticate with"
_NEXT_VALIDATE = "Please get the OTP from registered device to authenticate"
_INITIATED = orjson.dumps({"authId": "%s", "status": "SUCCESS", "message": _NEXT_VALIDATE}).decode()
_VALIDATED = Answer(200, orjson.dumps({"status": "SUCCESS", "message": "OTP has been validated successfully"}))

_STATUSES = {
    DeviceStatus.PENDING: "ACTIVATION_REQUIRED",
    DeviceStatus.ACTIVE: "ACTIVE",
    DeviceStatus.BLOCKED: "BLOCKED",
}


class DeviceCalls:
    """The calls that manage a user's devices.

    Args:
        registration: the rules.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    async def pair(self, call: Call) -> Answer:
        """Call 2: register a device and show its secret, this once."""
        owner = call.owner
        asked = schemas.pairing(json_object(call.content.octets))
        enrolment = await self._registration.register(owner, asked.device_name, asked.parameters)
        return answers.answer(
            201,
            {
                "authId": enrolment.auth_id,
                "deviceType": DEVICE_TYPE,
                "status": "ACTIVATION_REQUIRED",
                "message": _NEXT_ACTIVATE,
                "deviceName": enrolment.device_name,
                "secret": enrolment.secret_base32,
                "registrationUri": enrolment.registration_uri,
            },
        )

    async def activate(self, call: Call) -> Answer:
        """Call 3: activate a device by its first code."""
        owner = call.owner
        otp = schemas.one_time_password(json_object(call.content.octets))
        device_name = await self._registration.activate(owner, paths.auth_id(call.arguments[1]), otp)
        return answers.answer(200, {"status": "ACTIVE", "message": _ACTIVATED, "deviceName": device_name})

    async def list_devices(self, call: Call) -> Answer:
        """Call 4: list a user's devices."""
        owner = call.owner
        paths.refuse_other_type(call.query)
        devices = await self._registration.devices_of(owner)
        return answers.answer(
            200,
            [
                {
                    "deviceType": DEVICE_TYPE,
                    "status": _STATUSES[device.status],
                    "deviceName": device.name,
                    "createdAt": answers.rfc3339_ms(device.created_at_ms),
                }
                for device in devices
            ],
        )

    async def unpair(self, call: Call) -> Answer:
        """Call 5: remove one device of a user, or all."""
        owner = call.owner
        device_name = paths.removal(call.arguments[1], call.arguments[2])
        if device_name is None:
            await self._registration.remove_all(owner)
        else:
            await self._registration.remove(owner, device_name)
        return Answer(204)


class AuthenticationCalls:
    """The calls that authenticate a user.

    Args:
        authentication: the rules.
    """

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def initiate(self, call: Call) -> Answer:
        """Call 6: open a challenge."""
        asked = schemas.initiation(json_object(call.content.octets))
        auth_id = await self._authentication.initiate(Owner(call.application_id, asked.user_name), asked.device_name)
        return Answer(201, (_INITIATED % auth_id).encode("ascii"))  # hexadecimal digits and hyphens alone

    async def validate(self, call: Call) -> Answer:
        """Call 7: validate the code that the user typed."""
        otp = schemas.one_time_password(json_object(call.content.octets))
        await self._authentication.validate(call.application_id, paths.auth_id(call.arguments[0]), otp)
        return _VALIDATED
