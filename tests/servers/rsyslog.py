"""rsyslog with mutual TLS: one input for JSON Lines, one for syslog with octet counting, each into its own file."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import CLIENT_NAME, Certificates
from tests.servers.require import missing

# The rulesets have no queue: what an input has read is written at once, and a kill loses only what was not read.
_CONFIG = """
global(workDirectory="{work}" maxMessageSize="2m"
  defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}"
  defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}"
  parser.escapeControlCharactersOnReceive="off" parser.dropTrailingLFOnReception="on")
module(load="imtcp" MaxFrameSize="2097152" {transport})
template(name="raw" type="string" string="%rawmsg%\\n")
template(name="parts" type="string" string="%pri%|%timereported:::date-rfc3339%|%app-name%|%structured-data%|%msg%\\n")
ruleset(name="lines") {{ action(type="omfile" file="{work}/lines" template="raw" asyncWriting="off") }}
ruleset(name="syslog") {{ action(type="omfile" file="{work}/syslog" template="parts" asyncWriting="off") }}
input(type="imtcp" port="{lines_port}" address="127.0.0.1" ruleset="lines" SupportOctetCountedFraming="off")
input(type="imtcp" port="{syslog_port}" address="127.0.0.1" ruleset="syslog")
"""
_TLS = (
    f'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" PermittedPeer=["{CLIENT_NAME}"]'
)


class Rsyslog:
    """One rsyslogd. `kill` and `start` it as often as needed; what it has written is kept."""

    def __init__(self, work: Path, certificates: Certificates, *, with_tls: bool) -> None:
        self.lines_port = _free_port()
        self.syslog_port = _free_port()
        self._work = work
        self._certificates = certificates
        self._with_tls = with_tls
        self._process: subprocess.Popen[bytes] | None = None
        self._config = work / "rsyslog.conf"
        self._config.write_text(
            _CONFIG.format(
                work=work,
                ca=certificates.ca,
                cert=certificates.server.cert,
                key=certificates.server.key,
                transport=_TLS if with_tls else "",
                lines_port=self.lines_port,
                syslog_port=self.syslog_port,
            )
        )

    def start(self) -> None:
        """Start it and return when a client with a certificate is accepted."""
        program = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
        pid_file = self._work / "rsyslog.pid"
        pid_file.unlink(missing_ok=True)
        self._close_off()
        self._process = subprocess.Popen(
            [program, "-n", "-f", str(self._config), "-i", str(pid_file)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError("rsyslogd does not listen")
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _close_off(self) -> None:
        """End the line that a kill cut, lest it swallow the first line that is written behind it."""
        for name in ("lines", "syslog"):
            path = self._work / name
            if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                with path.open("ab") as file:
                    file.write(b"\n")

    def lines(self) -> list[bytes]:
        """Whole lines that arrived as JSON Lines."""
        return self._read("lines")

    def written(self) -> int:
        """How many bytes of JSON Lines it has stored so far."""
        path = self._work / "lines"
        return path.stat().st_size if path.exists() else 0

    def messages(self) -> list[list[bytes]]:
        """Syslog messages: priority, time, application, structured data, and the message with its first space."""
        return [line.rstrip(b"\n").split(b"|", 4) for line in self._read("syslog")]

    def _read(self, name: str) -> list[bytes]:
        try:
            data = (self._work / name).read_bytes()
        except FileNotFoundError:
            return []
        return [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.lines_port), 5) as plain:
                if self._with_tls:
                    context = ssl.create_default_context(cafile=self._certificates.ca)
                    context.load_cert_chain(self._certificates.client.cert, self._certificates.client.key)
                    context.wrap_socket(plain, server_hostname="localhost").close()
            return True
        except OSError:
            return False


@contextmanager
def rsyslog(work: Path, certificates: Certificates, *, with_tls: bool = True) -> Iterator[Rsyslog]:
    """Run rsyslogd in a directory of its own."""
    modules = Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")
    if not (shutil.which("rsyslogd") or os.path.exists("/usr/sbin/rsyslogd")) or not any(modules):
        missing("rsyslog", "apt-get install rsyslog rsyslog-gnutls")
    server = Rsyslog(work, certificates, with_tls=with_tls)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
