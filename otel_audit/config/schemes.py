"""Which sink or anchor a scheme names, where it is, and what it takes. Nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.publishing import Anchor
from otel_audit.sinks.base import Sink
from otel_audit.sinks.urls import Option, list_options, nearest

__all__ = [
    "ANCHOR_TYPES",
    "LOCAL_SCHEMES",
    "SCHEMES",
    "AnchorType",
    "PlaceType",
    "SinkType",
    "find_anchor_type",
    "find_type",
]


@dataclass(frozen=True)
class PlaceType:
    """One kind of sink or anchor."""

    title: str
    module: str
    name: str
    schemes: tuple[str, ...]
    builder: str = "__init__"
    """The function whose keyword-only parameters are the sink's options."""
    from_place: tuple[str, ...] = ()
    """Those of them that the URL's scheme, hosts and path give."""
    extra: str | None = None
    """What `pip install 'otel-audit[...]'` must bring."""
    takes_resource: bool = False

    def load(self) -> Any:
        """Import and return its class.

        Raises:
            ConfigurationError: what it needs is not installed.
        """
        try:
            return getattr(importlib.import_module(self.module), self.name)
        except ImportError as error:
            hint = f"pip install 'otel-audit[{self.extra}]'" if self.extra else "install it"
            raise ConfigurationError(f"{self.title} needs {error.name or 'a package'}: {hint}") from error

    def build(self, url: str, resource: Mapping[str, Any]) -> Any:
        """Build one.

        Raises:
            ConfigurationError: the URL or an option is unusable, or a package is missing.
        """
        build = self.load().from_url
        return build(url, resource=resource) if self.takes_resource else build(url)

    def options(self) -> dict[str, Option]:
        """Return what can be set, by name."""
        options = list_options(getattr(self.load(), self.builder))
        return {name: option for name, option in options.items() if name not in self.from_place}


@dataclass(frozen=True)
class SinkType(PlaceType):
    """One kind of sink."""

    variables: Mapping[str, str] | None = None
    """Environment variables of ours that it reads itself: all hold secrets."""

    def make(self, url: str, resource: Mapping[str, Any]) -> Sink:
        """Build a sink; raises as `build`."""
        sink: Sink = self.build(url, resource)
        return sink


@dataclass(frozen=True)
class AnchorType(PlaceType):
    """One kind of anchor."""

    every: float = 60.0
    """Seconds between two checkpoints that it gets, where nobody says otherwise; 0 for each."""
    proves: bool = False
    """Whether it asks for consistency proofs."""

    def make(self, url: str, resource: Mapping[str, Any]) -> Anchor:
        """Build an anchor; raises as `build`."""
        anchor: Anchor = self.build(url, resource)
        return anchor


_PREFIX: Final = "OTEL_PYTHON_AUDIT_"
_SINKS: Final = "otel_audit.sinks"

