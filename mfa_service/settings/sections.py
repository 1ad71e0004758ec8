"""Every setting of the service: its section, name, kind, default, bounds and meaning.

`Settings()` holds the defaults alone. A file's or variable's key is the attribute's name; `try_` stands for `try`.
"""
# ruff: noqa: RUF009  # the calls make dataclass fields, as dataclasses.field does

from dataclasses import dataclass, field
from pathlib import Path

from mfa_service.settings.kinds import choice, folder, optional_file, switch, text, whole

_URL = r"https?://[^\s/?#@]+(?:/[^\s?#]*[^\s?#/])?"
_MEANING = r"[!#-\[\]-~]+=mfa:(?:enroll|authenticate)"  # RFC 6749 appendix A.4, and ours
_CLAIM = r"[A-Za-z0-9_.:/-]{1,128}"


@dataclass(frozen=True, slots=True)
class Http:
    """Where and how the API is served."""

    host: str = text("127.0.0.1", "Address the API listens on.", pattern=r"\S+", bounds="a host name or an address")
    port: int = whole(8080, "Port of the API; 0 takes a free one.", least=0, most=65_535)
    workers: int = whole(1, "Worker processes; more than one needs redis.url.", least=1, most=256)
    base_path: str = text(
        "/ciam-mfa/v2",
        "Path in front of every call.",
        pattern=r"(?:/[A-Za-z0-9._~-]+)*",
        bounds="a path such as /ciam-mfa/v2, without a slash at its end; empty for none",
    )
    public_url: str = text(
        "",
        "URL that callers reach the service at, without the base path.",
        pattern=f"(?:{_URL})?",
        bounds="an http or https URL without a slash at its end; empty to make it of host and port",
    )
    max_requests: int = whole(
        1_024,
        "Requests that a worker works on at once, one application's up to 3/4; besides, 1/4 as many token calls; "
        "else 503.",
        least=16,
        most=65_536,
    )
    max_body_bytes: int = whole(16_384, "Largest request body, in bytes.", least=1_024, most=1_048_576)
    header_timeout_s: int = whole(10, "A request's head must be complete after so many seconds.", least=1, most=60)
    body_timeout_s: int = whole(10, "A request's body must be complete after so many seconds.", least=1, most=60)
    keepalive_timeout_s: int = whole(75, "An idle connection is closed after so many seconds.", least=1, most=3_600)
    drain_s: int = whole(
        0,
        "On shutdown, seconds to go on serving while telling the load balancer that this instance is not ready.",
        least=0,
        most=300,
    )
    shutdown_timeout_s: int = whole(20, "On shutdown, seconds that requests under way may take.", least=1, most=300)


@dataclass(frozen=True, slots=True)
class Ops:
    """Where health and metrics are served, never on the API's port."""

    host: str = text(
        "127.0.0.1", "Address that health and metrics listen on.", pattern=r"\S+", bounds="a host name or an address"
    )
    port: int = whole(9090, "Port of health and metrics; 0 takes a free one.", least=0, most=65_535)


