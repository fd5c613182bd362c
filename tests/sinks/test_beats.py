"""The Beats protocol: its frames, and what counts as an acknowledgement."""

from __future__ import annotations

import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SealedLine, Sink, SinkUnavailable
from otel_audit.sinks.beats import encode_window
from otel_audit.sinks.logstash import LogstashSink
from tests.sinks.resend import make_records


def decode_window(data: bytes) -> list[dict[str, object]]:
    """Read one window as a server does; the JSON of its events, whose numbers must count up from 1."""
    kind, count = struct.unpack_from(">2sI", data)
    assert kind == b"2W"
    data = data[6:]
    if data.startswith(b"2C"):
        (length,) = struct.unpack_from(">I", data, 2)
        assert len(data) == 6 + length
        data = zlib.decompress(data[6:])
    events = []
    while data:
        kind, number, length = struct.unpack_from(">2sII", data)
        events.append(json.loads(data[10 : 10 + length]))
        assert (kind, number) == (b"2J", len(events))
        data = data[10 + length :]
    assert len(events) == count
    return events


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1), st.integers(0, 9))
def test_a_window_carries_every_line_as_a_string_and_its_id(texts: list[str], compression: int) -> None:
    batch = [SealedLine("ab" * 16, seq, text.encode() + b"\n") for seq, text in enumerate(texts, 7)]

    events = decode_window(encode_window(batch, compression))

    assert [event["message"] for event in events] == texts
    assert [event["@metadata"]["_id"] for event in events] == [record.id for record in batch]  # type: ignore[index]


def ack(number: int) -> bytes:
    return struct.pack(">2sI", b"2A", number)


def read_window(client: socket.socket) -> None:
    """Take one uncompressed window off the connection."""
    stream = client.makefile("rb")
    (count,) = struct.unpack(">I", stream.read(6)[2:])
    for _ in range(count):
        (length,) = struct.unpack(">I", stream.read(10)[6:])
        stream.read(length)


@contextmanager
def server_that(answer: Callable[[socket.socket, int], None]) -> Iterator[Sink]:
    """A sink for a server that reads each window and then lets `answer(client, number of the connection)` speak."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            number = 0
            while True:
                client, _ = listener.accept()
                number += 1
                with client, suppress(OSError, struct.error):
                    while True:
                        read_window(client)
                        answer(client, number)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        with pytest.warns(RuntimeWarning, match="plain text"):
            sink = LogstashSink.from_url(
                f"beats+tcp://127.0.0.1:{listener.getsockname()[1]}?allow=loopback&ack_timeout=0.3&compression=0"
            )
        yield sink
        sink.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_partial_acknowledgements_add_up() -> None:
    def answer(client: socket.socket, _: int) -> None:
        for number in (0, 3, 0, 7, 10):
            client.sendall(ack(number))

    with server_that(answer) as sink:
        sink.send(make_records(10))


def test_an_acknowledgement_may_arrive_in_pieces() -> None:
    def answer(client: socket.socket, _: int) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in ack(10):
            client.sendall(bytes([byte]))

    with server_that(answer) as sink:
        sink.send(make_records(10))


def test_a_partial_acknowledgement_alone_is_not_delivery() -> None:
    with (
        server_that(lambda client, _: client.sendall(ack(9))) as sink,
        pytest.raises(SinkUnavailable, match="did not answer"),
    ):
        sink.send(make_records(10))


def test_a_connection_that_breaks_before_the_acknowledgement_is_not_delivery() -> None:
    def answer(client: socket.socket, _: int) -> None:
        client.sendall(ack(9))
        client.shutdown(socket.SHUT_RDWR)

    with server_that(answer) as sink, pytest.raises(SinkUnavailable, match="closed"):
        sink.send(make_records(10))


@pytest.mark.parametrize("nonsense", [ack(11), b"HTTP/1.1 400", b"1A" + bytes(3) + b"\n"])
def test_an_answer_that_makes_no_sense_is_not_delivery(nonsense: bytes) -> None:
    with (
        server_that(lambda client, _: client.sendall(nonsense)) as sink,
        pytest.raises(SinkUnavailable, match="is it a beats input"),
    ):
        sink.send(make_records(10))


def test_an_acknowledgement_that_comes_late_does_not_count_for_the_next_batch() -> None:
    """The rest of a window's acknowledgements must not be taken for the next window's."""
    answers = iter([[ack(10), ack(10)], [ack(0)]])
    written = threading.Event()

    def answer(client: socket.socket, _: int) -> None:
        for frame in next(answers, []):
            client.sendall(frame)
        written.set()

    with server_that(answer) as sink:
        sink.send(make_records(10))
        assert written.wait(10)
        with pytest.raises(SinkUnavailable, match="did not answer"):
            sink.send(make_records(10))


def test_a_server_that_left_after_its_acknowledgement_is_connected_to_again_without_a_failure() -> None:
    left: Queue[int] = Queue()

    def answer(client: socket.socket, number: int) -> None:
        client.sendall(ack(1))
        client.shutdown(socket.SHUT_RDWR)
        left.put(number)

    with server_that(answer) as sink:
        for number in (1, 2, 3):
            sink.send(make_records(1))
            assert left.get(timeout=10) == number


def test_everything_sent_is_settled() -> None:
    with server_that(lambda client, _: client.sendall(ack(1))) as sink:
        sink.send(make_records(1))

        assert sink.window == 0
        assert sink.settled()


@pytest.mark.parametrize("option", ["compression=10", "compression=-1", "ack_timeout=0", "max_records=0"])
def test_a_limit_that_makes_no_sense_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match="sink logstash"):
        LogstashSink.from_url(f"beats+tls://logs:5045?{option}")
