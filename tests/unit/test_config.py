"""Settings: where they come from, what is refused and how, and that no password is ever shown."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.config import (
    PREFIX,
    VARIABLES,
    LoadedSettings,
    Settings,
    Variable,
    describe,
    describe_json,
    load_settings,
)
from gotaskq.errors import ConfigError

REDIS = "redis://:hunter2@cache:6379/0"


def refused(environ: Mapping[str, str], **overrides: object) -> str:
    """Load what must be refused and return the message."""
    with pytest.raises(ConfigError) as error:
        load_settings(environ, overrides=overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def env_file(folder: Path, text: str) -> Path:
    path = folder / "some.env"
    path.write_text(text, encoding="utf-8")
    return path


# ---- the table


def test_the_table_has_one_variable_for_each_field_in_the_same_order() -> None:
    assert [variable.field for variable in VARIABLES] == list(Settings.__struct_fields__)


def test_no_two_variables_share_a_name_or_an_option() -> None:
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)
    assert len({variable.option for variable in VARIABLES}) == len(VARIABLES)


def test_every_default_is_a_value_an_operator_could_have_set() -> None:
    typed = msgspec.structs.asdict(Settings())

    loaded = load_settings({}, overrides=typed)

    assert loaded.settings == Settings()


def test_settings_cannot_be_changed() -> None:
    settings = Settings()

    with pytest.raises(AttributeError):
        settings.port = 1  # type: ignore[misc]


# ---- values


def test_an_empty_environment_gives_the_defaults() -> None:
    loaded = load_settings({})

    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("HOST", "::1", "host", "::1"),
        ("HOST", "fe80::1%eth0", "host", "fe80::1%eth0"),
        ("PORT", "0", "port", 0),
        ("PORT", " 65535 ", "port", 65_535),
        ("NUM_WORKERS", "10000", "num_workers", 10_000),
        ("PROCESSES", "64", "processes", 64),
        ("QUEUES", "Mail:5, default", "queues", {"mail": 5, "default": 1}),
        ("QUEUES", "a", "queues", {"a": 1}),
        ("QUEUES", "*", "queues", None),
        ("KEY_PREFIX", "shop.jobs-1_x", "key_prefix", "shop.jobs-1_x"),
        ("PARTITIONS", "64", "partitions", 64),
        ("MAX_CRASHES", "1", "max_crashes", 1),
        ("MAX_JOBS", "0", "max_jobs", 0),
        ("MAX_RSS", "512MB", "max_rss_bytes", 512_000_000),
        ("MAX_RSS", "0", "max_rss_bytes", 0),
        ("MAX_AGE", "6h", "max_age_ms", 21_600_000),
        ("MAX_AGE", "0", "max_age_ms", 0),
        ("BASE_DELAY", "250", "base_delay_ms", 250),
        ("BASE_DELAY", "1.5s", "base_delay_ms", 1_500),
        ("MAX_DELAY", "30000", "max_delay_ms", 30_000),
        ("MAX_DELAY", "1h", "max_delay_ms", 3_600_000),
        ("MAX_RETRIES", "0", "max_retries", 0),
        ("COMPLETE_JOB_TTL", "5m", "complete_job_ttl_ms", 300_000),
        ("MAX_COMPLETED_JOBS", "0", "max_completed_jobs", 0),
        ("BACKEND_URL", "sqlite:///jobs.db", "backend_url", "sqlite:///jobs.db"),
        ("BACKEND_URL", "redis+sentinel://a,b/main", "backend_url", "redis+sentinel://a,b/main"),
        ("REDIS_URL", REDIS, "redis_url", REDIS),
        ("LEASE", "1s", "lease_ms", 1_000),
        ("SHUTDOWN_TIMEOUT", "0", "shutdown_timeout_ms", 0),
        ("MAX_QUEUE_DEPTH", "1", "max_queue_depth", 1),
        ("MAX_DEAD_JOBS", "1", "max_dead_jobs", 1),
        ("DEAD_JOB_TTL", "90d", "dead_job_ttl_ms", 7_776_000_000),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("LOG_FORMAT", "Json", "log_format", "json"),
        ("STRICT_TYPES", "true", "strict_types", True),
        ("CALLBACK_SECRET", "whsec_a whsec_b", "callback_secret", "whsec_a whsec_b"),
        ("CALLBACK_SECRET_FILE", "callback.secret", "callback_secret_file", "callback.secret"),
        ("HANDLER_THREADS", "4", "handler_threads", 4),
    ],
)
def test_a_usable_value_is_taken(name: str, text: str, field: str, value: object) -> None:
    settings = load_settings({name: text}).settings

    assert getattr(settings, field) == value


@pytest.mark.parametrize("text", ["true", "1", "Yes", "ON"])
def test_a_switch_is_turned_on_by_the_usual_words_in_any_case(text: str) -> None:
    assert load_settings({"REDIS_URL": REDIS, "USE_REDIS": text}).settings.use_redis is True


@pytest.mark.parametrize("text", ["false", "0", "No", "OFF"])
def test_a_switch_is_turned_off_by_the_usual_words_in_any_case(text: str) -> None:
    assert load_settings({"FAST_LANE": text}).settings.fast_lane is False


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("HOST", "http://localhost", "a host name or an IP address"),
        ("HOST", "two words", "a host name or an IP address"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number"),
        ("PORT", "80.0", "a whole number"),
        ("PORT", "8_000", "a whole number"),
        ("PORT", "٣", "a whole number"),
        ("PORT", "9" * 5_000, "a whole number"),
        ("NUM_WORKERS", "0", "from 1 to 10000"),
        ("NUM_WORKERS", "10001", "from 1 to 10000"),
        ("PROCESSES", "0", "from 1 to 64"),
        ("QUEUES", "a,", "* or names of queues with weights from 1 to 100, such as mail:5,default"),
        ("QUEUES", "a:0", "weights from 1 to 100"),
        ("QUEUES", "a:101", "weights from 1 to 100"),
        ("QUEUES", "a:", "weights from 1 to 100"),
        ("QUEUES", "a:x", "weights from 1 to 100"),
        ("QUEUES", "a:1:1", "weights from 1 to 100"),
        ("QUEUES", "a,A:2", "names of queues"),
        ("QUEUES", "a,*", "names of queues"),
        ("QUEUES", "queue", "names of queues"),
        ("KEY_PREFIX", "a{b}", "1 to 32 of A-Z a-z 0-9 . _ -"),
        ("KEY_PREFIX", "x" * 33, "1 to 32"),
        ("PARTITIONS", "65", "from 1 to 64"),
        ("MAX_CRASHES", "0", "from 1 to 100"),
        ("MAX_JOBS", "-1", "from 0"),
        ("MAX_RSS", "15MiB", "0, or a size with its unit, such as 512MB or 1GiB, from 16MiB to 1024GiB"),
        ("MAX_RSS", "512", "a size with its unit"),
        ("MAX_AGE", "999ms", "0, or a duration with its unit, such as 500ms 10s 5m 2h 90d, from 1s to 3650d"),
        ("BASE_DELAY", "0", "milliseconds, or a duration"),
        ("BASE_DELAY", "0.5ms", "from 1ms"),
        ("MAX_DELAY", "soon", "milliseconds, or a duration"),
        ("MAX_RETRIES", "101", "from 0 to 100"),
        ("COMPLETE_JOB_TTL", "300", "a duration with its unit, such as 500ms 10s 5m 2h 90d"),
        ("COMPLETE_JOB_TTL", "99999d", "to 3650d"),
        ("USE_REDIS", "perhaps", "true or false"),
        ("BACKEND_URL", "localhost:6379", "a URL with its scheme"),
        ("BACKEND_URL", "redis://host\x00", "a URL with its scheme"),
        ("REDIS_URL", "localhost", "a URL with its scheme"),
        ("LEASE", "999ms", "from 1s to 1d"),
        ("LEASE", "30", "a duration with its unit"),
        ("SHUTDOWN_TIMEOUT", "-1s", "from 0s to 1d"),
        ("MAX_QUEUE_DEPTH", "0", "from 1"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "one of auto, text, json"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    message = refused({name: text})

    assert message.startswith(f"{name}='")
    assert allowed in message


def test_a_very_long_value_is_cut_in_the_message() -> None:
    assert len(refused({"LOG_LEVEL": "x" * 100_000})) < 300


@given(st.sampled_from(VARIABLES), st.text() | st.sampled_from(["0", "1", "9d", "on", "redis://x"]))
def test_any_text_is_taken_or_refused_with_a_config_error(variable: Variable, text: str) -> None:
    try:
        loaded = load_settings({variable.name: text})
    except ConfigError:
        return
    assert describe(loaded)


# ---- rules about two values


def test_max_delay_is_to_blame_when_it_is_below_base_delay() -> None:
    message = refused({"BASE_DELAY": "2s", "GOTASKQ_MAX_DELAY": "500"})

    assert message == "GOTASKQ_MAX_DELAY='500ms': at least BASE_DELAY, which is 2s"


def test_a_base_delay_above_the_default_max_delay_names_max_delay() -> None:
    assert refused({"BASE_DELAY": "10s"}) == "MAX_DELAY='5s': at least BASE_DELAY, which is 10s"


def test_equal_delays_are_fine() -> None:
    assert load_settings({"BASE_DELAY": "10s", "MAX_DELAY": "10s"}).settings.max_delay_ms == 10_000


def test_redis_without_its_url_is_refused() -> None:
    assert refused({"USE_REDIS": "true"}).startswith("REDIS_URL='': needed when USE_REDIS is true")


def test_settings_made_by_hand_do_not_fall_back_to_memory_when_redis_has_no_url() -> None:
    settings = Settings(use_redis=True)

    with pytest.raises(ConfigError, match="REDIS_URL"):
        _ = settings.effective_backend_url


def test_redis_is_the_backend_when_it_is_on() -> None:
    settings = load_settings({"USE_REDIS": "true", "REDIS_URL": REDIS}).settings

    assert settings.effective_backend_url == REDIS


def test_a_redis_url_alone_changes_nothing() -> None:
    assert load_settings({"REDIS_URL": REDIS}).settings.effective_backend_url == "memory://"


def test_two_different_backends_are_refused() -> None:
    message = refused({"USE_REDIS": "1", "REDIS_URL": REDIS, "BACKEND_URL": "memory://"})

    assert message.startswith("BACKEND_URL='memory://': the same as REDIS_URL")


def test_the_same_backend_twice_is_fine() -> None:
    settings = load_settings({"USE_REDIS": "1", "REDIS_URL": REDIS, "BACKEND_URL": REDIS}).settings

    assert settings.effective_backend_url == REDIS


def test_there_are_as_many_handler_threads_as_workers_unless_said_otherwise() -> None:
    assert load_settings({"NUM_WORKERS": "7"}).settings.effective_handler_threads == 7
    assert load_settings({"HANDLER_THREADS": "3"}).settings.effective_handler_threads == 3


# ---- where a value comes from


@pytest.mark.parametrize(
    ("layers", "port", "source"),
    [
        (5, 1, "option --port"),
        (4, 2, "environment GOTASKQ_PORT"),
        (3, 3, "environment PORT"),
        (2, 4, ".env file GOTASKQ_PORT"),
        (1, 5, ".env file PORT"),
        (0, 8000, "default"),
    ],
)
def test_the_strongest_place_wins(tmp_path: Path, layers: int, port: int, source: str) -> None:
    file_lines = ["PORT=5", "GOTASKQ_PORT=4"][:layers]
    environ = dict([("PORT", "3"), ("GOTASKQ_PORT", "2")][: max(layers - 2, 0)])
    overrides = {"port": "1" if layers == 5 else None}

    loaded = load_settings(environ, env_file=env_file(tmp_path, "\n".join(file_lines)), overrides=overrides)

    assert loaded.settings.port == port
    assert loaded.sources["port"] == source


def test_an_empty_value_counts_as_unset(tmp_path: Path) -> None:
    path = env_file(tmp_path, "PORT=9000\nHOST=\n")

    loaded = load_settings({"GOTASKQ_PORT": "", "PORT": "  "}, env_file=path)

    assert loaded.settings.port == 9000
    assert loaded.sources["host"] == "default"


@pytest.mark.parametrize(
    ("overrides", "field", "value"),
    [
        ({"port": "8001"}, "port", 8001),
        ({"port": 8001}, "port", 8001),
        ({"shutdown_timeout_ms": "30s"}, "shutdown_timeout_ms", 30_000),
        ({"shutdown_timeout_ms": 30_000}, "shutdown_timeout_ms", 30_000),
        ({"base_delay_ms": 20}, "base_delay_ms", 20),
        ({"fast_lane": False}, "fast_lane", False),
    ],
)
def test_an_option_may_be_text_or_already_typed(overrides: dict[str, object], field: str, value: object) -> None:
    loaded = load_settings({}, overrides=overrides)

    assert getattr(loaded.settings, field) == value


@pytest.mark.parametrize(
    ("field", "value", "start"),
    [
        ("port", "many", "--port='many': a whole number"),
        ("port", 70_000, "--port='70000': a whole number"),
        ("port", "", "--port='': a whole number"),
        ("num_workers", 0, "--workers='0': a whole number"),
        ("backend_url", "nowhere", "--backend='nowhere': a URL"),
        ("max_delay_ms", 1.5, "--max-delay='1.5': milliseconds, or a duration"),
        ("lease_ms", "30", "--lease='30': a duration with its unit"),
    ],
)
def test_an_error_names_the_option(field: str, value: object, start: str) -> None:
    assert refused({}, **{field: value}).startswith(start)


@pytest.mark.parametrize("name", ["PORT", "GOTASKQ_PORT"])
def test_an_error_names_the_variable_as_it_was_written(name: str) -> None:
    assert refused({name: "x"}).startswith(f"{name}='x'")


def test_an_unknown_override_is_refused_rather_than_ignored() -> None:
    assert refused({}, prot=1).startswith("prot='1': no such setting")


def test_every_variable_is_accepted_with_the_prefix() -> None:
    environ = {PREFIX + row[0]: row[1] for row in describe(load_settings({})) if row[1] != "none"}

    loaded = load_settings(environ)

    assert loaded.settings == Settings()
    assert loaded.sources["lease_ms"] == "environment GOTASKQ_LEASE"


# ---- the .env file


def test_unknown_keys_in_the_file_are_ignored(tmp_path: Path) -> None:
    path = env_file(tmp_path, "DJANGO_SECRET=x\nPORT=9000")

    assert load_settings({}, env_file=path).settings.port == 9000


@pytest.mark.parametrize("name", ["missing.env", ".", "nul\0byte"])
def test_an_env_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"--env-file=.*a file that can be read"):
        load_settings({}, env_file=tmp_path / name)


# ---- secrets


@pytest.mark.parametrize("name", ["BACKEND_URL", "REDIS_URL", "PORT", "LOG_LEVEL", "LEASE", "HOST", "USE_REDIS"])
def test_an_error_does_not_show_a_password(name: str) -> None:
    message = refused({name: "ann:hunter2@host"})

    assert message.startswith(f"{name}='ann:***@host'")


def test_a_conflict_of_backends_does_not_show_a_password() -> None:
    message = refused({"USE_REDIS": "1", "REDIS_URL": REDIS, "BACKEND_URL": "redis://:other9@b"})

    assert "other9" not in message
    assert "hunter2" not in message


# ---- showing


@pytest.fixture
def loaded() -> LoadedSettings:
    environ = {"USE_REDIS": "yes", "REDIS_URL": REDIS, "GOTASKQ_LEASE": "90s", "COMPLETE_JOB_TTL": "1500ms"}
    return load_settings(environ, overrides={"port": 0})


def test_a_description_has_a_row_for_each_variable(loaded: LoadedSettings) -> None:
    rows = describe(loaded)

    assert [row[0] for row in rows] == [variable.name for variable in VARIABLES]
    assert ("PORT", "0", "option --port") in rows
    assert ("USE_REDIS", "true", "environment USE_REDIS") in rows
    assert ("REDIS_URL", "redis://:***@cache:6379/0", "environment REDIS_URL") in rows
    assert ("LEASE", "90s", "environment GOTASKQ_LEASE") in rows
    assert ("COMPLETE_JOB_TTL", "1500ms", "environment COMPLETE_JOB_TTL") in rows
    assert ("DEAD_JOB_TTL", "90d", "default") in rows


def test_what_is_not_set_is_described_as_none() -> None:
    assert ("REDIS_URL", "none", "default") in describe(load_settings({}))


def test_the_json_description_keeps_numbers_and_switches(loaded: LoadedSettings) -> None:
    shown = json.loads(json.dumps(describe_json(loaded)))

    assert shown["PORT"] == {"value": 0, "source": "option --port"}
    assert shown["USE_REDIS"]["value"] is True
    assert shown["LEASE"]["value"] == "90s"
    assert "hunter2" not in json.dumps(shown)


def test_the_json_description_says_null_for_what_is_not_set() -> None:
    assert describe_json(load_settings({}))["REDIS_URL"] == {"value": None, "source": "default"}


@pytest.mark.parametrize(("text", "shown"), [("a:2,B", "a:2,b:1"), ("*", "*")])
def test_queues_are_shown_as_they_are_read(text: str, shown: str) -> None:
    loaded = load_settings({"QUEUES": text})

    assert describe_json(loaded)["QUEUES"] == {"value": shown, "source": "environment QUEUES"}
    assert load_settings({"QUEUES": shown}).settings == loaded.settings


def test_no_repr_shows_a_password(loaded: LoadedSettings) -> None:
    assert "hunter2" not in repr(loaded)
    assert "redis_url='redis://:***@cache:6379/0'" in repr(loaded.settings)