TYPES: Final = (
    SinkType(
        "standard output and error",
        f"{_SINKS}.local",
        "LocalSink",
        ("stdout", "stderr"),
        "from_settings",
        ("target",),
    ),
    SinkType("file", f"{_SINKS}.files", "FileSink", ("file",), from_place=("path",)),
    SinkType(
        "Logstash",
        f"{_SINKS}.logstash",
        "LogstashSink",
        ("logstash+tls", "logstash", "logstash+tcp", "beats+tls", "beats", "beats+tcp"),
        "from_settings",
        ("hosts", "plaintext"),
    ),
    SinkType(
        "syslog",
        f"{_SINKS}.syslog",
        "SyslogSink",
        ("syslog+tls", "syslog", "syslog+tcp"),
        from_place=("hosts", "plaintext"),
    ),
    SinkType(
        "OTLP",
        f"{_SINKS}.otlp",
        "OTLPSink",
        ("otlp", "otlp+https", "otlp+http", "otlp+grpcs", "otlp+grpc"),
        from_place=("resource",),
        extra="otel",
        takes_resource=True,
    ),
    SinkType(
        "webhook",
        f"{_SINKS}.webhook",
        "WebhookSink",
        ("webhook+https", "webhook", "webhook+http"),
        from_place=("hosts", "target", "scheme"),
    ),
    SinkType(
        "Elasticsearch",
        f"{_SINKS}.elasticsearch",
        "ElasticsearchSink",
        (
            "elasticsearch+https",
            "elasticsearch",
            "elasticsearch+http",
            "opensearch+https",
            "opensearch",
            "opensearch+http",
        ),
        from_place=("hosts", "index", "prefix", "scheme", "user"),
        variables={
            f"{_PREFIX}ELASTICSEARCH_API_KEY": "API key of Elasticsearch sinks without `api_key_file`.",
            f"{_PREFIX}ELASTICSEARCH_PASSWORD": "Password of Elasticsearch sinks without `password_file`.",
        },
    ),
    SinkType(
        "Kafka",
        f"{_SINKS}.kafka",
        "KafkaSink",
        ("kafka+tls", "kafka", "kafka+tcp"),
        from_place=("hosts", "topic", "transport", "user"),
        extra="kafka",
        variables={f"{_PREFIX}KAFKA_PASSWORD": "SASL password of Kafka sinks without `password_file`."},
    ),
    SinkType("S3", f"{_SINKS}.s3", "S3Sink", ("s3",), from_place=("bucket", "prefix"), extra="s3"),
)

_ANCHORS: Final = "otel_audit.anchors"

ANCHOR_TYPES: Final = (
    AnchorType(
        "directory", f"{_ANCHORS}.directory", "DirectoryAnchor", ("directory",), from_place=("directory",), every=0.0
    ),
    AnchorType(
        "webhook",
        f"{_ANCHORS}.webhook",
        "WebhookAnchor",
        ("webhook+https", "webhook", "webhook+http"),
        from_place=("hosts", "target", "scheme"),
    ),
    AnchorType(
        "time-stamping authority",
        f"{_ANCHORS}.tsa",
        "TsaAnchor",
        ("tsa+https", "tsa", "tsa+http"),
        from_place=("hosts", "target", "scheme"),
        extra="tsa",
    ),
    AnchorType(
        "witness",
        f"{_ANCHORS}.witness",
        "WitnessAnchor",
        ("witness+https", "witness", "witness+http"),
        from_place=("hosts", "target", "scheme"),
        proves=True,
    ),
    AnchorType(
        "OTLP",
        f"{_ANCHORS}.otlp",
        "OtlpAnchor",
        ("otlp+https", "otlp+http", "otlp+grpcs", "otlp+grpc"),
        from_place=("endpoint", "protocol", "resource"),
        extra="otel",
        takes_resource=True,
    ),
    AnchorType("git", f"{_ANCHORS}.git", "GitAnchor", ("git",), from_place=("directory",)),
    AnchorType("S3", f"{_ANCHORS}.s3", "S3Anchor", ("s3",), from_place=("bucket", "prefix"), extra="s3"),
)

SCHEMES: Final[dict[str, SinkType]] = {scheme: kind for kind in TYPES for scheme in kind.schemes}
LOCAL_SCHEMES: Final = frozenset({"stdout", "stderr", "file"})
"""Sinks of this machine: without a journal they stand in its place."""


def find_type(scheme: str) -> SinkType:
    """Return the kind of sink that a scheme names.

    Raises:
        ConfigurationError: there is none; the message names the nearest.
    """
    if scheme not in SCHEMES:
        raise ConfigurationError(f"there is no sink {scheme!r}{nearest(scheme, SCHEMES)}")
    return SCHEMES[scheme]


def find_anchor_type(scheme: str) -> AnchorType:
    """Return the kind of anchor that a scheme names.

    Raises:
        ConfigurationError: there is none; the message names the nearest.
    """
    found = {each: kind for kind in ANCHOR_TYPES for each in kind.schemes}
    if scheme not in found:
        raise ConfigurationError(f"there is no anchor {scheme!r}{nearest(scheme, found)}")
    return found[scheme]
