"""A real time-stamping authority, `openssl ts` behind HTTP, with certificates that are as a test wants them."""

from __future__ import annotations

import datetime
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority"]

CONFIG = """\
oid_section = oids
[oids]
policy = 1.3.6.1.4.1.99999.1
[tsa]
default_tsa = this
[this]
serial = {serial}
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
signer_digest = sha256
default_policy = policy
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
DAY = datetime.timedelta(days=1)


class Authority:
    """A root and a time-stamping certificate below it; `root` is the path of the one that a verifier trusts."""

    def __init__(self, directory: Path, name: str = "tsa.example", *, valid: tuple[int, int] = (-1, 7)) -> None:
        """`valid` are the days from now from and until which the time-stamping certificate is valid."""
        directory.mkdir()
        self.directory = directory
        self.root = directory / "root.pem"
        self._lock = threading.Lock()
        self.answers: list[Callable[[bytes], bytes]] = []
        """What answers queries instead of a stamp over each, one at a time."""
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate(f"{name} root", root_key.public_key(), None, (-1000, 1000)).sign(root_key, hashes.SHA256())
        self.key, self.root_key = key, root_key
        self._root, self._name = root, name
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        signer = self.certify(valid).add_extension(usages, critical=True).sign(root_key, hashes.SHA256())
        self.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        (directory / "tsa.pem").write_bytes(signer.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        (directory / "tsa.key").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        )
        (directory / "serial").write_text("01\n")
        (directory / "tsa.cnf").write_text(CONFIG.format(directory=directory, serial=directory / "serial"))

    def certify(self, valid: tuple[int, int]) -> x509.CertificateBuilder:
        """Return the beginning of another certificate of the same authority, without usages."""
        return _certificate(self._name, self.key.public_key(), self._root, valid)

    def stamp(self, query: bytes) -> bytes:
        """Return the reply to a time-stamp query."""
        with self._lock:  # for the serial file's sake
            (self.directory / "query").write_bytes(query)
            command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]
            subprocess.run(command, cwd=self.directory, check=True, capture_output=True)
            return (self.directory / "reply").read_bytes()

    def stamp_data(self, data: bytes) -> bytes:
        """Return a reply over some data, without a nonce."""
        (self.directory / "data").write_bytes(data)
        command = ["openssl", "ts", "-query", "-data", "data", "-sha256", "-cert", "-no_nonce"]
        return self.stamp(subprocess.run(command, cwd=self.directory, check=True, capture_output=True).stdout)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Answer on a port of this machine, until the block ends; yields host and port."""
        authority = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/timestamp-query"
                reply = (authority.answers.pop(0) if authority.answers else authority.stamp)(query)
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, issuer: x509.Certificate | None, valid: tuple[int, int]
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    is_root = issuer is None
    usage = x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False)
    above = key if issuer is None else issuer.public_key()
    assert isinstance(above, ec.EllipticCurvePublicKey)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0] * DAY)
        .not_valid_after(now + valid[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )
