"""The Logstash sink: what it sends, what it sends again, and when it calls records delivered."""

from __future__ import annotations

import random
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import Sink, SinkUnavailable
from otel_audit.sinks.beats import BeatsSink
from otel_audit.sinks.logstash import LogstashSink
from otel_audit.sinks.network import TcpSettings
from otel_audit.sinks.oneway import DEFAULT_WINDOW
from tests.certificates import KEY_PASSWORD, Certificates
from tests.faults.proxy import FaultProxy
from tests.sinks.receiver import Receiver
from tests.sinks.resend import Shipper, make_records


@contextmanager
def sink_to(port: int, certificates: Certificates, options: str = "&settle_after=0.1") -> Iterator[Sink]:
    sink = LogstashSink.from_url(f"logstash+tls://127.0.0.1:{port}?allow=loopback&ca_file={certificates.ca}{options}")
    try:
        yield sink
    finally:
        sink.close()


@pytest.fixture
def receiver(certificates: Certificates) -> Iterator[Receiver]:
    with Receiver(certificates.server_context()) as receiver:
        yield receiver


@pytest.fixture
def proxy(receiver: Receiver) -> Iterator[FaultProxy]:
    with FaultProxy(receiver.port) as proxy:
        yield proxy


@contextmanager
def background(work: Callable[[], None]) -> Iterator[None]:
    """Do something else at the same time, to its end, and fail if it fails."""
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(work)
        yield
        future.result(60)


def wait_until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout} s")
        time.sleep(0.005)


def assert_nothing_is_missing(receiver: Receiver, shipper: Shipper) -> None:
    """Every line is there, whole lines only repeat what was sent, and first arrivals are in order."""
    sent = [record.line for record in shipper.records]
    known = set(sent)
    first_arrivals = list(dict.fromkeys(line for line in receiver.lines if line in known))
    assert first_arrivals == sent


def test_lines_arrive_byte_for_byte_and_in_order(receiver: Receiver, certificates: Certificates) -> None:
    records = make_records(500)
    with sink_to(receiver.port, certificates) as sink:
        Shipper(sink, records).run()

        assert receiver.lines == [record.line for record in records]


def test_it_is_a_sink(certificates: Certificates) -> None:
    with sink_to(5044, certificates) as sink:
        assert isinstance(sink, Sink)
        assert (sink.name, sink.window) == ("logstash", DEFAULT_WINDOW)


# The six findings of the review of bssh's Logstash exporter, each with the behaviour that it asked for.


def test_finding_1_records_never_travel_in_plain_text_unless_the_url_says_tcp(
    certificates: Certificates,
) -> None:
    with Receiver() as plain, sink_to(plain.port, certificates, "&handshake_timeout=0.2") as sink:
        with pytest.raises(SinkUnavailable, match="TLS handshake"):
            sink.send(make_records(1))
        assert b"invoice.delete" not in b"".join(plain.lines)


def test_finding_1_plain_text_is_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="plain text.*use TLS"):
        LogstashSink.from_url("logstash+tcp://127.0.0.1:5044?allow=loopback")


def test_finding_1_tls_is_not_warned_of(certificates: Certificates) -> None:
    with warnings.catch_warnings(), sink_to(5044, certificates):
        warnings.simplefilter("error")


def test_finding_2_a_host_inside_the_network_is_refused_unless_allowed() -> None:
    for host in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]"):
        with pytest.raises(ConfigurationError, match="list it in `allow`"):
            LogstashSink.from_url(f"logstash+tls://{host}:5044")


def test_finding_2_a_name_that_leads_inside_the_network_is_refused_when_it_is_resolved() -> None:
    sink = LogstashSink.from_url("logstash+tls://localhost:5044")

    with pytest.raises(SinkUnavailable, match="loopback"):
        sink.send(make_records(1))


def test_finding_3_a_dead_host_fails_at_once_and_leaves_waiting_to_the_caller(
    certificates: Certificates,
) -> None:
    with Receiver() as gone:
        port = gone.port
    with sink_to(port, certificates) as sink:
        start = time.monotonic()
        for _ in range(5):
            with pytest.raises(SinkUnavailable):
                sink.send(make_records(1))

        assert time.monotonic() - start < 2


def test_finding_4_a_batch_is_bounded_by_count_and_by_bytes(certificates: Certificates) -> None:
    with sink_to(5044, certificates, "&max_records=10&max_bytes=5000&window=5000") as sink:
        assert (sink.max_records, sink.max_bytes) == (10, 5000)


def test_finding_5_a_batch_that_is_cut_in_the_middle_of_a_line_is_sent_again_whole(
    receiver: Receiver, proxy: FaultProxy, certificates: Certificates
) -> None:
    with sink_to(proxy.port, certificates) as sink:
        proxy.cut_after(20_000)
        shipper = Shipper(sink, make_records(1000))
        shipper.run()

        assert shipper.failures >= 1
        assert_nothing_is_missing(receiver, shipper)


def test_finding_5_a_record_written_after_the_peer_has_closed_is_not_lost(
    receiver: Receiver, certificates: Certificates
) -> None:
    """With a bare socket, the second write succeeds and its data is never seen again."""
    records = make_records(3)
    with sink_to(receiver.port, certificates) as sink:
        for number in range(1, 4):
            sink.send(records[number - 1 : number])
            receiver.wait(lambda wanted=number: len(receiver.lines) == wanted)
            while not sink.settled():
                time.sleep(0.01)
            receiver.close_clients()
            time.sleep(0.05)  # the farewell's way over the loopback interface

    assert receiver.lines == [record.line for record in records]


def test_finding_6_no_secret_is_in_a_representation_or_a_message(certificates: Certificates) -> None:
    with sink_to(
        1,
        certificates,
        f"&cert_file={certificates.client.cert}&key_file={certificates.client_key_encrypted}"
        f"&key_password_file={certificates.key_password_file}",
    ) as sink:
        with pytest.raises(SinkUnavailable) as unavailable:
            sink.send(make_records(1))

        assert KEY_PASSWORD not in f"{sink!r} {unavailable.value!r} {vars(sink)}"


# What is unconfirmed, and what becomes of it.


def test_a_break_with_unconfirmed_bytes_is_reported_before_anything_else_is_sent(
    receiver: Receiver, proxy: FaultProxy, certificates: Certificates
) -> None:
    records = make_records(2)
    with sink_to(proxy.port, certificates) as sink:
        sink.send(records[:1])
        receiver.wait(lambda: receiver.lines)
        proxy.reset()
        time.sleep(0.05)

        with pytest.raises(SinkUnavailable):
            sink.send(records[1:])
        assert len(receiver.lines) == 1

        sink.send(records)
        receiver.wait(lambda: len(receiver.lines) == 3)


def test_a_break_is_reported_even_if_nothing_more_is_to_be_sent(
    receiver: Receiver, proxy: FaultProxy, certificates: Certificates
) -> None:
    with sink_to(proxy.port, certificates, "&settle_after=60") as sink:
        sink.send(make_records(1))
        receiver.wait(lambda: receiver.lines)
        assert not sink.settled()
        proxy.reset()
        time.sleep(0.05)

        with pytest.raises(SinkUnavailable):
            sink.settled()


def test_closing_with_unconfirmed_bytes_is_reported_by_the_next_call(
    receiver: Receiver, certificates: Certificates
) -> None:
    with sink_to(receiver.port, certificates) as sink:
        sink.send(make_records(1))
        sink.close()

        with pytest.raises(SinkUnavailable):
            sink.settled()


def test_nothing_settles_while_the_receiver_takes_nothing(
    receiver: Receiver, proxy: FaultProxy, certificates: Certificates
) -> None:
    with sink_to(proxy.port, certificates, "&write_timeout=0.3") as sink:
        sink.send(make_records(1))
        receiver.wait(lambda: receiver.lines)
        proxy.stall()
        big = make_records(1, size=900_000)

        def send_for_ever() -> None:
            while True:
                sink.send(big)
                assert not sink.settled()

        with pytest.raises(SinkUnavailable, match="took no more data"):
            send_for_ever()


@pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")
def test_first_arrivals_are_in_order_though_the_old_connection_is_still_being_read() -> None:
    """A receiver that stalls is left with a connection full of lines, and reads them beside those sent again."""
    records = make_records(4000, size=2000)
    arrived: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as executor:
        sink = LogstashSink.from_url(
            f"logstash+tcp://127.0.0.1:{listener.getsockname()[1]}?allow=loopback&write_timeout=0.3&settle_after=0.05"
        )
        shipper = Shipper(sink, records)
        shipping = executor.submit(shipper.run)
        old = listener.accept()[0].makefile("rb")
        arrived += [old.readline() for _ in range(10)]
        new = listener.accept()[0].makefile("rb")  # the sink has given the stalled one up
        both, last = [old, new], records[-1].line
        while both:
            source = random.choice(both)
            for _ in range(random.randrange(1, 100)):
                arrived.append(source.readline())
                if arrived[-1] in (b"", last):
                    both.remove(source)
                    break
        shipping.result(30)
        sink.close()
    sent = [record.line for record in records]
    assert shipper.failures == 1
    assert len(arrived) > len(sent), "nothing came twice: the old connection was empty"
    known = set(sent)
    assert list(dict.fromkeys(line for line in arrived if line in known)) == sent


def test_a_sink_that_never_sent_anything_is_settled(certificates: Certificates) -> None:
    with sink_to(5044, certificates) as sink:
        assert sink.settled()


def test_a_connection_that_the_receiver_closed_when_idle_is_replaced_without_a_failure(
    receiver: Receiver, certificates: Certificates
) -> None:
    with sink_to(receiver.port, certificates) as sink:
        first, second = Shipper(sink, make_records(1)), Shipper(sink, make_records(1))
        first.run()
        receiver.close_clients()
        receiver.wait(lambda: not receiver.open)
        second.run()

        assert (first.failures, second.failures) == (0, 0)
        assert receiver.sessions == 2


# With the default `settle_after`: on a busy machine the receiver may well not be scheduled for longer than a small one.


def test_no_line_is_lost_over_20_kills_of_the_receiver(receiver: Receiver, certificates: Certificates) -> None:
    with sink_to(receiver.port, certificates, "&max_bytes=65536") as sink:
        shipper = Shipper(sink, make_records(20_000))

        def kill_in_mid_stream() -> None:
            for _ in range(20):
                wanted = len(receiver.lines) + 500
                receiver.wait(lambda wanted=wanted: len(receiver.lines) >= wanted)
                receiver.kill()
                receiver.start()

        with background(kill_in_mid_stream):
            shipper.run()

        assert shipper.failures >= 20
        assert_nothing_is_missing(receiver, shipper)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_no_line_is_lost_over_20_cuts_in_the_middle_of_a_line(
    receiver: Receiver, proxy: FaultProxy, certificates: Certificates, how: Literal["reset", "close"]
) -> None:
    with sink_to(proxy.port, certificates, "&max_bytes=16384") as sink:
        shipper = Shipper(sink, make_records(4000))

        def cut_again_and_again() -> None:
            proxy.wait(lambda: proxy.connections)
            for cut in range(1, 21):
                opened = proxy.connections
                proxy.cut_after(5_000 + cut * 997, how)
                proxy.wait(lambda opened=opened: proxy.connections > opened)

        with background(cut_again_and_again):
            shipper.run()

        assert shipper.failures >= 20
        assert_nothing_is_missing(receiver, shipper)


@pytest.mark.parametrize("fault", ["stall", "half-close", "refusal", "wrong certificate"])
def test_no_line_is_lost_over(fault: str, receiver: Receiver, proxy: FaultProxy, certificates: Certificates) -> None:
    options = "&write_timeout=0.5&handshake_timeout=0.5&max_bytes=65536"
    with sink_to(proxy.port, certificates, options) as sink:
        shipper = Shipper(sink, make_records(5000, size=1000))
        proxy.latency = 0.002

        def break_and_heal() -> None:
            proxy.wait(lambda: proxy.forwarded > 500_000)
            if fault == "stall":
                proxy.stall()
            elif fault == "half-close":
                proxy.half_close()
            elif fault == "refusal":
                proxy.refuse()
                proxy.reset()
            else:
                proxy.impersonate(certificates.server_context(certificates.rogue_server))
                proxy.reset()
            wait_until(lambda: shipper.failures >= (1 if fault == "half-close" else 2))
            proxy.resume()
            proxy.impersonate(None)
            if fault == "refusal":
                proxy.accept()

        with background(break_and_heal):
            shipper.run()

        assert shipper.failures >= 1
        assert_nothing_is_missing(receiver, shipper)


# Settings.


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("logstash+tsl://logs:5044", "did you mean 'logstash"),
        ("logstash+tls://logs", "a port"),
        ("logstash+tls://bob@logs:5044", "hosts and options"),
        ("logstash+tls://logs:5044/index", "hosts and options"),
        ("logstash+tls://logs:5044?ca_fiel=/x", "did you mean 'ca_file'"),
        ("logstash+tls://logs:5044?plaintext=yes", "no option 'plaintext'"),
        ("logstash+tls://logs:5044?verify=no", "no option 'verify'"),
        ("logstash+tls://logs:5044?protocol=beets", "did you mean 'beats'"),
        ("logstash+tls://logs:5044?connect_timeout=0", "above 0"),
        ("logstash+tls://logs:5044?settle_after=-1", "above 0"),
        ("logstash+tls://logs:5044?window=10", "at least one batch"),
        ("logstash+tls://logs:5044?minimum_tls_version=1.1", "1.2, 1.3"),
        ("logstash+tls://logs:5044?ack_timeout=5", "mean nothing"),
        ("beats+tls://logs:5044?window=9999999", "mean nothing"),
        ("logstash+tcp://logs:5044?server_name=logs", "plain text was asked for"),
    ],
)
def test_a_wrong_setting_is_refused_with_advice(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LogstashSink.from_url(url)


def test_the_protocol_is_chosen_by_scheme_or_by_option() -> None:
    assert isinstance(LogstashSink.from_url("beats+tls://logs:5045"), BeatsSink)
    assert isinstance(LogstashSink.from_url("logstash+tls://logs:5045?protocol=beats"), BeatsSink)
    logs = TcpSettings(hosts="logs:5045")
    assert isinstance(LogstashSink.from_settings(tcp=logs, protocol="beats"), BeatsSink)
    assert isinstance(LogstashSink.from_settings(tcp=logs), LogstashSink)
