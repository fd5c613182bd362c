"""What holds, where it is from, and what is said of mistakes."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otel_audit
from otel_audit import config
from otel_audit.config.assembly import check, describe
from otel_audit.config.resolving import DEFAULT, Effective, resolve
from otel_audit.config.settings import SCHEMA
from otel_audit.errors import ConfigurationError

E = "OTEL_PYTHON_AUDIT_"


EIGHT = "[{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]"
LAUGHS = "a: &a x\n" + "".join(f"{b}: &{b} {EIGHT.format('*' + a)}\n" for a, b in zip("abcdef", "bcdefg", strict=True))


def write(directory: Path, text: str) -> str:
    path = directory / "audit.yaml"
    path.write_text(text)
    return str(path)


def mistakes(given: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        check(resolve(given or {}, environ or {}))
    return str(refused.value).splitlines()


def test_arguments_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "\nheartbeat: 1\nsync_interval: 1\nblock_timeout: 1\n")
    environ = {f"{E}CONFIG": path, f"{E}HEARTBEAT": "2", f"{E}SYNC_INTERVAL": "2"}

    effective = resolve({"heartbeat": 3}, environ)

    settings = effective.settings
    assert (settings.heartbeat, settings.sync_interval, settings.block_timeout, settings.ack_timeout) == (3, 2, 1, 10)
    names = ("heartbeat", "sync_interval", "block_timeout", "ack_timeout")
    assert [effective.origins[name] for name in names] == ["argument", f"{E}SYNC_INTERVAL", f"{path}:4", DEFAULT]


def test_the_argument_config_wins_over_its_variable(tmp_path: Path) -> None:
    environ = {f"{E}CONFIG": str(tmp_path / "not there")}

    assert resolve({"config": {"heartbeat": 7}}, environ).settings.heartbeat == 7


def test_the_arguments_of_configure_are_the_settings() -> None:
    assert [*inspect.signature(otel_audit.configure).parameters] == ["config", *SCHEMA, "unknown"]


def test_an_empty_variable_means_none_for_what_can_be_none_and_else_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "journal: /var/audit\nsinks: ['file:///x']\nheartbeat: 5\n")
    environ = {f"{E}CONFIG": path, f"{E}JOURNAL": "", f"{E}SINKS": "", f"{E}HEARTBEAT": ""}

    settings = resolve({}, environ).settings

    assert (settings.journal, settings.sinks, settings.heartbeat) == (None, (), 5)


def test_a_key_without_a_value_is_as_good_as_none(tmp_path: Path) -> None:
    assert resolve({"config": write(tmp_path, "journal:\nsinks:\n")}, {}) == resolve({}, {})


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("stdout:", ["stdout:"]),
        ("stdout:,stderr:", ["stdout:", "stderr:"]),
        ("logstash+tls://a:1,b:2,stdout:", ["logstash+tls://a:1,b:2", "stdout:"]),
        ("otlp:,file:///x", ["otlp:", "file:///x"]),
        (
            "logstash+tls://a:1?allow=10.0.0.0/8,loopback, otlp+https://c:2 ,",
            ["logstash+tls://a:1?allow=10.0.0.0/8,loopback", "otlp+https://c:2"],
        ),
        ("otlp:?timeout=3,stdout:?name=x", ["otlp:?timeout=3", "stdout:?name=x"]),
    ],
)
def test_a_comma_ends_a_url_only_where_another_begins(text: str, urls: list[str]) -> None:
    assert [sink.url for sink in resolve({}, {f"{E}SINKS": text}).settings.sinks] == urls


def test_a_mapping_says_what_a_url_says() -> None:
    mapping = {
        "url": "logstash+tls://a:1,b:2",
        "allow": ["loopback", "10.0.0.0/8"],
        "connect_timeout": "3s",
        "ca_file": "/a b&c=d.pem",
        "required": True,
        "server_name": None,
    }
    url = "logstash+tls://a:1,b:2?allow=loopback,10.0.0.0/8&connect_timeout=3s&ca_file=/a%20b%26c%3Dd.pem&required=true"

    assert resolve({"sinks": [mapping]}, {}).settings.sinks == resolve({"sinks": [url]}, {}).settings.sinks


def test_a_bare_scheme_in_yaml_needs_no_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, "sinks:\n  - stdout:\n  - stderr:\n")

    assert [sink.url for sink in resolve({"config": path}, {}).settings.sinks] == ["stdout:", "stderr:"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jornal": "/x"}, "there is no setting 'jornal'; did you mean 'journal'?"),
        ({"heartbeat": "soon"}, "heartbeat is 'soon'; it must be a time: 20ms, 5s, 10m, or a number of seconds"),
        ({"heartbeat": -1}, "heartbeat is -1; it must be a time"),
        ({"sync_interval": 0}, "sync_interval is 0; it must be more than 0 s"),
        ({"segment_bytes": "64M"}, "segment_bytes is '64M'; it must be a size: 64MiB, 1GB"),
        ({"quota": "1KiB"}, "quota is '1KiB'; it must be at least 1048576 bytes"),
        ({"durability": "alway"}, "must be one of process, relaxed, always, ack; did you mean 'always'?"),
        ({"on_failure": []}, "on_failure is []; it must be one of warn, raise, block"),
        ({"fast_fail": "maybe"}, "fast_fail is 'maybe'; it must be true or false"),
        ({"service": ""}, "service is ''; it must be text"),
        ({"resource": "a"}, "resource holds 'a'; write name=value,name=value"),
        ({"resource": {"a": [1]}}, "resource is {'a': [1]}; it must be a mapping of names to plain values"),
        ({"loggers": [1]}, "loggers is [1]; it must be a list of names"),
        ({"select": {"markr": "x"}}, "select has no key 'markr'; did you mean 'marker'?"),
        ({"select": "x"}, "select is 'x'; it must be a mapping"),
        ({"journal": 3}, "journal is 3; it must be a path"),
        ({"journal": None, "sinks": []}, "there is no journal and no sink: nothing would be kept"),
        ({"journal": "a\0b"}, "journal is 'a\\x00b'; no path holds a zero byte"),
        ({"config": 3}, "config is int; it must be a YAML file's path or a mapping"),
        ({"config": {"heartbeat": "x"}}, "config: heartbeat is 'x'"),
        ({"sinks": 3}, "sinks is 3; it must be a list"),
        ({"sinks": [3]}, "sinks[0]: 3 is no sink"),
        ({"sinks": [{"name": "x"}]}, "sinks[0]: a sink's mapping needs a url"),
        ({"sinks": ["logstash+tsl://x:1"]}, "sinks[0]: there is no sink 'logstash+tsl'; did you mean 'logstash+tls'?"),
        ({"sinks": ["stdout"]}, "sinks[0]: a sink URL begins with a scheme"),
        ({"sinks": ["stdout:x"]}, "sinks[0]: sink stdout:x: write stdout: and nothing behind it"),
        ({"journal": "/x", "sinks": ["file:x"]}, "is not absolute"),
        (
            {"journal": "/x", "sinks": ["syslog+tls://x:1?facilty=3"]},
            "there is no option 'facilty'; did you mean 'facility'?",
        ),
        ({"sinks": [{"url": "stdout:?name=a", "name": "b"}]}, "'name' is given in the URL and beside it"),
        ({"sinks": [{"url": "stdout:", "name": {}}]}, "the option 'name' is a word, a number, or a list of words"),
        ({"sinks": [{"url": "stdout:", "route": {"levle": 3}}]}, "route has no rule 'levle'; did you mean 'level'?"),
        ({"sinks": [{"url": "stdout:", "reqired": True}]}, "no option 'reqired'; did you mean 'required'?"),
        ({"sinks": [{"url": "stdout:", "required": "x"}]}, "required is 'x'; it must be true or false"),
        (
            {"journal": "/x", "sinks": ["file:///a", {"url": "file:///b", "name": "file:/a"}]},
            "another sink is called 'file:/a'; give it a name=",
        ),
        ({"sinks": ["logstash+tls://logs:5044"]}, 'give journal=<directory>, or journal="memory"'),
        ({"sinks": ["file:///x?keep=3"]}, "has options, which work from a journal: give journal=<directory>"),
        ({"sinks": [{"url": "stdout:", "route": {"level": 3}}]}, "from a journal"),
        ({"journal": "/x", "durability": "ack"}, "no sink is required: give one of them `required: true`"),
        ({"journal": "memory", "sinks": []}, "nothing would ever leave it"),
        ({"signing_key_file": "/not/there"}, "signing_key_file: /not/there: No such file"),
    ],
)
def test_a_mistake_is_told_in_one_line(given: dict[str, Any], message: str) -> None:
    (line,) = mistakes(given)

    assert message in line


def test_every_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "heartbeat: soon\njornal: /x\nsinks:\n  - stdout:\n  - stdot:\n  - {url: 'stduot:'}\n")
    environ = {f"{E}CONFIG": path, f"{E}QUOTA": "x", f"{E}JORNAL": "/x", "OTEL_SERVICE_NAME": "shop"}

    assert mistakes({"durability": "x"}, environ) == [
        f"{path}:2: there is no setting 'jornal'; did you mean 'journal'?",
        f"{E}JORNAL: there is no such variable; did you mean '{E}JOURNAL'?",
        f"{path}:1: heartbeat is 'soon'; it must be a time: 20ms, 5s, 10m, or a number of seconds",
        f"{path}:3: sinks[1]: there is no sink 'stdot'; did you mean 'stdout'?",
        f"{path}:3: sinks[2]: there is no sink 'stduot'; did you mean 'stdout'?",
        f"{E}QUOTA is 'x'; it must be a size: 64MiB, 1GB, or a number of bytes",
        "durability is 'x'; it must be one of process, relaxed, always, ack",
    ]


def test_a_sink_that_cannot_be_built_is_told_with_its_place() -> None:
    environ = {f"{E}SINKS": "stdout:,webhook+https://hooks.example/x", f"{E}JOURNAL": ""}

    (line,) = mistakes({}, environ)

    assert line.startswith(f"{E}SINKS[1]: sink webhook+https://hooks.example/x is delivered from a journal")


@pytest.mark.parametrize(
    "sink",
    [
        "webhook+https://bob:hunter2@hooks.example/x",
        "webhook+https://hooks.example/x?token=hunter2",
        {"url": "webhook+https://hooks.example/x", "password": "hunter2"},
        {"url": "kafka://bob@broker:9092/audit", "api_key": "hunter2"},
        {"url": "kafka://broker:9092/audit?password=hunter2"},
    ],
)
def test_a_secret_in_clear_is_refused_with_advice_and_not_repeated(sink: Any) -> None:
    (line,) = mistakes({"journal": "/x", "sinks": [sink]})

    assert "give it by a *_file option or by an environment variable" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- stdout:", "must be a mapping of settings"),
        ("a: [", ":1: is not YAML"),
        ("heartbeat: 1\nheartbeat: 2", ":2: 'heartbeat' comes twice"),
        ("select:\n  level: 1\n  level: 2", ":3: 'level' comes twice"),
        ("heartbeat: !!python/object:os.system 1", "is not YAML"),
        ("a: \x00", "does not allow"),
        ("&a [*a]", "must be a mapping"),
        ("x: &a [*a]", "more than 20000 values"),
        (LAUGHS, "more than 20000 values"),
        ("#" * 2_000_000, "no file of settings"),
        ("[1]: 2", ":1: a key must be a word"),
        ("x:\n  ? {a: 1}\n  : 2", ":2: a key must be a word"),
        ("1: 2", "there is no setting '1'"),
    ],
    ids=range(13),
)
def test_a_file_that_is_no_file_of_settings_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    (line,) = mistakes({"config": path})

    assert line.startswith(path)
    assert message in line


def test_a_file_that_is_not_there_is_named_with_its_variable() -> None:
    assert mistakes({}, {f"{E}CONFIG": "/not/there"}) == [f"{E}CONFIG: /not/there: No such file or directory"]


def test_a_mistake_leaves_the_trail_of_before(tmp_path: Path) -> None:
    trail = otel_audit.configure(journal=tmp_path, sinks=[])
    with pytest.raises(ConfigurationError):
        otel_audit.configure(journal=tmp_path, sinks=["nothing:"])

    assert otel_audit.current_trail() is trail
    assert otel_audit.record("order.pay").seq == 2


def test_the_settings_digest_tells_settings_apart() -> None:
    def shown(**given: Any) -> dict[str, Any]:
        return describe(resolve(given, {}))

    assert shown() == shown()
    assert shown(sinks=[{"url": "stdout:", "required": True}]) != shown()


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*SCHEMA, "config", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.dictionaries(st.just("url"), inner),
        ),
    )
)
def test_whatever_is_given_is_settled_or_refused(given: dict[str, Any]) -> None:
    try:
        effective = resolve(given, {})
    except ConfigurationError:
        return
    assert isinstance(effective, Effective)


def test_importing_the_package_reads_no_settings_and_imports_no_yaml() -> None:
    program = (
        "import sys, otel_audit; "
        "print([name for name in ('yaml', 'ssl', 'otel_audit.config.settings', 'otel_audit.shipping') "
        "if name in sys.modules])"
    )
    environment = {f"{E}NONSENSE": "1"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)

    assert done.stdout == "[]\n"


def test_a_local_sink_needs_neither_yaml_nor_a_network_sink() -> None:
    program = (
        "import sys, otel_audit; otel_audit.configure(sinks=['stdout:']).close(); "
        "print([name for name in ('yaml', 'ssl', 'socket', 'otel_audit.shipping') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], env={}, capture_output=True, check=True, text=True)

    assert done.stdout == "[]\n"


def test_building_a_trail_does_not_make_it_the_configured_one(tmp_path: Path) -> None:
    trail = config.build_trail({"journal": tmp_path, "loggers": ["never"]}, {})

    assert otel_audit.current_trail() is not trail
    assert not [*tmp_path.iterdir()]


def test_waiting_for_a_sink_that_never_answers_is_warned_of(tmp_path: Path) -> None:
    def configured(url: str, durability: str) -> None:
        sink = {"url": f"{url}://127.0.0.1:5044?allow=loopback", "required": True}
        check(resolve({"journal": str(tmp_path / "journal"), "sinks": [sink], "durability": durability}, {}))

    with pytest.warns(RuntimeWarning, match=r"sink logstash: durability is 'ack'.*no acknowledgement"):
        configured("logstash+tls", "ack")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        configured("logstash+tls", "process")
        configured("beats+tls", "ack")
