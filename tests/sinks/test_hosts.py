"""Which hosts may be connected to."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.errors import ConfigurationError
from otel_audit.sinks import hosts
from otel_audit.sinks.hosts import Endpoint, HostPolicy, parse_endpoints, resolve


def test_several_hosts_are_read_in_order() -> None:
    assert parse_endpoints("logs:5044, 10.0.0.7:5045,[2001:db8::1]:1,log_stash.internal.:65535") == (
        ("logs", 5044),
        ("10.0.0.7", 5045),
        ("2001:db8::1", 1),
        ("log_stash.internal.", 65535),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a name is letters"),
        ("logs", "a port"),
        ("logs:", "a port"),
        ("logs:0", "a port"),
        ("logs:65536", "a port"),
        ("logs:+80", "a port"),
        ("logs:5044,", "a name is letters"),
        ("2001:db8::1:5044", "brackets"),
        ("[10.0.0.1]:5044", "no IPv6 address"),
        ("[::1]", "a port"),
        ("-logs:1", "a name is letters"),
        ("lo gs:1", "a name is letters"),
        ("a..b:1", "a name is letters"),
        ("a" * 64 + ":1", "a name is letters"),
        ("ärger.example:1", "xn--"),
        ("999.999.999.999:1", "no IPv4 address"),
        ("127.1:1", "no IPv4 address"),
        ("2130706433:1", "no IPv4 address"),
        ("0x7f000001:1", "no IPv4 address"),
        ("logs\n:1", "a name is letters"),
    ],
)
def test_a_wrong_host_is_refused_with_advice(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_endpoints(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        endpoints = parse_endpoints(text)
    except ConfigurationError:
        return
    assert parse_endpoints(",".join(map(str, endpoints))) == endpoints


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.10", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("169.254.169.254", "cloud metadata"),
        ("::ffff:169.254.169.254", "cloud metadata"),
        ("64:ff9b::a9fe:a9fe", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%2", "link-local"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fc00::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::127.0.0.1", "reserved"),
        ("64:ff9b:1::1", "reserved"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str, reason: str) -> None:
    assert reason in (HostPolicy().refusal(address) or "")


@pytest.mark.parametrize("address", ["9.9.9.9", "2620:fe::9", "::ffff:9.9.9.9", "64:ff9b::909:909", "172.32.0.1"])
def test_a_public_address_is_permitted(address: str) -> None:
    assert HostPolicy().refusal(address) is None


@pytest.mark.parametrize(
    ("allow", "address"),
    [
        ("loopback", "127.0.0.1"),
        ("loopback", "::1"),
        ("private", "10.0.0.1"),
        ("private", "::ffff:192.168.1.1"),
        ("10.1.0.0/16", "10.1.2.3"),
        ("169.254.0.0/16", "169.254.1.1"),
        ("169.254.169.254", "169.254.169.254"),
        ("fd12::/16", "fd12::1"),
    ],
)
def test_allow_permits_what_it_lists(allow: str, address: str) -> None:
    assert HostPolicy((allow,)).refusal(address) is None


@pytest.mark.parametrize(
    ("allow", "address"),
    [
        ("loopback", "10.0.0.1"),
        ("private", "127.0.0.1"),
        ("10.1.0.0/16", "10.2.0.1"),
        ("private", "fd00:ec2::254"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("0.0.0.0/0", "169.254.169.254"),
    ],
)
def test_allow_permits_nothing_else_and_metadata_only_by_its_own_address(allow: str, address: str) -> None:
    assert HostPolicy((allow,)).refusal(address) is not None


@pytest.mark.parametrize("entry", ["privat", "10.0.0.1/8", "any", ""])
def test_an_allow_entry_that_is_not_understood_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="allow"):
        HostPolicy((entry,))


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 5044)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)


def test_a_name_that_resolves_to_a_refused_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_with(monkeypatch, "169.254.169.254")

    with pytest.raises(OSError, match="cloud metadata"):
        resolve(Endpoint("innocent.example", 5044), HostPolicy(), 5)


def test_of_several_addresses_only_the_permitted_ones_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "127.0.0.1", "9.9.9.9", "10.0.0.1")

    addresses = resolve(Endpoint("mixed.example", 5044), HostPolicy(), 5)

    assert [address.sockaddr for address in addresses] == [("9.9.9.9", 5044)]


def test_silent_name_servers_cost_the_deadline_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    calls = []

    def never(*_: object, **__: object) -> list[object]:
        calls.append(1)
        answer.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    endpoint = Endpoint("silent.example", 5044)
    start = time.monotonic()

    for _ in range(3):
        with pytest.raises(TimeoutError, match="was not resolved within"):
            resolve(endpoint, HostPolicy(), 0.05)

    assert time.monotonic() - start < 5
    assert len(calls) == 1
    answer.set()
    hosts._lookups.pop(endpoint).join(10)


def test_a_name_that_does_not_exist_is_an_error_that_says_so() -> None:
    with pytest.raises(OSError, match="does not resolve"):
        resolve(Endpoint("nothing.invalid", 5044), HostPolicy(), 30)
