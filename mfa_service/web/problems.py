"""The one table from errors to HTTP, and what an error's answer looks like.

Messages are also `error_description`s (RFC 6749 §5.2): printable ASCII without a double quote or a backslash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mfa_service import errors
from mfa_service.web import answers, refusals
from mfa_service.web.answers import Answer, Headers

_INVALID_TOKEN: Headers = (("WWW-Authenticate", 'Bearer error="invalid_token"'),)
_SOON: Headers = (("Retry-After", "1"),)
_OVERLOAD_PAUSE_S: Final = 0.5  # callers who heed no Retry-After would take all the time with being refused


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the words of the wire.

    Attributes:
        status: the HTTP status.
        code: the service's own code.
        message: what is wrong and what to do next.
        headers: fields of the answer.
        oauth_error: the `error` that the token call adds (RFC 6749 §5.2).
        closes: whether the connection ends with the answer.
        pause_s: for which the answer is held back, where the connection stays open.
        alarm: whether an operator must see to it.
    """

    status: int
    code: str
    message: str
    headers: Headers = ()
    oauth_error: str = "invalid_request"
    closes: bool = False
    pause_s: float = 0.0
    alarm: bool = False


def _access_denied(error: errors.AccessDenied) -> Problem:
    return Problem(
        401,
        "10002",
        "A valid access token is needed: get one and send it as a bearer token.",
        # RFC 6750 §3.1: a request without a token is told no error code.
        headers=_INVALID_TOKEN if error.presented else (("WWW-Authenticate", "Bearer"),),
        oauth_error="invalid_client",
    )


def _scope_missing(error: errors.ScopeMissing) -> Problem:
    return Problem(
        403,
        "10033",
        f"The access token lacks the scope {error.scope}: get one that has it.",
        headers=(("WWW-Authenticate", f'Bearer error="insufficient_scope", scope="{error.scope}"'),),
    )


def _client_refused(error: errors.ClientRefused) -> Problem:
    return Problem(
        401,
        "10002",
        "The client is unknown or disabled, or its secret is wrong: check the credentials.",
        # RFC 7617 §2 requires the realm.
        headers=(("WWW-Authenticate", 'Basic realm="mfa-service"'),) if error.basic else (),
        oauth_error="invalid_client",
    )


def _device_waits(error: errors.DeviceWaits) -> Problem:
    if error.retry_after_s is None:
        return Problem(429, "10027", "The device is blocked after too many wrong OTPs: an operator must unlock it.")
    return Problem(
        429,
        "10027",
        "Too many wrong OTPs in a row: try again after the seconds that Retry-After tells.",
        headers=(("Retry-After", str(error.retry_after_s)),),
    )


def _quota_exceeded(error: errors.QuotaExceeded) -> Problem:
    return Problem(
        429,
        "10035",
        "Too many requests or wrong client secrets: try again after the seconds that Retry-After tells.",
        headers=(("Retry-After", str(error.retry_after_s)),),
        oauth_error="temporarily_unavailable",
    )


def _method_not_allowed(refusal: refusals.MethodNotAllowed) -> Problem:
    return Problem(
        405, "10034", "This path has no such method: use one that Allow names.", headers=(("Allow", refusal.allow),)
    )


INTERNAL = Problem(
    500, "10015", "Something went wrong here: report the trace id.", oauth_error="server_error", alarm=True
)

_UNAVAILABLE = Problem(
    503,
    "10015",
    "The service cannot answer just now: try again shortly.",
    headers=_SOON,
    oauth_error="temporarily_unavailable",
)

_UNAVAILABLE_ALARM = replace(_UNAVAILABLE, alarm=True)

