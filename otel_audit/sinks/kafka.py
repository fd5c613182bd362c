"""Kafka: `kafka+tls://broker-1:9093,broker-2:9093/audit`, through Confluent's client (librdkafka).

One message a record: the value is the line, the key the stream, so that a stream's records stay in order in
one partition, and the header `id` is `<stream>-<seq>`. The producer is idempotent and waits for all in-sync
replicas; a batch counts as delivered when every message of it is. The client connects by itself, so the host
policy of the other sinks does not apply: brokers name each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final, Literal

from otel_audit.errors import ConfigurationError

from .base import AnsweredSink, RecordsRefused, SealedLine, SinkUnavailable
from .hosts import parse_endpoints
from .secrets import read_secret
from .tls import warn_of_plaintext
from .urls import read_options, read_scheme, split_url

__all__ = ["KafkaSink"]

_SCHEMES: Final = {"kafka": "tls", "kafka+tls": "tls", "kafka+tcp": "tcp"}
_PASSWORD_VARIABLE: Final = "OTEL_PYTHON_AUDIT_KAFKA_PASSWORD"  # noqa: S105 - the variable's name
_REFUSALS: Final = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG", "INVALID_MSG_SIZE"})


class KafkaSink(AnsweredSink):
    """Produces one message a record and waits for each.

    Args:
        hosts: brokers to start from, `host:port,host:port`.
        topic: where the records go; it should have `min.insync.replicas` of 2 or more.
        transport: `tcp` is plain text and warned of.
        user: for SASL, with `password_file` or OTEL_PYTHON_AUDIT_KAFKA_PASSWORD.
        sasl_mechanism: how the user proves who they are.
        timeout: seconds for a whole batch to be confirmed.
        compression: how the client packs messages.
        ca_file, cert_file, key_file, key_password_file: PEM files.

    Raises:
        ConfigurationError: a setting cannot be used, or confluent-kafka is not installed.
    """

    def __init__(
        self,
        *,
        hosts: str,
        topic: str,
        transport: Literal["tls", "tcp"] = "tls",
        user: str | None = None,
        password_file: str | None = None,
        sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512",
        timeout: float = 30.0,
        compression: Literal["none", "gzip", "lz4", "zstd"] = "none",
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password_file: str | None = None,
        max_records: int = 1000,
        max_bytes: int = 1 << 20,
        name: str = "kafka",
    ) -> None:
        try:
            import confluent_kafka
        except ImportError as error:
            raise ConfigurationError(f"sink {name}: Kafka needs pip install 'otel-audit[kafka]'") from error
        parse_endpoints(hosts)
        if timeout <= 0:
            raise ConfigurationError(f"sink {name}: timeout is not positive")
        if transport == "tcp":
            if ca_file or cert_file or key_file:
                raise ConfigurationError(f"sink {name}: plain text was asked for, and TLS settings are given")
            warn_of_plaintext(hosts)
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._place = f"kafka {hosts}, topic {topic}"
        self._topic = topic
        self._timeout = timeout
        self._client = confluent_kafka
        self._producer: Any = None
        self._owner = 0
        self._abandoned: list[Any] = []
        self._user = user
        self._password_file = password_file
        self._key_password_file = key_password_file
        protocol = ("SASL_" if user else "") + ("SSL" if transport == "tls" else "PLAINTEXT")
        self._settings: dict[str, Any] = {
            "bootstrap.servers": hosts,
            "security.protocol": protocol.lower(),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "compression.type": compression,
            "message.timeout.ms": int(timeout * 1000),
            "message.max.bytes": max(2 * max_bytes, 4 << 20),
            "queue.buffering.max.messages": max(2 * max_records, 1000),
            "log_level": 0,
        }
        files = {
            "ssl.ca.location": ca_file,
            "ssl.certificate.location": cert_file,
            "ssl.key.location": key_file,
            "sasl.mechanism": sasl_mechanism if user else None,
            "sasl.username": user,
        }
        self._settings.update({key: value for key, value in files.items() if value is not None})
        self._secrets()

    @classmethod
    def from_url(cls, url: str) -> KafkaSink:
        """Return the sink of `kafka[+tls|+tcp]://user@host:port,host:port/topic`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        transport = read_scheme(parts, _SCHEMES)
        topic = parts.path.strip("/")
        if not topic or "/" in topic:
            raise ConfigurationError(f"sink {parts}: write {parts.scheme}://broker:9093/topic")
        given = {"hosts": parts.authority, "topic": topic, "transport": transport, "user": parts.user}
        return cls(**read_options(parts.options, cls.__init__, parts, given=given))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Produce a batch; return when every message is confirmed.

        Raises:
            SinkUnavailable: some were not, or not in time.
            RecordsRefused: messages are larger than the broker takes, or it calls them invalid.
        """
        errors: dict[str, Any] = {}
        confirmed: set[str] = set()
        producer = self._open()
        try:
            for sealed in batch:
                producer.produce(
                    self._topic,
                    value=sealed.line.removesuffix(b"\n"),
                    key=sealed.stream,
                    headers=[("id", sealed.id.encode())],
                    on_delivery=_note(sealed.id, confirmed, errors),
                )
            deadline = time.monotonic() + self._timeout
            while len(confirmed) + len(errors) < len(batch) and (left := deadline - time.monotonic()) > 0:
                producer.poll(min(left, 0.5))
        except (BufferError, self._client.KafkaException) as error:
            self.close()
            raise SinkUnavailable(f"{self._place}: {error}") from error
        if len(confirmed) == len(batch):
            return
        refused = frozenset(name for name, error in errors.items() if error.name().lstrip("_") in _REFUSALS)
        if refused and len(refused) + len(confirmed) == len(batch):
            raise RecordsRefused(f"{self._place}: {_first(errors)}", ids=refused)
        # What the client still holds would be sent later, behind what the shipper sends again: let it go.
        self.close()
        reason = _first(errors) if errors else f"not confirmed within {self._timeout:g} s"
        raise SinkUnavailable(f"{self._place}: {len(batch) - len(confirmed)} of {len(batch)}: {reason}")

    def close(self) -> None:
        """Drop the producer and whatever it holds; the next send makes a new one."""
        if self._producer is not None and self._owner == os.getpid():
            self._producer.purge()
            self._producer.flush(1.0)
            self._producer = None

    def _open(self) -> Any:
        if self._producer is not None and self._owner != os.getpid():
            # Its threads did not survive the fork, and taking it apart would wait for them.
            self._abandoned.append(self._producer)
            self._producer = None
        if self._producer is None:
            try:
                self._producer = self._client.Producer({**self._settings, **self._secrets()})
                self._owner = os.getpid()
            except (ConfigurationError, self._client.KafkaException) as error:
                raise SinkUnavailable(f"{self._place}: {error}") from error
        return self._producer

    def _secrets(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._user:
            password = read_secret(self._password_file, _PASSWORD_VARIABLE, "password_file")
            if password is None:
                raise ConfigurationError(f"sink {self.name}: set password_file or {_PASSWORD_VARIABLE}")
            found["sasl.password"] = password
        if self._key_password_file:
            found["ssl.key.password"] = read_secret(self._key_password_file, "", "key_password_file") or ""
        return found


def _note(name: str, confirmed: set[str], errors: dict[str, Any]) -> Any:
    def delivered(error: Any, _: Any) -> None:
        if error is None:
            confirmed.add(name)
        else:
            errors[name] = error

    return delivered


def _first(errors: dict[str, Any]) -> str:
    name, error = next(iter(errors.items()))
    return f"{name}: {error.str()}"
