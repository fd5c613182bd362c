"""Syslog messages: RFC 5424 in the frames of RFC 5425."""

from __future__ import annotations

import re
import socket
from contextlib import closing

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SealedLine
from otel_audit.sinks.syslog import SyslogSink
from tests.certificates import Certificates
from tests.sinks.receiver import Receiver
from tests.sinks.resend import Shipper, make_records

# RFC 5424, section 6: the grammar, as far as it is used.
MESSAGE = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z) (?P<host>[!-~]{1,255}) "
    rb"(?P<app>[!-~]{1,48}) - - "
    rb"\[(?P<id>[!-~]{1,32}) stream=\"(?P<stream>[0-9a-f]{32})\" seq=\"(?P<seq>\d+)\"\] (?P<msg>.*)",
    re.DOTALL,
)


def unframe(frame: bytes) -> re.Match[bytes]:
    length, _, message = frame.partition(b" ")
    assert int(length) == len(message)
    match = MESSAGE.fullmatch(message)
    assert match
    return match


def test_a_message_carries_the_line_and_its_place() -> None:
    (record,) = make_records(1)

    message = unframe(SyslogSink.from_url("syslog+tls://siem:6514").frame(record))

    assert message["msg"] == record.line.removesuffix(b"\n")
    assert (message["stream"].decode(), int(message["seq"])) == (record.stream, 1)
    assert message["pri"] == b"109"  # log audit, notice
    assert message["time"] == b"2026-11-21T22:30:00.123456Z"  # six digits at most
    assert message["app"] == b"otel-audit"


def test_a_line_whose_time_cannot_be_read_has_none() -> None:
    record = SealedLine("ab" * 16, 1, b'{"level":"INFO"}\n')

    assert unframe(SyslogSink.from_url("syslog+tls://siem:6514").frame(record))["time"] == b"-"


@pytest.mark.parametrize("name", ["", "hôst name\n", "x" * 300])
def test_any_host_name_gives_a_valid_header(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)

    unframe(SyslogSink.from_url("syslog+tls://siem:6514").frame(make_records(1)[0]))


def test_what_is_set_is_in_the_header() -> None:
    sink = SyslogSink.from_url("syslog+tls://siem:6514?app_name=shop&facility=4&enterprise=99999")

    message = unframe(sink.frame(make_records(1)[0]))

    assert (message["pri"], message["app"], message["id"]) == (b"37", b"shop", b"record@99999")


@pytest.mark.parametrize("option", ["facility=24", "app_name=a%20b", "app_name=" + "x" * 49, "enterprise=0"])
def test_a_setting_that_the_header_has_no_room_for_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError):
        SyslogSink.from_url(f"syslog+tls://siem:6514?{option}")


def test_messages_arrive_over_tls(certificates: Certificates) -> None:
    records = make_records(100)
    with Receiver(certificates.server_context()) as receiver:
        url = f"syslog+tls://127.0.0.1:{receiver.port}?allow=loopback&ca_file={certificates.ca}"
        with closing(SyslogSink.from_url(url + "&settle_after=0.1")) as sink:
            Shipper(sink, records).run()
        receiver.wait(lambda: not receiver.open)

    frames = b"".join(receiver.lines) + receiver.rest
    assert frames == b"".join(sink.frame(record) for record in records)