TABLE: Mapping[type[Exception], Problem | Callable[[Any], Problem]] = {
    errors.TokenExpired: Problem(401, "10001", "The access token has expired: get a new one.", headers=_INVALID_TOKEN),
    errors.AccessDenied: _access_denied,
    errors.NoDevice: Problem(404, "10003", "The user has no device: register one first."),
    errors.InvalidInput: Problem(400, "10005", "The request is not valid: correct what errors names."),
    errors.NoActiveDevice: Problem(404, "10006", "The user has no active device: activate one first."),
    errors.ActivatedWithAnotherCode: Problem(
        409, "10006", "The device is active already, by another code: go on to authenticate with it."
    ),
    errors.ChallengeNotFound: Problem(404, "10007", "The authId is unknown, expired or used: ask for a new one."),
    errors.WrongOtp: Problem(400, "10008", "The OTP is incorrect: enter the one that the device shows now."),
    errors.UsedOtp: Problem(400, "10008", "The OTP was already used: wait for the device's next one."),
    errors.MalformedOtp: Problem(400, "10009", "The OTP must be exactly as many digits as the device shows."),
    errors.DeviceNameTaken: Problem(
        409, "10010", "The user already has a device of this name: choose another name or remove it first."
    ),
    errors.TooManyDevices: Problem(409, "10014", "The user already has the most devices allowed: remove one first."),
    errors.StoreUnavailable: _UNAVAILABLE,
    errors.ClockSkewed: _UNAVAILABLE_ALARM,
    errors.UnsealFailed: _UNAVAILABLE_ALARM,
    errors.ChallengeSpent: Problem(429, "10026", "Too many wrong OTPs for this authId: ask for a new one."),
    errors.DeviceWaits: _device_waits,
    errors.GrantTypeMissing: Problem(400, "10028", "grant_type is missing: send client_credentials."),
    errors.GrantTypeUnsupported: Problem(
        400, "10028", "This grant_type is not offered: send client_credentials.", oauth_error="unsupported_grant_type"
    ),
    errors.ClientIdMissing: Problem(400, "10030", "client_id is missing: send the application's own."),
    errors.ClientSecretMissing: Problem(400, "10031", "client_secret is missing: send the application's own."),
    errors.ClientRefused: _client_refused,
    errors.ScopeRefused: Problem(
        400,
        "10032",
        "The client does not have a scope it asks for: ask for less, or leave scope out.",
        oauth_error="invalid_scope",
    ),
    errors.ScopeMissing: _scope_missing,
    errors.QuotaExceeded: _quota_exceeded,
    errors.DeviceNotFound: Problem(404, "10050", "The user has no device of this name: list the devices."),
    errors.DeviceNotUsable: Problem(
        404, "100016", "The user has no active device of this name: choose another one or activate it."
    ),
    refusals.Overloaded: replace(_UNAVAILABLE, pause_s=_OVERLOAD_PAUSE_S),
    refusals.NoSuchRoute: Problem(404, "10034", "Nothing is at this path: check it against the API description."),
    refusals.MethodNotAllowed: _method_not_allowed,
    refusals.BodyTooLarge: Problem(413, "10034", "The body is too large: send less.", closes=True),
    refusals.UnsupportedMedia: Problem(
        415, "10034", "The body must be of a media type that this call takes, in UTF-8 and without an encoding."
    ),
    refusals.MalformedRequest: Problem(400, "10034", "This is no well-formed HTTP request.", closes=True),
    refusals.BodyTooSlow: Problem(408, "10034", "The body did not come in time: send it again.", closes=True),
    refusals.HeadTooSlow: Problem(408, "10034", "The request did not come in time: send it again.", closes=True),
    refusals.TargetTooLong: Problem(414, "10034", "The request target is too long.", closes=True),
    refusals.HeadTooLarge: Problem(431, "10034", "The header fields are too many or too long.", closes=True),
}


def problem_of(error: Exception) -> Problem:
    """Return the table's row for an error; one that is in no row is an internal fault."""
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            return row if isinstance(row, Problem) else row(error)
    return INTERNAL


def error_answer(error: Exception, *, problem: Problem, trace_id: str, now_ms: int, oauth: bool) -> Answer:
    """Return an error's answer, in the one body that every error has.

    Args:
        error: what was raised.
        problem: its row of the table.
        trace_id: the request's.
        now_ms: Unix time in milliseconds.
        oauth: whether the token call answers, which adds the two fields of RFC 6749 §5.2.
    """
    content: dict[str, object] = {
        "status": "FAILURE",
        "code": problem.code,
        "message": problem.message,
        "traceId": trace_id,
        "timestamp": answers.rfc3339_ms(now_ms),
    }
    if isinstance(error, errors.InvalidInput):
        content["errors"] = error.errors
    if oauth:
        content["error"] = problem.oauth_error
        content["error_description"] = problem.message
    given = answers.answer(problem.status, content, problem.headers)
    return replace(given, closes=problem.closes, pause_s=problem.pause_s)
