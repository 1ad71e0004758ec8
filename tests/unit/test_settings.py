"""Settings: who wins, what is refused and how it is said, and what is printed."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from mfa_service.errors import SettingsInvalid
from mfa_service.settings import Loaded, Settings, default_toml, load, secret_files, show
from mfa_service.settings.catalogue import CATALOGUE
from mfa_service.settings.secret_files import is_open_to_others

CONFIG = Path(__file__).parents[2] / "config"
SECRETS = {"keys.root", "vault.token", "database.url", "redis.url"}
REDIS = "redis://:hunter2@cache:6379/0"


def read(
    toml: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    folder: Path | None = None,
) -> Loaded:
    path = toml if isinstance(toml, Path) else None
    if isinstance(toml, str):
        assert folder is not None
        path = folder / "given.toml"
        path.write_text(toml, encoding="utf-8")
    return load(config_path=path, environment=environment or {}, flags=flags or {})


def refusal(**sources: object) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        read(**sources)  # type: ignore[arg-type]  # each caller names the parameters of `read`
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


class TestOrder:
    def test_without_any_source_the_defaults_hold(self) -> None:
        assert read() == (Settings(), [])

    def test_the_defaults_are_the_designs(self) -> None:
        settings = Settings()
        assert (settings.data_dir, settings.http.host, settings.http.port) == (Path("var"), "127.0.0.1", 8080)
        assert (settings.challenge.ttl_s, settings.challenge.activation_ttl_s, settings.challenge.max_attempts) == (
            300,
            900,
            5,
        )
        assert dataclasses.astuple(settings.guessing) == (5, 30, 3_600, 100)
        assert (settings.otp.window_steps, settings.otp.clock_tolerance_ms) == (1, 3_000)
        assert (settings.tokens.issuer, settings.tokens.life_s, settings.tokens.leeway_s) == ("embedded", 3_600, 10)
        assert (settings.pages.docs, settings.pages.try_) == (True, False)

    def test_a_file_wins_over_the_defaults(self, tmp_path: Path) -> None:
        assert read("http.port = 1", folder=tmp_path).settings.http.port == 1

    def test_the_environment_wins_over_a_file(self, tmp_path: Path) -> None:
        assert read("http.port = 1", {"MFA_HTTP_PORT": "2"}, folder=tmp_path).settings.http.port == 2

    def test_a_flag_wins_over_the_environment(self, tmp_path: Path) -> None:
        loaded = read("http.port = 1", {"MFA_HTTP_PORT": "2"}, {"http.port": 3}, folder=tmp_path)
        assert loaded.settings.http.port == 3

    def test_what_a_later_source_leaves_out_stays(self, tmp_path: Path) -> None:
        settings = read("[http]\nport = 1\nhost = '::'", {"MFA_HTTP_PORT": "2"}, folder=tmp_path).settings
        assert (settings.http.host, settings.http.port) == ("::", 2)

    def test_a_flag_of_none_is_not_given(self) -> None:
        assert read(flags={"http.port": None}).settings.http.port == 8080

    def test_a_flags_text_is_read_as_the_environments(self) -> None:
        settings = read(flags={"http.port": "81", "pages.try": "true", "data_dir": Path("elsewhere")}).settings
        assert (settings.http.port, settings.pages.try_, settings.data_dir) == (81, True, Path("elsewhere"))

    def test_the_environment_names_a_file_where_no_flag_does(self, tmp_path: Path) -> None:
        named, given = tmp_path / "named.toml", tmp_path / "given.toml"
        named.write_text("http.port = 1", encoding="utf-8")
        given.write_text("http.port = 2", encoding="utf-8")
        assert read(None, {"MFA_CONFIG": str(named)}) == (
            Settings(http=dataclasses.replace(Settings().http, port=1)),
            [],
        )
        assert read(given, {"MFA_CONFIG": str(named)}).settings.http.port == 2

    @pytest.mark.parametrize("key", sorted(CATALOGUE))
    def test_every_setting_is_read_from_its_variable(self, key: str) -> None:
        entry = CATALOGUE[key]
        default = entry.value_in(Settings())
        text = str(default).lower() if isinstance(default, bool) else str(default)
        assert read(environment={entry.variable: text}) == (Settings(), [])

    def test_variables_without_a_section_and_of_two_words_are_read(self) -> None:
        environment = {
            "MFA_DATA_DIR": "/srv/mfa",
            "MFA_HTTP_PUBLIC_URL": "https://mfa.example",
            "MFA_AUDIT_FILE": "a.log",
        }
        settings = read(environment=environment).settings
        assert (settings.data_dir, settings.http.public_url) == (Path("/srv/mfa"), "https://mfa.example")
        assert settings.audit.file == Path("a.log")


class TestSecretFiles:
    @pytest.mark.parametrize("key", sorted(SECRETS))
    def test_a_secret_is_read_from_the_file_its_variable_names(self, key: str, tmp_path: Path) -> None:
        value = {
            "keys.root": "key",
            "vault.token": "hvs.key",
            "database.url": "postgresql+asyncpg://db/mfa",
            "redis.url": REDIS,
        }[key]
        (tmp_path / "secret").write_text(value + "\n", encoding="utf-8")
        settings = read(environment={CATALOGUE[key].variable + "_FILE": str(tmp_path / "secret")}).settings
        assert CATALOGUE[key].value_in(settings) == value

    def test_the_exact_variable_wins_over_the_file(self) -> None:
        environment = {"MFA_KEYS_ROOT": "exact", "MFA_KEYS_ROOT_FILE": "/nowhere"}
        assert read(environment=environment) == (Settings(keys=dataclasses.replace(Settings().keys, root="exact")), [])

    def test_a_secret_that_did_not_arrive_is_no_default(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n", encoding="utf-8")
        assert refusal(environment={"MFA_KEYS_ROOT_FILE": str(tmp_path / "empty")}) == (
            "environment variable MFA_KEYS_ROOT_FILE: the file is empty"
        )
        assert "MFA_KEYS_ROOT_FILE" in refusal(environment={"MFA_KEYS_ROOT_FILE": str(tmp_path / "missing")})
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        assert "not UTF-8" in refusal(environment={"MFA_KEYS_ROOT_FILE": str(tmp_path / "binary")})

    @pytest.mark.parametrize(("mode", "warns"), [(0o400, False), (0o600, False), (0o440, True), (0o644, True)])
    def test_a_file_that_is_open_to_others_is_taken_with_one_warning(
        self, tmp_path: Path, mode: int, *, warns: bool
    ) -> None:
        path = tmp_path / "root"
        path.write_text("hunter2", encoding="utf-8")
        path.chmod(mode)
        environment = {"MFA_KEYS_ROOT_FILE": str(path)}
        loaded = read(environment=environment)
        assert loaded.settings.keys.root == "hunter2"
        assert len(loaded.warnings) == warns
        for warning in loaded.warnings:
            assert warning.startswith("environment variable MFA_KEYS_ROOT_FILE: the file is open to others ")
            assert all(part in warning for part in (f"(mode {mode:04o})", "chmod 400", "defaultMode: 0400", "fsGroup"))
            assert "hunter2" not in warning
            assert warning.isprintable()
        assert read(environment={**environment, "MFA_KEYS_ROOT": "exact"}).warnings == []

    def test_another_users_file_may_be_read_by_the_group_that_its_reader_needs(self) -> None:
        closed = {0o400, 0o600, 0o700}
        for mode in (0o400, 0o600, 0o700, 0o440, 0o640, 0o420, 0o410, 0o404, 0o444, 0o644, 0o401):
            assert is_open_to_others(mode, is_own=True) == (mode not in closed)
            assert is_open_to_others(mode, is_own=False) == (mode not in closed | {0o440, 0o640})

    @pytest.mark.parametrize(("owner", "warns"), [(0, False), (10_001, False), (10_002, True)])
    def test_a_file_of_neither_this_user_nor_root_is_warned_of_whatever_its_mode(
        self, monkeypatch: pytest.MonkeyPatch, owner: int, *, warns: bool
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 10_001)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", lambda _: SimpleNamespace(st_uid=owner, st_mode=0o100_400))
            told = secret_files.warning(Path("root"), "environment variable MFA_KEYS_ROOT_FILE")
        if warns:
            assert told == (
                "environment variable MFA_KEYS_ROOT_FILE: the file belongs to another user (uid 10002): "
                "give it to root or to uid 10001"
            )
        else:
            assert told is None

    def test_a_setting_that_is_no_secret_is_not_read_from_a_file(self) -> None:
        loaded = read(environment={"MFA_HTTP_PORT_FILE": "/nowhere"})
        assert loaded.settings == Settings()
        assert loaded.warnings == ["environment variable MFA_HTTP_PORT_FILE is no setting and was ignored"]

    def test_a_setting_named_file_is_no_secrets_file(self) -> None:
        names = [entry.variable for entry in CATALOGUE.values()]
        names += [entry.variable + "_FILE" for entry in CATALOGUE.values() if entry.kind.secret]
        assert len(names) == len(set(names))
        assert read(environment={"MFA_AUDIT_FILE": "a.log", "MFA_AUDIT": "b"}).warnings == [
            "environment variable MFA_AUDIT is no setting and was ignored"
        ]


class TestUnknownNames:
    def test_an_unknown_variable_warns(self) -> None:
        loaded = read(environment={"MFA_HTPP_PORT": "1", "PATH": "/bin", "MFA_TEST_SERVER": "x", "MFAX": "y"})
        assert loaded == (Settings(), ["environment variable MFA_HTPP_PORT is no setting and was ignored"])

    def test_an_unknown_key_of_a_file_is_refused_with_file_and_key(self, tmp_path: Path) -> None:
        text = refusal(toml="[http]\nprot = 1", folder=tmp_path)
        assert text == f"file {tmp_path}/given.toml: http.prot: there is no such setting"

    @pytest.mark.parametrize(
        "toml", ["[htpp]", "x = 1", "http = 3", "[http.port]", "[http]\ntry_ = 1", "[pages]\ntry_ = true"]
    )
    def test_what_is_no_setting_in_a_file_is_refused(self, toml: str, tmp_path: Path) -> None:
        assert "given.toml: " in refusal(toml=toml, folder=tmp_path)

    def test_an_unknown_flag_is_refused(self) -> None:
        assert refusal(flags={"http.prot": 1}) == "flag http.prot: there is no such setting"

    def test_an_unknown_key_breaks_no_line(self, tmp_path: Path) -> None:
        assert r"a\nb" in refusal(toml='"a\\nb" = 1', folder=tmp_path)


class TestBadValues:
    def test_a_bad_variable_is_refused_with_its_name_and_bounds(self) -> None:
        assert (
            refusal(environment={"MFA_HTTP_PORT": "70000"}) == "environment variable MFA_HTTP_PORT: must be 0 to 65,535"
        )

    def test_a_bad_flag_is_refused_with_its_key(self) -> None:
        assert refusal(flags={"otp.window_steps": 3}) == "flag otp.window_steps: must be 0 to 2"

    @pytest.mark.parametrize("text", ["", " 80", "+80", "080", "8_0", "8.0", "1e3", "0x50", "٨٠", "-0", "true"])
    def test_a_number_in_the_environment_is_decimal_digits(self, text: str) -> None:
        assert "must be a whole number" in refusal(environment={"MFA_HTTP_PORT": text})

    @pytest.mark.parametrize("text", ["", "True", "yes", "1", "on", " true"])
    def test_a_truth_value_in_the_environment_is_true_or_false(self, text: str) -> None:
        assert "must be true or false" in refusal(environment={"MFA_PAGES_TRY": text})

    @pytest.mark.parametrize(
        "toml",
        [
            "http.port = '80'",
            "http.port = 80.0",
            "http.port = true",
            "http.host = 1",
            "pages.try = 1",
            "pages.try = 'true'",
        ],
    )
    def test_a_file_gives_each_setting_its_own_type(self, toml: str, tmp_path: Path) -> None:
        assert toml.partition(" ")[0] in refusal(toml=toml, folder=tmp_path)

    @pytest.mark.parametrize("value", [0, -1, 10**9, 10**30])
    @pytest.mark.parametrize(
        "key",
        [
            "challenge.max_attempts",
            "guessing.free_failures",
            "guessing.first_wait_s",
            "guessing.longest_wait_s",
            "guessing.disable_after",
        ],
    )
    def test_a_guessing_limit_that_limits_nothing_is_refused(self, key: str, value: int) -> None:
        assert refusal(flags={key: str(value)}).startswith(f"flag {key}: must be 1 to ")

    @pytest.mark.parametrize(
        ("key", "good", "bad"),
        [
            ("otp.window_steps", (0, 2), (-1, 3)),
            ("tokens.leeway_s", (0, 30), (-1, 31)),
            ("challenge.max_attempts", (1, 100), (101,)),
            ("challenge.ttl_s", (1, 3_600), (0, 3_601)),
            ("http.port", (0, 65_535), (-1, 65_536)),
            ("http.workers", (1,), (0, -1)),
            ("tokens.life_s", (1, 3_600), (0, 3_601)),
        ],
    )
    def test_the_bounds_themselves_are_good(self, key: str, good: tuple[int, ...], bad: tuple[int, ...]) -> None:
        assert [CATALOGUE[key].value_in(read(flags={key: value}).settings) for value in good] == list(good)
        assert all("must be" in refusal(flags={key: value}) for value in bad)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("http.base_path", "ciam"),
            ("http.base_path", "/ciam/"),
            ("http.public_url", "ftp://x"),
            ("http.public_url", "https://user:hunter2@x"),
            ("http.host", ""),
            ("data_dir", ""),
            ("database.url", "mysql://hunter2"),
            ("database.url", "postgresql://hunter2@db/x"),
            ("redis.url", "http://hunter2"),
            ("tokens.issuer", "somewhere"),
            ("tokens.issuer", "https://user:hunter2@x"),
            ("tokens.profile", "any"),
            ("tokens.client_claim", "client id"),
            ("tokens.scope_map", "api=mfa:admin"),
            ("tokens.scope_map", "api=mfa:enroll  api=mfa:enroll"),
            ("tokens.rsa_algorithm", "HS256"),
            ("tokens.signing_algorithm", "HS256"),
            ("audit.on_failure", "hope"),
            ("log.level", "INFO"),
            ("otp.issuer_name", "A:B"),
            ("keys.root", "hunter2\nhunter2"),
            ("http.host", "a\u2028b"),
        ],
    )
    def test_a_text_of_another_shape_is_refused_and_not_repeated(self, key: str, value: str) -> None:
        text = refusal(flags={key: value})
        assert text.startswith(f"flag {key}: must ")
        assert "hunter2" not in text

    def test_a_secret_is_not_repeated_whatever_it_is_given_as(self, tmp_path: Path) -> None:
        assert "1234567" not in refusal(toml="keys.root = 1234567", folder=tmp_path)
        assert "hunter2" not in refusal(toml="keys.root = hunter2", folder=tmp_path)

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        assert refusal(toml=tmp_path / "missing") == f"file {tmp_path}/missing: No such file or directory"
        assert "given.toml: " in refusal(toml="[http", folder=tmp_path)
        (tmp_path / "binary").write_bytes(b"\xff")
        assert refusal(toml=tmp_path / "binary") == f"file {tmp_path}/binary: not UTF-8"


class TestContradictions:
    def test_more_than_one_worker_needs_redis(self) -> None:
        text = refusal(environment={"MFA_HTTP_WORKERS": "2"})
        assert text.startswith("environment variable MFA_HTTP_WORKERS: ")
        assert "needs Redis" in text
        assert read(environment={"MFA_HTTP_WORKERS": "2", "MFA_REDIS_URL": REDIS}).settings.http.workers == 2

    def test_the_block_comes_no_sooner_than_the_first_wait(self) -> None:
        text = refusal(flags={"guessing.disable_after": 4})
        assert text == "flag guessing.disable_after: guessing.disable_after must be at least guessing.free_failures"
        assert read(flags={"guessing.disable_after": 5}).settings.guessing.disable_after == 5

    def test_the_longest_wait_is_no_shorter_than_the_first(self) -> None:
        assert refusal(flags={"guessing.first_wait_s": 3_601}).startswith("flag guessing.first_wait_s: ")

    def test_a_request_quota_needs_a_burst(self) -> None:
        assert "quota.burst" in refusal(flags={"quota.requests_per_s": 10})
        assert read(flags={"quota.requests_per_s": 10, "quota.burst": 1}).settings.quota.burst == 1


class TestPrinting:
    def test_the_default_file_is_the_print_of_the_defaults(self) -> None:
        assert (CONFIG / "default.toml").read_text(encoding="utf-8") == default_toml()

    def test_the_default_file_says_the_defaults(self) -> None:
        assert read(CONFIG / "default.toml") == (Settings(), [])

    def test_the_default_file_has_every_setting_but_the_secrets(self) -> None:
        table = tomllib.loads(default_toml())
        keys = {f"{name}.{key}" for name, part in table.items() if isinstance(part, dict) for key in part} | {
            "data_dir"
        }
        assert keys == set(CATALOGUE) - SECRETS
        assert {key for key, entry in CATALOGUE.items() if entry.kind.secret} == SECRETS

    def test_every_setting_says_what_it_does_and_takes(self) -> None:
        assert all(entry.kind.meaning.endswith(".") and entry.kind.bounds for entry in CATALOGUE.values())

    def test_what_is_shown_holds_the_effective_values(self) -> None:
        settings = read(flags={"otp.issuer_name": 'Bank "Ü" \\', "http.port": 1}).settings
        table = tomllib.loads(show(settings))
        assert (table["otp"]["issuer_name"], table["http"]["port"]) == ('Bank "Ü" \\', 1)
        assert table["keys"]["root"] == table["database"]["url"] == "(not set)"

    def test_a_secret_is_shown_as_set(self) -> None:
        settings = read(environment={"MFA_KEYS_ROOT": "hunter2"}).settings
        assert tomllib.loads(show(settings))["keys"]["root"] == "(set)"

    @pytest.mark.parametrize(
        ("key", "url", "shown"),
        [
            ("redis.url", "redis://cache:6379/0", "redis://cache:6379/0"),
            ("redis.url", "redis://:hunter2@cache/0", "redis://…@cache/0"),
            ("redis.url", "redis+sentinel://u:hun@ter/2?x@h1:1,h2:2/main", "redis+sentinel://…@h1:1,h2:2/main"),
            ("redis.url", "unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock?…"),
            ("database.url", "postgresql+asyncpg://mfa:hunter2@db/mfa?password=x", "postgresql+asyncpg://…@db/mfa?…"),
            (
                "database.url",
                "postgresql+asyncpg:///mfa?user=u@h&password=hunter2",
                "postgresql+asyncpg://…@h&password=hunter2",
            ),
        ],
    )
    def test_a_url_is_shown_without_its_credentials(self, key: str, url: str, shown: str) -> None:
        assert f'url = "{shown}"' in show(read(flags={key: url}).settings)

    def test_no_repr_shows_a_secret(self) -> None:
        environment = {
            "MFA_KEYS_ROOT": "hunter2",
            "MFA_REDIS_URL": REDIS,
            "MFA_DATABASE_URL": "sqlite+aiosqlite:///hunter2",
        }
        assert "hunter2" not in repr(read(environment=environment))


class TestShippedFiles:
    def test_the_development_file_loads(self) -> None:
        settings = read(CONFIG / "development.toml").settings
        assert (settings.log.format, settings.pages.try_, settings.data_dir) == ("console", True, Path("var"))

    def test_the_production_file_loads_once_its_secrets_are_there(self) -> None:
        environment = {
            "MFA_DATABASE_URL": "postgresql+asyncpg://mfa:made-up@db:5432/mfa",
            "MFA_REDIS_URL": "redis+sentinel://mfa:made-up@h1:26379,h2:26379/main",
            "MFA_KEYS_ROOT": "made-up",
        }
        loaded = read(CONFIG / "production.toml", environment)
        assert loaded.warnings == []
        assert (loaded.settings.http.host, loaded.settings.log.format) == ("0.0.0.0", "json")  # noqa: S104  # the file's
        assert "needs Redis" in refusal(toml=CONFIG / "production.toml")

    def test_the_test_file_loads(self) -> None:
        settings = read(CONFIG / "test.toml").settings
        assert (settings.http.port, settings.ops.port) == (0, 0)
