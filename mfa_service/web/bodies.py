"""Request bodies: read within their bounds, and parsed without repairing anything."""

import asyncio
import enum
import json
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any, NoReturn, cast

import orjson
from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11
from multidict import istr

from mfa_service.errors import InvalidInput
from mfa_service.values import value
from mfa_service.web import naming
from mfa_service.web.refusals import BodyTooLarge, BodyTooSlow, MalformedRequest, UnsupportedMedia
from mfa_service.web.requests import Request
from mfa_service.web.urlencoded import form_pairs

_CONTENT_TYPE = istr("Content-Type")
_CONTENT_LENGTH = istr("Content-Length")
_CONTENT_ENCODING = istr("Content-Encoding")
_EXPECT = istr("Expect")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_FORM_FIELDS = 32
_MARKS_OF_A_PROPERTY = 4
_STRINGS = frozenset({str})
_BACKSLASH = ord("\\")  # sought as a number: sought as bytes it costs an exception on the way
_NOT_JSON = "must be JSON in UTF-8 without a byte-order mark"


class MediaType(enum.StrEnum):
    """The media types that calls take."""

    JSON = "application/json"
    FORM = "application/x-www-form-urlencoded"


@value
class Body:
    """A request's body as it came."""

    media_type: MediaType
    octets: bytes = field(repr=False)


async def read(request: Request, *, media: frozenset[MediaType], most_bytes: int, timeout_s: float) -> Body:
    """Return a request's body; one that is refused is not read.

    Args:
        request: the request.
        media: the media types that the call takes.
        most_bytes: how long a body may be.
        timeout_s: how long it may take to come.

    Raises:
        UnsupportedMedia: it is of another media type, or encoded.
        BodyTooLarge: it is, or says that it is, longer.
        BodyTooSlow: it did not come in time.
        MalformedRequest: its framing is broken, or the connection went away.
    """
    headers = request.head.headers
    media_type = _media_type(headers.get(_CONTENT_TYPE, ""))
    if media_type not in media or media_type is None or _CONTENT_ENCODING in headers:
        raise UnsupportedMedia
    body = request.body
    if body.total_bytes and body.is_eof():  # of an empty one the head may still say that it is not
        if body.total_bytes > most_bytes:
            raise BodyTooLarge
        return Body(media_type, _complete(body))
    if _declared_bytes(headers) > most_bytes:
        raise BodyTooLarge
    if headers.get(_EXPECT, "").lower() == "100-continue" and request.head.version >= HttpVersion11:
        _ask_for_body(request)
    return Body(media_type, await _rest(body, most_bytes, timeout_s))


def _declared_bytes(headers: Mapping[str, str]) -> int:
    """Return the length that a head declares, in digits alone as the parser has seen; 0 where it declares none."""
    # There may be thousands of leading zeros, and CPython reads no number of so many digits.
    return int(headers.get(_CONTENT_LENGTH, "0").lstrip("0") or "0")


def _ask_for_body(request: Request) -> None:
    """Send the interim answer that a caller waits for before it sends a body (RFC 9110 §10.1.1)."""
    transport = request.connection.transport
    if transport is not None and not request.body.total_bytes and not request.body.is_eof():
        transport.write(_CONTINUE)


def _complete(body: StreamReader) -> bytes:
    """Return the octets of a body that is all there, unless its connection has gone away since."""
    if body.exception() is not None:
        raise MalformedRequest
    # aiohttp's own reading is for what is still to come, and takes a hundredth of what it costs to validate a code.
    return b"".join(body._buffer)  # noqa: SLF001  no octet of it has been read yet


async def _rest(body: StreamReader, most_bytes: int, timeout_s: float) -> bytes:
    octets = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while piece := await body.readany():
                octets += piece
                if len(octets) > most_bytes:
                    raise BodyTooLarge
    except TimeoutError:
        raise BodyTooSlow from None
    except (web.RequestPayloadError, ConnectionError):
        raise MalformedRequest from None
    return bytes(octets)


@lru_cache(maxsize=64)
def _media_type(value: str) -> MediaType | None:
    """Return the media type of a `Content-Type` value whose only parameter is a `charset` of UTF-8, or none."""
    essence, _, parameter = value.partition(";")
    if parameter.strip(" \t").lower() not in {"", "charset=utf-8", 'charset="utf-8"'}:
        return None
    try:
        return MediaType(essence.strip(" \t").lower())
    except ValueError:
        return None


def json_object(octets: bytes) -> Mapping[str, object]:
    """Return the object that a JSON text is (RFC 8259), read strictly.

    Args:
        octets: UTF-8 without a byte-order mark.

    Returns:
        Its properties; every string in it can be encoded as UTF-8.

    Raises:
        InvalidInput: it is broken, no object, nested too deeply, or has a repeated property, a number that is none in
            JSON or too long, or a lone surrogate.
    """
    plain = plain_object(octets)
    return json_object_at_length(octets) if plain is None else plain


def json_object_at_length(octets: bytes) -> Mapping[str, object]:
    """Return the object that a JSON text is, by the standard parser; as `json_object`."""
    try:
        text = octets.decode("utf-8")
        content = _DECODER.decode(text)
        if "\\u" in text:  # only an escape can make a lone surrogate
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise InvalidInput({"body": [_NOT_JSON]}) from None
    if type(content) is not dict:
        raise InvalidInput({"body": ["must be a JSON object"]})
    return cast("dict[str, object]", content)


def plain_object(octets: bytes) -> Mapping[str, str] | None:
    """Return the object that a JSON text is, where it is of strings without escapes and of nothing else.

    orjson reads it at a fraction of the cost, but is silent about repeats. Here they show: a property and its string
    have four quotation marks, so after a property that came twice there are more than four for each that is left.
    """
    if _BACKSLASH in octets:
        return None
    try:
        content = orjson.loads(octets)
    except orjson.JSONDecodeError:
        return None
    if (
        type(content) is dict
        and octets.count(b'"') == _MARKS_OF_A_PROPERTY * len(content)
        and _STRINGS.issuperset(map(type, content.values()))
    ):
        return content
    return None


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise InvalidInput(naming.each(naming.repeated(pairs), "must be given once"))
    return content


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError(_NOT_JSON)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(_NOT_JSON)
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_repeats, parse_constant=_refuse_constant, parse_float=_finite
)


def form(octets: bytes) -> Mapping[str, str]:
    """Return the fields of a form (application/x-www-form-urlencoded), read strictly.

    Raises:
        InvalidInput: it is not form-encoded UTF-8, has too many fields, or a repeated one.
    """
    try:
        pairs = form_pairs(octets.decode("ascii"), most=_MOST_FORM_FIELDS)
    except UnicodeDecodeError:
        raise InvalidInput({"body": ["must be percent-encoded UTF-8"]}) from None
    except ValueError as fault:
        raise InvalidInput({"body": [str(fault)]}) from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidInput(naming.each(naming.repeated(pairs), "must be given once"))
    return fields
