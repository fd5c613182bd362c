"""A connection: deadlines, failover, and finding out in time that the peer has gone."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.connection import Connection
from otel_audit.sinks.hosts import Endpoint, HostPolicy
from otel_audit.sinks.tls import TlsSettings
from tests.certificates import Certificates
from tests.faults.proxy import FaultProxy
from tests.sinks.receiver import Receiver

LOOPBACK = HostPolicy(("loopback",))


@contextlib.contextmanager
def connection_to(*ports: int, tls: TlsSettings | None = None, **options: Any) -> Iterator[Connection]:
    endpoints = [Endpoint("127.0.0.1", port) for port in ports]
    connection = Connection(endpoints, policy=LOOPBACK, tls=tls, **options)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def silent_listener() -> Iterator[int]:
    """A port where connections are made and nothing is ever read or said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def wait_until_refused(connection: Connection) -> SinkUnavailable:
    """Check until the peer's farewell has arrived."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            connection.check()
        except SinkUnavailable as unavailable:
            return unavailable
        time.sleep(0.005)
    raise AssertionError("the peer stayed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_bytes_arrive(certificates: Certificates) -> None:
    tls = TlsSettings(ca_file=certificates.ca)
    with (
        Receiver(certificates.server_context()) as receiver,
        connection_to(receiver.port, tls=tls) as connection,
    ):
        connection.open()
        connection.write(b"one\n" + b"x" * 3_000_000 + b"\n")

        receiver.wait(lambda: len(receiver.lines) == 2)


def test_a_refused_connection_is_reported_with_host_and_reason() -> None:
    port = free_port()
    with (
        connection_to(port) as connection,
        pytest.raises(SinkUnavailable, match=f"127.0.0.1:{port}.*refused"),
    ):
        connection.open()


def test_a_refused_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        Connection([Endpoint("127.0.0.1", 1)], policy=HostPolicy(), tls=None)


def test_a_connect_that_is_not_answered_ends_at_its_deadline() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = full.getsockname()[1]
        for _ in range(4):  # fill the backlog, so that further handshakes of TCP are not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        connection = stack.enter_context(connection_to(port, connect_timeout=0.2))
        start = time.monotonic()

        with pytest.raises(SinkUnavailable, match="timed out"):
            connection.open()

        assert time.monotonic() - start < 5


def test_a_handshake_that_is_not_answered_ends_at_its_deadline(certificates: Certificates) -> None:
    tls = TlsSettings(ca_file=certificates.ca)
    with silent_listener() as port, connection_to(port, tls=tls, handshake_timeout=0.2) as connection:
        start = time.monotonic()

        with pytest.raises(SinkUnavailable, match="handshake was not done"):
            connection.open()

        assert time.monotonic() - start < 5


def test_a_write_that_nobody_reads_ends_at_its_deadline() -> None:
    with silent_listener() as port, connection_to(port, write_timeout=0.3) as connection:
        connection.open()
        start = time.monotonic()

        with pytest.raises(SinkUnavailable, match="took no more data"):
            connection.write(b"x" * 64_000_000)

        assert time.monotonic() - start < 5
        assert not connection.is_open()


def test_the_write_deadline_covers_the_whole_write_and_not_one_call() -> None:
    """A peer that takes a little now and then would otherwise hold the sender for hours."""
    stop = threading.Event()

    def sip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            while not stop.wait(0.02):
                client.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=sip, args=[listener])
        thread.start()
        with connection_to(listener.getsockname()[1], write_timeout=0.5) as connection:
            connection.open()
            start = time.monotonic()
            with pytest.raises(SinkUnavailable, match="took no more data"):
                connection.write(b"x" * 64_000_000)
            assert time.monotonic() - start < 5
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_peer_that_has_closed_is_found_before_the_next_write(certificates: Certificates, with_tls: bool) -> None:
    context = certificates.server_context() if with_tls else None
    tls = TlsSettings(ca_file=certificates.ca) if with_tls else None
    with Receiver(context) as receiver, connection_to(receiver.port, tls=tls) as connection:
        connection.open()
        connection.write(b"one\n")
        receiver.wait(lambda: receiver.lines)
        receiver.close_clients()

        assert "closed the connection" in str(wait_until_refused(connection))


def test_a_half_closed_peer_counts_as_gone() -> None:
    with Receiver() as receiver, FaultProxy(receiver.port) as proxy, connection_to(proxy.port) as connection:
        connection.open()
        connection.write(b"one\n")
        receiver.wait(lambda: receiver.lines)
        proxy.half_close()

        assert "closed the connection" in str(wait_until_refused(connection))


def test_a_reset_connection_is_found_before_the_next_write() -> None:
    with Receiver() as receiver, FaultProxy(receiver.port) as proxy, connection_to(proxy.port) as connection:
        connection.open()
        connection.write(b"one\n")
        receiver.wait(lambda: receiver.lines)
        proxy.reset()

        assert "reset" in str(wait_until_refused(connection))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_missing_client_certificate_is_found_out(certificates: Certificates, version: str) -> None:
    context = certificates.server_context(client_ca=certificates.ca)
    if version == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Receiver(context) as receiver:
        with connection_to(receiver.port, tls=TlsSettings(ca_file=certificates.ca)) as connection:
            if version == "1.2":
                with pytest.raises(SinkUnavailable, match="TLS"):
                    connection.open()
            else:
                connection.open()  # TLS 1.3: our side of the handshake is done before the peer has looked
                assert "set cert_file and key_file" in str(wait_until_refused(connection))
        assert receiver.sessions == 0


def test_a_rogue_client_certificate_is_found_out(certificates: Certificates) -> None:
    rogue = certificates.rogue_client
    tls = TlsSettings(ca_file=certificates.ca, cert_file=rogue.cert, key_file=rogue.key)
    with Receiver(certificates.server_context(client_ca=certificates.ca)) as receiver:
        with connection_to(receiver.port, tls=tls) as connection:
            connection.open()
            wait_until_refused(connection)
        assert receiver.sessions == 0


def test_a_client_certificate_is_accepted(certificates: Certificates) -> None:
    tls = TlsSettings(
        ca_file=certificates.ca,
        cert_file=certificates.client.cert,
        key_file=certificates.client_key_encrypted,
        key_password_file=certificates.key_password_file,
    )
    context = certificates.server_context(client_ca=certificates.ca)
    with Receiver(context) as receiver, connection_to(receiver.port, tls=tls) as connection:
        connection.open()
        connection.write(b"one\n")
        receiver.wait(lambda: receiver.lines == [b"one\n"])


def test_a_server_of_another_authority_is_refused(certificates: Certificates) -> None:
    context = certificates.server_context(certificates.rogue_server)
    tls = TlsSettings(ca_file=certificates.ca)
    with (
        Receiver(context) as receiver,
        connection_to(receiver.port, tls=tls) as connection,
        pytest.raises(SinkUnavailable, match="set ca_file"),
    ):
        connection.open()


def test_a_server_of_another_name_is_refused_unless_that_name_is_asked_for(
    certificates: Certificates,
) -> None:
    context = certificates.server_context(certificates.other_name_server)
    with Receiver(context) as receiver:
        with (
            connection_to(receiver.port, tls=TlsSettings(ca_file=certificates.ca)) as connection,
            pytest.raises(SinkUnavailable, match="mismatch"),
        ):
            connection.open()

        tls = TlsSettings(ca_file=certificates.ca, server_name="other.example")
        with connection_to(receiver.port, tls=tls) as connection:
            connection.open()


def test_a_server_below_the_minimum_version_is_refused(certificates: Certificates) -> None:
    context = certificates.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = TlsSettings(ca_file=certificates.ca, minimum_tls_version="1.3")
    with (
        Receiver(context) as receiver,
        connection_to(receiver.port, tls=tls) as connection,
        pytest.raises(SinkUnavailable, match="PROTOCOL_VERSION"),
    ):
        connection.open()


def test_a_plain_text_server_is_recognised(certificates: Certificates) -> None:
    with Receiver() as receiver:
        receiver.greeting = b"220 hello\r\n"
        with (
            connection_to(receiver.port, tls=TlsSettings(ca_file=certificates.ca)) as connection,
            pytest.raises(SinkUnavailable, match="does not speak TLS"),
        ):
            connection.open()


def test_a_renewed_certificate_serves_the_next_connection(certificates: Certificates, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    shutil.copy(certificates.rogue_ca, ca_file)
    tls = TlsSettings(ca_file=str(ca_file))
    with (
        Receiver(certificates.server_context()) as receiver,
        connection_to(receiver.port, tls=tls) as connection,
    ):
        with pytest.raises(SinkUnavailable):
            connection.open()

        shutil.copy(certificates.ca, ca_file)

        connection.open()


def test_the_next_host_serves_when_the_first_is_down() -> None:
    with Receiver() as receiver, connection_to(free_port(), receiver.port) as connection:
        connection.open()

        assert connection.endpoint.port == receiver.port


def test_the_next_host_serves_when_the_first_accepts_and_never_reads() -> None:
    with (
        Receiver() as receiver,
        silent_listener() as silent,
        connection_to(silent, receiver.port, write_timeout=0.2) as connection,
    ):
        connection.open()
        with pytest.raises(SinkUnavailable):
            connection.write(b"x" * 64_000_000)

        connection.open()
        connection.write(b"one\n")

        receiver.wait(lambda: receiver.lines == [b"one\n"])


def test_every_host_that_failed_is_named() -> None:
    first, second = free_port(), free_port()
    with connection_to(first, second) as connection, pytest.raises(SinkUnavailable) as unavailable:
        connection.open()

    assert f":{first}:" in str(unavailable.value)
    assert f":{second}:" in str(unavailable.value)


def test_a_peer_that_talks_without_end_is_left() -> None:
    with Receiver() as receiver:
        receiver.greeting = b"x" * 1_000_000
        with connection_to(receiver.port) as connection:
            connection.open()

            assert "nobody asked for" in str(wait_until_refused(connection))


def test_closing_loses_nothing_that_was_written(certificates: Certificates) -> None:
    """Unread data (TLS session tickets, a greeting) would turn a careless close into a reset."""
    with Receiver(certificates.server_context()) as receiver:
        receiver.greeting = b"hello"
        for number in range(1, 21):
            with connection_to(receiver.port, tls=TlsSettings(ca_file=certificates.ca)) as connection:
                connection.open()
                connection.write(b"x" * 100_000 + b"\n")
            receiver.wait(lambda wanted=number: len(receiver.lines) == wanted)


def test_closing_does_not_wait_for_a_peer_that_never_closes() -> None:
    with silent_listener() as port, connection_to(port) as connection:
        connection.open()
        start = time.monotonic()

        connection.close()

        assert time.monotonic() - start < 5


def test_a_forked_child_leaves_the_connection_of_its_parent_alone(certificates: Certificates) -> None:
    tls = TlsSettings(ca_file=certificates.ca)
    with (
        Receiver(certificates.server_context()) as receiver,
        connection_to(receiver.port, tls=tls) as connection,
    ):
        connection.open()
        child = os.fork()
        if child == 0:
            connection.close()
            os._exit(1 if connection.is_open() else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        connection.check()
        connection.write(b"one\n")

        receiver.wait(lambda: receiver.lines == [b"one\n"])


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="only Linux tells what the peer has confirmed")
def test_bytes_that_the_peer_has_no_room_for_are_unsent() -> None:
    with silent_listener() as port, connection_to(port, write_timeout=0.3) as connection:
        connection.open()
        connection.write(b"x")
        deadline = time.monotonic() + 10
        while connection.unsent() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert connection.unsent() == 0

        for _ in range(10_000):
            connection.write(b"x" * 10_000)
            if connection.unsent():
                return
        raise AssertionError("the peer's kernel took 100 MB")
