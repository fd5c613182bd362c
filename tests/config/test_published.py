"""What is published of the settings is current, and says of a file what reading it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otel_audit import config
from otel_audit.config.assembly import check
from otel_audit.config.published import fill_in, json_schema
from otel_audit.config.resolving import resolve
from otel_audit.errors import ConfigurationError
from otel_audit.integrity import keys
from tests.certificates import make_certificates

PACKAGE = Path(config.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "configuration.md"
RENEW = "run `python -m otel_audit.config.published`"

pytestmark = [
    pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:sink .* this protocol has no acknowledgement:RuntimeWarning"),
]


def test_the_json_schema_in_the_package_is_current() -> None:
    assert json.loads((PACKAGE / "schema.json").read_text()) == json_schema(), RENEW


def test_the_tables_of_the_documentation_are_current() -> None:
    assert fill_in(PAGE.read_text()) == PAGE.read_text(), RENEW


def test_the_documentation_links_to_pages_that_are_there() -> None:
    linked = {part.partition(")")[0] for part in PAGE.read_text().split("](")[1:]}

    assert linked
    assert all((PAGE.parent / link).exists() for link in linked)


def test_the_json_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


GOOD = [
    "{}",
    "journal: /x",
    "journal: memory\nmemory_bytes: 10MiB\nsinks: ['otlp+https://c:4318']",
    "sinks:\n  - stdout:\n",
    "heartbeat: 1.5\nsync_interval: 20 ms\nquota: 1GB\nsegment_bytes: 65536",
    "journal: /x\ndurability: ack\nfast_fail: true\nack_timeout: 1s\nsinks: [{url: 'file:///x', required: true}]",
    "loggers: shop,cart\nredact: [iban]\nresource: {service.version: 2, zone: b}",
    "loggers: [shop]\nselect: {level: INFO}\nservice:",
    "journal: /x\nsinks:\n- {url: 'logstash+tls://a:1', required: true, linger: 1s, window: 8MiB, allow: [loopback]}",
    "journal: /x\nsinks:\n- {url: 'beats+tls://a:1', minimum_tls_version: 1.3, ack_timeout: 5s, compression: 0}",
    "journal: /x\nsinks:\n- {url: 'webhook+https://a/b', route: {event_name: ['a.*'], field: {audit.outcome: [x]}}}",
    "journal: /x\nsinks:\n- {url: 'file:///a', rotate_bytes: 10MiB, compress: gzip, keep: 3, name: archive}",
    "journal: /x\nsinks:\n- {url: 'otlp:', protocol: grpc, endpoint: 'https://a:1'}",
    "signing_key_file: KEY\nanchors: ['directory:///a', 'git:///b?every=5m', {url: 'webhook+https://k', every: 0}]",
    "signing_key_file: KEY\nanchors:\n- {url: 'otlp+grpcs://c:4317', every: 1h, allow: [private], name: far}",
]
BAD = [
    "jornal: /x",
    "heartbeat: soon",
    "heartbeat: -1",
    "sync_interval: 0",
    "quota: 1",
    "segment_bytes: 64M",
    "durability: never",
    "fast_fail: 3",
    "loggers: [1]",
    "sinks: 3",
    "signing_key_file: KEY\nanchors: [3]",
    "signing_key_file: KEY\nanchors: ['nothing://x']",
    "signing_key_file: KEY\nanchors: [{name: x}]",
    "signing_key_file: KEY\nanchors: [{url: 'directory:///a', evry: 3}]",
    "signing_key_file: KEY\nanchors: [{url: 'directory:///a', every: soon}]",
    "signing_key_file: KEY\nanchors: [{url: 'webhook+https://k', vkey: x}]",
    "sinks: [3]",
    "sinks: ['nothing://x']",
    "sinks: [{name: x}]",
    "journal: /x\nsinks: [{url: 'logstash+tls://a:1', facility: 3}]",
    "journal: /x\nsinks: [{url: 'logstash+tls://a:1', password: x}]",
    "journal: /x\nsinks: [{url: 'file:///a', compress: rar}]",
    "journal: /x\nsinks: [{url: 'file:///a', route: {}}]",
    "journal: /x\nsinks: [{url: 'file:///a', route: {levle: 3}}]",
    "journal: /x\nsinks: [{url: 'file:///a', required: perhaps}]",
]


def accepts(text: str) -> bool:
    return jsonschema.Draft202012Validator(json_schema()).is_valid(yaml.safe_load(text))


def reads(text: str, directory: Path) -> bool:
    path = directory / "audit.yaml"
    if "KEY" in text:
        keys.generate(directory / "key.pem", "shop.example/audit")
    path.write_text(text.replace("KEY", str(directory / "key.pem")))
    given: dict[str, Any] = {"config": path}
    try:
        check(resolve(given, {}))
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("text", GOOD)
def test_what_the_schema_accepts_is_read(text: str, tmp_path: Path) -> None:
    assert accepts(text)
    assert reads(text, tmp_path)


@pytest.mark.parametrize("text", BAD)
def test_what_the_schema_refuses_is_not_read(text: str, tmp_path: Path) -> None:
    assert not accepts(text)
    assert not reads(text, tmp_path)


def test_the_example_of_the_documentation_is_usable(tmp_path: Path) -> None:
    (tmp_path / "hooks").write_text("X-Token: t\n")
    page = PAGE.read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    example = example.replace("/etc/ssl/audit.pem", make_certificates(tmp_path).ca)
    example = example.replace("/run/secrets/hooks", str(tmp_path / "hooks"))

    assert accepts(example)
    assert reads(example, tmp_path)