@dataclass(frozen=True, slots=True)
class Database:
    """The registry of applications, keys and devices."""

    url: str = text(
        "",
        "SQLAlchemy URL of the registry; empty for an SQLite file in data_dir.",
        pattern=r"(?:(?:sqlite\+aiosqlite|postgresql\+asyncpg)://\S+)?",
        bounds="empty, or a URL of sqlite+aiosqlite:// or postgresql+asyncpg://",
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class Redis:
    """The store of open challenges where there is more than one process."""

    url: str = text(
        "",
        "URL of Redis or Valkey; empty keeps challenges in the memory of the one process.",
        pattern=r"(?:(?:rediss?|unix|redis\+sentinel|redis\+cluster)://\S+)?",
        bounds="empty, or a URL of redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
        secret=True,
    )
    key_prefix: str = text(
        "mfa",
        "What every key begins with; deployments that share a Redis each take their own.",
        pattern=r"[A-Za-z0-9._-]{1,32}",
        bounds="1 to 32 letters, digits, dots, underscores and hyphens",
    )
    deadline_ms: int = whole(500, "A batch is given up after so many milliseconds.", least=10, most=10_000)
    allow_eviction: bool = switch(
        "Start on a Redis that may evict keys under memory pressure, and so lose open challenges.", default=False
    )


@dataclass(frozen=True, slots=True)
class Otp:
    """How one-time passwords are checked and how a user's authenticator names them."""

    window_steps: int = whole(1, "Time steps before and after the present one whose codes count.", least=0, most=2)
    clock_tolerance_ms: int = whole(
        3_000,
        "Milliseconds that this machine's clock and the database's may be apart; beyond, no code is accepted.",
        least=100,
        most=15_000,
    )
    issuer_name: str = text(
        "mfa-service",
        "Name that authenticators show beside the user's.",
        pattern=r"[^:\s](?:[^:]{0,62}[^:\s])?",
        bounds="1 to 64 characters without a colon, no blank at either end",
    )


@dataclass(frozen=True, slots=True)
class Challenge:
    """How long a challenge lives and how many wrong codes it takes."""

    ttl_s: int = whole(300, "Seconds that a challenge lives.", least=1, most=3_600)
    activation_ttl_s: int = whole(900, "Seconds that a new device waits for its first code.", least=1, most=900)
    max_attempts: int = whole(5, "Wrong codes that a challenge takes.", least=1, most=100)


@dataclass(frozen=True, slots=True)
class Guessing:
    """How a device answers wrong codes in a row over all its challenges (RFC 4226 §7.3, NIST SP 800-63B §5.2.2)."""

    free_failures: int = whole(5, "The device waits from this many wrong codes in a row on.", least=1, most=100)
    first_wait_s: int = whole(30, "Seconds of the first wait; each further one doubles.", least=1, most=86_400)
    longest_wait_s: int = whole(3_600, "Seconds that no wait exceeds.", least=1, most=86_400)
    disable_after: int = whole(
        100, "The device is blocked at this many wrong codes in a row, until an operator unlocks it.", least=1, most=100
    )


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one application may ask."""

    requests_per_s: int = whole(0, "Requests a second for each application; 0 sets no limit.", least=0, most=1_000_000)
    burst: int = whole(0, "Requests beyond that rate at once; needed where there is one.", least=0, most=1_000_000)


@dataclass(frozen=True, slots=True)
class Device:
    """What a user may have."""

    max_per_user: int = whole(5, "Devices of one user, pending ones included.", least=1, most=100)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Who issues access tokens and which are taken."""

    issuer: str = text(
        "embedded",
        "The issuer of access tokens: this service itself, or the URL of an OAuth 2 or OpenID issuer.",
        pattern=rf"embedded|{_URL}/?",
        bounds="embedded, or an http or https URL without query and fragment",
    )
    profile: str = choice(
        "rfc9068",
        "What another issuer's tokens are like: RFC 9068 to the letter, or JWTs not seen to be of another kind.",
        among=("rfc9068", "relaxed"),
    )
    client_claim: str = text(
        "",
        "Claim of another issuer's tokens that names the application; empty for client_id, and azp where that is not.",
        pattern=rf"(?:{_CLAIM})?",
        bounds="the name of a claim, or empty",
    )
    scope_claim: str = text(
        "",
        "Claim of another issuer's tokens that says what they allow; empty for scope, and scp where that is not.",
        pattern=rf"(?:{_CLAIM})?",
        bounds="the name of a claim, or empty",
    )
    scope_map: str = text(
        "",
        "What another issuer's scopes stand for here, and no other one counts then; empty where they have our names.",
        pattern=rf"(?:{_MEANING}(?: {_MEANING})*)?",
        bounds="pairs such as api.enroll=mfa:enroll api.login=mfa:authenticate, or empty",
    )
    rsa_algorithm: str = choice(
        "RS256",
        "How another issuer signs with an RSA key for which it names no algorithm.",
        among=("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    )
    life_s: int = whole(3_600, "Seconds that an access token made here lives.", least=1, most=3_600)
    leeway_s: int = whole(10, "Seconds that an issuer's clock may differ from this one.", least=0, most=30)
    audience: str = text(
        "",
        "Audience that tokens must name (aud); empty for the registry's own, which needs the embedded issuer.",
        pattern=r"\S*",
        bounds="text without blanks",
    )
    public_issuer: str = text(
        "",
        "Issuer that tokens made here name (iss); empty for the registry's own.",
        pattern=rf"(?:{_URL}/?)?",
        bounds="an http or https URL without query and fragment, or empty",
    )
    # Every OAuth 2 library checks RS256: RFC 9068 §4 asks it of all.
    signing_algorithm: str = choice(
        "RS256", "How tokens made here are signed (RFC 7518, RFC 8037).", among=("RS256", "ES256", "EdDSA")
    )

    @property
    def is_embedded(self) -> bool:
        """Whether this service issues its tokens itself."""
        return self.issuer == "embedded"


@dataclass(frozen=True, slots=True)
class Keys:
    """The root key, which seals every other key."""

    provider: str = choice(
        "root-key",
        "Who holds the root key: this service, or the Transit engine of a HashiCorp Vault (vault.*).",
        among=("root-key", "vault-transit"),
    )
    root: str = text(
        "",
        "The root key, the same on every node; empty for the file root.key in data_dir.",
        pattern=r"\S*",
        bounds="text without blanks",
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class Vault:
    """The HashiCorp Vault that holds the root key where keys.provider says so."""

    address: str = text(
        "",
        "URL of Vault; over plain http on this machine alone.",
        pattern=r"(?:https://[^\s/?#@]+(?:/[^\s?#]*[^\s?#/])?|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?)?",
        bounds="an https URL without a slash at its end, an http URL of this machine, or empty",
    )
    token: str = text(
        "", "The token of this service.", pattern=r"[!-~]*", bounds="ASCII text without blanks", secret=True
    )
    mount: str = text(
        "transit",
        "Where the Transit engine is mounted.",
        pattern=r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*",
        bounds="a path such as transit, without a slash at either end",
    )
    key_name: str = text(
        "mfa-service",
        "The key in it, of the type aes256-gcm96.",
        pattern=r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?",
        bounds="letters, digits, underscores, and within the name dots and hyphens",
    )
    namespace: str = text(
        "", "Namespace of Vault Enterprise; empty for none.", pattern=r"[A-Za-z0-9_/-]*", bounds="a path, or empty"
    )
    ca_file: Path | None = optional_file(
        "Certificates, in PEM, that Vault's is checked with; empty for those of the system."
    )


@dataclass(frozen=True, slots=True)
class Audit:
    """The record of what was decided."""

    file: Path | None = optional_file("File that takes one line for each decision; empty writes none.")
    on_failure: str = choice(
        "refuse",
        "Where a line cannot be written: refuse OTP work, or count the lost line and go on.",
        among=("refuse", "count"),
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged to standard error."""

    level: str = choice("info", "The least level that is logged.", among=("debug", "info", "warning", "error"))
    format: str = choice("json", "JSON lines for machines, or lines for people.", among=("json", "console"))


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages for people, on the API's port."""

    docs: bool = switch("Serve the API's description at /docs and /openapi.json.", default=True)
    try_: bool = switch("Serve a page to try the three steps by hand at /try; not for production.", default=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings that hold for one process."""

    data_dir: Path = folder("var", "Folder of the SQLite file and the root key, made on first start with mode 0700.")
    http: Http = field(default_factory=Http)
    ops: Ops = field(default_factory=Ops)
    database: Database = field(default_factory=Database)
    redis: Redis = field(default_factory=Redis)
    otp: Otp = field(default_factory=Otp)
    challenge: Challenge = field(default_factory=Challenge)
    guessing: Guessing = field(default_factory=Guessing)
    quota: Quota = field(default_factory=Quota)
    device: Device = field(default_factory=Device)
    tokens: Tokens = field(default_factory=Tokens)
    keys: Keys = field(default_factory=Keys)
    vault: Vault = field(default_factory=Vault)
    audit: Audit = field(default_factory=Audit)
    log: Log = field(default_factory=Log)
    pages: Pages = field(default_factory=Pages)
