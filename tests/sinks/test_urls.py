"""Sink URLs: what they split into, what they refuse, and the types that options become."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.urls import list_options, read_options, split_url


def build(
    *,
    hosts: str,
    ca_file: str | None = None,
    connect_timeout: float = 10.0,
    window: int = 1,
    compress: bool = False,
    allow: tuple[str, ...] = (),
    protocol: Literal["json_lines", "beats"] = "json_lines",
) -> dict[str, Any]:
    return locals()


def read(query: str) -> dict[str, Any]:
    url = split_url(f"logstash+tls://logs:5044?{query}")
    return read_options(url.options, build, url, given={"hosts": url.authority})


def test_a_url_splits_into_scheme_hosts_path_and_options() -> None:
    url = split_url("Logstash+TLS://a:5044,[::1]:5045/x%20y?ca_file=/etc/a+b%26c&window=7")

    assert url == (
        "logstash+tls",
        None,
        "a:5044,[::1]:5045",
        "/x y",
        {"ca_file": "/etc/a+b&c", "window": "7"},
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("stdout:", "stdout:"),
        ("file:///var/log/audit.jsonl?compress=yes", "file:///var/log/audit.jsonl"),
        ("https://bob@es:9200/audit?ca_file=/x", "https://es:9200/audit"),
    ],
)
def test_a_url_in_a_message_shows_neither_user_nor_options(text: str, shown: str) -> None:
    assert str(split_url(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://bob:hunter2@es:9200",
        "https://es:9200?password=hunter2",
        "https://es:9200?api_key=hunter2",
        "https://es:9200?bearerToken=hunter2",
        "tcp://es:9200?key_password=hunter2#hunter2",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError, match="file") as refused:
        split_url(text)

    assert "hunter2" not in str(refused.value)


def test_a_secret_given_by_file_is_accepted() -> None:
    assert split_url("https://es:9200?password_file=/run/secrets/es").options == {"password_file": "/run/secrets/es"}


@pytest.mark.parametrize("text", ["", "//logs:5044", "tcp://a?x", "tcp://a?x=1&x=2", "tcp://a#b"])
def test_what_is_not_a_sink_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        split_url(text)


def test_options_take_the_types_that_the_builder_declares() -> None:
    options = read("ca_file=/x&connect_timeout=2.5&window=9&compress=on&allow=loopback, 10.0.0.0/8&protocol=beats")

    assert options == {
        "hosts": "logs:5044",
        "ca_file": "/x",
        "connect_timeout": 2.5,
        "window": 9,
        "compress": True,
        "allow": ("loopback", "10.0.0.0/8"),
        "protocol": "beats",
    }


def test_options_of_a_mapping_keep_their_types() -> None:
    given = {"connect_timeout": 2, "compress": False, "allow": ["loopback"], "ca_file": None}

    assert read_options({**given, "hosts": "logs:5044"}, build, "audit.yaml") == {
        "hosts": "logs:5044",
        "connect_timeout": 2.0,
        "compress": False,
        "allow": ("loopback",),
        "ca_file": None,
    }


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ca_fiel=/x", "did you mean 'ca_file'"),
        ("zzz=1", "known are allow, ca_file"),
        ("connect_timeout=soon", "a number"),
        ("connect_timeout=nan", "a number"),
        ("connect_timeout=inf", "a number"),
        ("window=1.5", "a whole number"),
        ("compress=perhaps", "true or false"),
        ("protocol=beets", "did you mean 'beats'"),
        ("ca_file=", "not empty"),
    ],
)
def test_a_wrong_option_is_refused_with_advice(query: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        read(query)

    assert "logstash+tls://logs:5044" in str(refused.value)


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, 1.5])
def test_a_mapping_value_of_the_wrong_type_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="window"):
        read_options({"window": value}, build, "audit.yaml", given={"hosts": "logs:5044"})


def test_an_option_that_has_no_default_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="'hosts' is needed"):
        read_options({}, build, "audit.yaml")


@dataclass(frozen=True, kw_only=True)
class Trust:
    ca_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    hosts: str
    trust: Trust = Trust()
    timeout: float = 10.0


def build_at(*, name: str = "x", place: Place, max_bytes: int = 1) -> dict[str, Any]:
    return locals()


def test_a_dataclass_among_the_parameters_stands_for_its_fields_in_its_place() -> None:
    options = list_options(build_at)

    assert [*options] == ["name", "hosts", "ca_file", "server_name", "timeout", "max_bytes"]
    assert options["hosts"].default is inspect.Parameter.empty
    assert options["timeout"] == (float, 10.0)


def test_options_are_put_into_the_dataclass_that_has_them() -> None:
    options = {"server_name": "logs", "timeout": "5s", "max_bytes": "1KiB"}

    assert read_options(options, build_at, "audit.yaml", given={"hosts": "logs:1"}) == {
        "place": Place(hosts="logs:1", trust=Trust(server_name="logs"), timeout=5.0),
        "max_bytes": 1024,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": "a:1", "ca_fiel": "/x"}, "did you mean 'ca_file'"),
        ({"hosts": "a:1", "trust": "x"}, "there is no option 'trust'"),
        ({"hosts": "a:1", "timeout": "soon"}, "the option 'timeout' is a number"),
        ({"name": "y"}, "'hosts' is needed"),
    ],
)
def test_a_wrong_option_of_a_dataclass_is_refused_with_advice(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_options(options, build_at, "audit.yaml")
