"""What is asked of every parser of foreign bytes: it raises what it says and nothing else, and what it gives is clean.

A target takes any bytes, hands them to one parser in the form that it takes, and asserts what has to hold.
"""

import base64
import json
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

import orjson

from mfa_service import names, sealing
from mfa_service import settings as settings_module
from mfa_service.errors import (
    AccessDenied,
    ChallengeNotFound,
    ClientRefused,
    InvalidInput,
    MalformedOtp,
    NameRefused,
    SettingsInvalid,
    WrongRootKey,
)
from mfa_service.settings import Settings
from mfa_service.settings.catalogue import CATALOGUE
from mfa_service.stores.redis import urls as redis_urls
from mfa_service.stores.sql import urls as database_urls
from mfa_service.web import bodies, credentials, paths, schemas, tracing

Target = Callable[[bytes], None]
Given = TypeVar("Given")
Taken = TypeVar("Taken")

_LONGEST_NAME = 255
_LONGEST_SHOWN = 43
_MOST_FAULTS = 20 + 5
_MOST_FIELDS = 32
_TURNING = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
_SECRET_VARIABLES = {entry.variable for entry in CATALOGUE.values() if entry.kind.secret}
_FILE_VARIABLES = ("_FILE", "MFA_CONFIG")


def json_body(octets: bytes) -> None:
    """A JSON body: what is taken is what other readers of JSON read too, and comes through being written again."""
    try:
        content = bodies.json_object(octets)
    except InvalidInput as refused:
        _is_presentable(refused)
        return
    with suppress(RecursionError):  # near the deepest nesting, where writing needs more room than reading
        assert content == json.loads(octets.decode("utf-8"))
        assert bodies.json_object(json.dumps(content, ensure_ascii=False).encode("utf-8")) == content
    orjson.loads(octets)


def form_body(octets: bytes) -> None:
    """A form: what is taken is what another reader of forms reads too, and comes through being written again."""
    try:
        fields = bodies.form(octets)
    except InvalidInput as refused:
        _is_presentable(refused)
        return
    assert len(fields) <= _MOST_FIELDS
    assert list(fields.items()) == parse_qsl(octets.decode("ascii"), keep_blank_values=True, errors="strict")
    assert bodies.form(urlencode(fields).encode("ascii")) == fields


def call_body(octets: bytes) -> None:
    """The JSON of each call: names come out in their stored form, and one-time passwords as digits."""
    try:
        content = bodies.json_object(octets)
    except InvalidInput:
        return
    with suppress(InvalidInput):
        _is_stored(_presented(schemas.pairing, content).device_name)
    with suppress(InvalidInput):
        initiation = _presented(schemas.initiation, content)
        _is_stored(initiation.user_name)
        _is_stored(initiation.device_name)
    with suppress(InvalidInput, MalformedOtp):
        otp = _presented(schemas.one_time_password, content)
        assert len(otp) in {6, 8}
        assert set(otp) <= set("0123456789")
        assert otp in content.values()


def name(octets: bytes) -> None:
    """A name: the stored form is one, can be seen, and is the same by every way in."""
    text = octets.decode("utf-8", "surrogateescape")
    with suppress(NameRefused):
        stored = names.canonical(text)
        assert stored == unicodedata.normalize("NFC", text)
        _is_stored(stored)
        assert paths.user_name(quote(text, safe="")) == stored
        given = {"userName": text, "deviceName": "x", "deviceType": "totp"}
        assert schemas.initiation(bodies.json_object(json.dumps(given).encode())).user_name == stored
    with suppress(NameRefused):
        assert names.canonical_device(text) not in {"", "all"}


def path(octets: bytes) -> None:
    """Segments of a path and a query: decoded once, and as other readers decode them."""
    text = octets.decode("utf-8", "surrogateescape")
    with suppress(InvalidInput):
        stored = _presented(paths.user_name, text)
        _is_stored(stored)
        assert stored == unicodedata.normalize("NFC", unquote_to_bytes(text).decode("utf-8"))
    with suppress(InvalidInput):
        device_type, _, device = text.partition("/")
        removed = _presented(lambda given: paths.removal(device_type, given), device)
        assert removed is None or _is_stored(removed) != "all"
    with suppress(ChallengeNotFound):
        assert len(paths.auth_id(text)) == len(text) == 36
        assert text == text.lower()
    with suppress(InvalidInput):
        parameters = _presented(lambda given: paths.query(given, known=frozenset({"type"})), text)
        assert set(parameters) <= {"type"}
        assert list(parameters.items()) == parse_qsl(text, keep_blank_values=True, errors="strict")


