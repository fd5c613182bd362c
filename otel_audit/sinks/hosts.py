"""Which hosts a network sink may connect to: syntax, resolution, and the policy on their addresses.

A setting that names a host can be turned against the network it is read in (server-side request forgery),
and a name can resolve to one address when it is checked and to another when it is used. So every address is
checked after resolution, and the checked address itself is what the sink connects to.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.urls import nearest

__all__ = ["Address", "Endpoint", "HostPolicy", "parse_endpoints", "resolve"]

_Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ip_network(text) for text in texts)


# From the IANA special-purpose address registries (RFC 6890); a table of our own, because what `ipaddress`
# calls private differs between Python versions. The first row that matches gives the reason.
_REFUSED: Final = {
    "cloud metadata": _networks(
        "169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"
    ),
    "loopback": _networks("127.0.0.0/8", "::1"),
    "unspecified": _networks("0.0.0.0/8", "::"),
    "link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "private": _networks(
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"
    ),
    "multicast": _networks("224.0.0.0/4", "ff00::/8"),
    "reserved": _networks(
        "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
        "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
    ),
}  # fmt: skip
_WORDS: Final = {word: _REFUSED[word] for word in ("loopback", "private")}
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")


class Endpoint(NamedTuple):
    """A host (a name, or an address without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Address(NamedTuple):
    """A resolved and permitted address, as `socket.connect` takes it."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """Read `host:port,host:port`, where a host is a name, an IPv4 address or an IPv6 address in brackets.

    Names follow RFC 1123, section 2.1, with two liberties that real networks take: underscores, and a dot at
    the end. What looks like a number but is no IPv4 address (`127.1`, `0x7f000001`) is refused, because
    resolvers would read it as one.

    Raises:
        ConfigurationError: an entry is neither; the message says what is wrong with it.
    """
    return tuple(_parse_endpoint(entry.strip()) for entry in text.split(","))


def _parse_endpoint(entry: str) -> Endpoint:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", entry)
    if bracketed:
        host, port = bracketed.groups()
        if not isinstance(_literal(host), IPv6Address):
            raise ConfigurationError(f"host {entry!r}: between the brackets stands no IPv6 address")
    else:
        host, _, port = entry.partition(":")
        if ":" in port:
            raise ConfigurationError(f"host {entry!r}: write an IPv6 address in brackets, as in [2001:db8::1]:5044")
        _check_host(host, entry)
    if not port or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ConfigurationError(f"host {entry!r}: a port from 1 to 65535 is needed, as in host:5044")
    return Endpoint(host, int(port))


def _check_host(host: str, entry: str) -> None:
    if _literal(host):
        return
    if not host.isascii():
        raise ConfigurationError(f"host {entry!r}: write an international name in its ASCII form (xn--...)")
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ConfigurationError(
            f"host {entry!r}: a name is letters, digits, hyphens and dots, with 1 to 63 between two dots"
        )
    if _NUMBER.fullmatch(labels[-1]):
        raise ConfigurationError(f"host {entry!r}: this is no IPv4 address, which is four numbers from 0 to 255")


def _literal(host: str) -> _Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True)
class HostPolicy:
    """Which addresses may be connected to: public ones, and those that `allow` lists.

    `allow` holds networks (`10.1.0.0/16`), addresses, and the words `loopback` and `private`. An address that
    serves cloud credentials is permitted only by itself, never by a network around it.

    Raises:
        ConfigurationError: `allow` holds something else.
    """

    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._allowed()

    def _allowed(self) -> list[_Network]:
        networks: list[_Network] = []
        for entry in self.allow:
            if entry in _WORDS:
                networks.extend(_WORDS[entry])
                continue
            try:
                networks.append(ip_network(entry))
            except ValueError:
                raise ConfigurationError(
                    f"allow: {entry!r} is neither an address nor a network such as 10.1.0.0/16{nearest(entry, _WORDS)}"
                ) from None
        return networks

    def refusal(self, host: str) -> str | None:
        """Return why this address must not be connected to, or None if it may be, or if it is a name."""
        address = _literal(host)
        if address is None:
            return None
        address = _embedded(address)
        allowed = [network for network in self._allowed() if address in network]
        for reason, networks in _REFUSED.items():
            if any(address in network for network in networks):
                if reason == "cloud metadata":
                    allowed = [network for network in allowed if network.num_addresses == 1]
                return None if allowed else f"{host} is a {reason} address; list it in `allow` if that is meant"
        return None

    def check(self, endpoints: Iterable[Endpoint]) -> None:
        """Refuse endpoints that are addresses and not permitted, before anything is connected.

        Raises:
            ConfigurationError: one of them is refused.
        """
        for endpoint in endpoints:
            if reason := self.refusal(endpoint.host):
                raise ConfigurationError(f"host {endpoint}: {reason}")


def _embedded(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 one embeds (RFC 4291, 2.5.5.2; RFC 6052; RFC 3056), or itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or IPv6Address(int(address))


class _Lookup(threading.Thread):
    """One `getaddrinfo` call, which has no time-out and cannot be stopped: a thread waits for it."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(name="otel-audit-resolver", daemon=True)
        self._endpoint = endpoint
        self.found: list[Address] = []
        self.error: str | None = None

    def run(self) -> None:
        try:
            answers = socket.getaddrinfo(*self._endpoint, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = str(error)
        else:
            self.found = [Address(family, sockaddr) for family, _, _, _, sockaddr in answers]


_lookups: dict[Endpoint, _Lookup] = {}


def resolve(endpoint: Endpoint, policy: HostPolicy, timeout: float) -> list[Address]:
    """Return the permitted addresses of a host, in the order of the system's preference.

    Waits at most `timeout` seconds. A look-up that takes longer goes on in its thread, and the next call
    waits for that one: however long name servers are silent, there is one such thread a host.

    Raises:
        OSError: the name does not resolve, not in time, or to refused addresses only.
    """
    lookup = _lookups.get(endpoint)
    if lookup is None or not lookup.is_alive():  # also after a fork, which threads do not survive
        lookup = _Lookup(endpoint)
        lookup.start()
        _lookups[endpoint] = lookup
    lookup.join(timeout)
    if lookup.is_alive():
        raise TimeoutError(f"the name was not resolved within {timeout:g} s")
    _lookups.pop(endpoint, None)
    if lookup.error is not None:
        raise OSError(f"the name does not resolve: {lookup.error}")
    refusals = [policy.refusal(str(address.sockaddr[0])) for address in lookup.found]
    permitted = [address for address, reason in zip(lookup.found, refusals, strict=True) if reason is None]
    if not permitted:
        raise OSError("; ".join(sorted({reason for reason in refusals if reason})))
    return permitted