def authorization(octets: bytes) -> None:
    """The `Authorization` headers of a request, one a line."""
    values = octets.decode("utf-8", "surrogateescape").split("\n") if octets else []
    with suppress(AccessDenied):
        token = credentials.bearer_token(values)
        [value] = values
        assert value.lower().startswith("bearer")
        assert value[7:] == token
    with suppress(ClientRefused, InvalidInput):
        given = credentials.basic_credentials(values)
        assert (given is None) is (not values)
        if given is not None:
            assert repr(given) == "BasicCredentials(...)"
            joined = ":".join(quote(part, safe="") for part in given)
            assert credentials.basic_credentials([f"Basic {base64.b64encode(joined.encode()).decode()}"]) == given


def traceparent(octets: bytes) -> None:
    """The `traceparent` headers of a request, one a line."""
    values = octets.decode("utf-8", "surrogateescape").split("\n")
    found = tracing.given_trace_id(values)
    if found is not None:
        assert len(values) == 1
        assert values[0][3:35] == found
        assert set(found) <= set("0123456789abcdef")
        assert set(found) != {"0"}


def environment(octets: bytes) -> None:
    """Settings by the environment, one a line; variables that name files are left out."""
    lines = octets.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    pairs = (line.partition("=")[::2] for line in lines)
    variables = {variable: value for variable, value in pairs if not variable.endswith(_FILE_VARIABLES)}
    secrets = [variables[variable] for variable in _SECRET_VARIABLES & variables.keys()]
    try:
        settings, warnings = settings_module.load(config_path=None, environment=variables, flags={})
    except SettingsInvalid as refused:
        _is_told(refused)
        return
    assert all(map(_is_line, warnings))
    _is_printed(settings)
    assert not [secret for secret in secrets if len(secret) > 40 and secret in repr(settings)]


def settings_file(octets: bytes) -> None:
    """Settings by a file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "given.toml"
        file.write_bytes(octets)
        try:
            settings = settings_module.load(config_path=file, environment={}, flags={}).settings
        except SettingsInvalid as refused:
            _is_told(refused)
            return
    _is_printed(settings)


def address(octets: bytes) -> None:
    """The texts among the settings that have parsers of their own: two URLs, and the root key."""
    text = octets.decode("utf-8", "surrogateescape")
    for parse in (redis_urls.parse, database_urls.parse):
        try:
            parse(text)
        except SettingsInvalid as refused:
            _is_told(refused)
    with suppress(WrongRootKey):
        sealing.root_key_from_text(text, random_bytes=bytes)


def _presented(parse: Callable[[Given], Taken], given: Given) -> Taken:
    """Return what a parser gives; a refusal of its is looked at on its way out."""
    try:
        return parse(given)
    except InvalidInput as refused:
        _is_presentable(refused)
        raise


def _is_presentable(refused: InvalidInput) -> None:
    """A refusal names few faults, each short, and breaks no line."""
    assert 1 <= len(refused.errors) <= _MOST_FAULTS
    for named, messages in refused.errors.items():
        assert len(named) <= _LONGEST_SHOWN
        assert named.isprintable()
        assert messages
        assert all(map(_is_line, messages))


def _is_stored(text: str) -> str:
    """A name in the form that is stored: short, normalised, seen whole, and its own stored form."""
    assert 1 <= len(text) <= _LONGEST_NAME
    assert unicodedata.is_normalized("NFC", text)
    assert text == text.strip()
    assert not {unicodedata.category(character) for character in text} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(character) for character in text} & _TURNING
    assert names.canonical(text) == text
    text.encode("utf-8")
    return text


def _is_told(refused: Exception) -> None:
    """A refusal is told in one line that can be printed."""
    assert _is_line(str(refused)), type(refused)


def _is_line(text: str) -> bool:
    return bool(text) and "\n" not in text and text.isprintable()


def _is_printed(settings: Settings) -> None:
    """Settings are printed as a file that can be read again."""
    printed = tomllib.loads(settings_module.show(settings))
    assert printed["http"]["port"] == settings.http.port


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.__name__: target
        for target in (
            json_body,
            form_body,
            call_body,
            name,
            path,
            authorization,
            traceparent,
            environment,
            settings_file,
            address,
        )
    }
)
