"""A signing key that never leaves its token: SoftHSM, over PKCS#11, from the configuration to the verifier."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.policy import Policy
from otel_audit.verify import verify
from tests.servers.require import missing
from tests.writer.trails import ROOT

pytestmark = pytest.mark.server("softhsm")

NAME = "shop.example/audit"
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "24681357"
ED25519 = bytes.fromhex("130c656477617264733235353139")  # PrintableString edwards25519 (PKCS#11 3.0, 6.3.3)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token with one key pair; the library reads where it lies once, from the environment."""
    if shutil.which("softhsm2-util") is None or not Path(MODULE).exists():
        missing("SoftHSM", "apt install softhsm2")
    pkcs11 = pytest.importorskip("pkcs11")
    directory = tmp_path_factory.mktemp("hsm")
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(directory / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "audit", "--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True)
    with pkcs11.lib(MODULE).get_token(token_label="audit").open(rw=True, user_pin=PIN) as session:
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: ED25519}, local=True
        )
        parameters.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label="checkpoints")
    (directory / "pin").write_text(f"{PIN}\n")
    (directory / "pin").chmod(0o600)
    return directory


def uri(token: Path, path: str = "token=audit;object=checkpoints", **query: str) -> str:
    given = {"module-path": MODULE, "pin-source": f"{token}/pin", "name": NAME, **query}
    return f"pkcs11:{path}?" + "&".join(f"{name}={value}" for name, value in given.items() if value)


def test_checkpoints_are_signed_by_the_token(token: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trail = otel_audit.configure(journal=tmp_path / "j", sinks=[], signing_key_file=uri(token), record_signatures=True)
    otel_audit.record("order.pay")
    child = os.fork()
    if not child:
        otel_audit.record("order.pay")
        trail.close()
        os._exit(0)
    os.waitpid(child, 0)
    trail.close()
    assert main(["keys", "show", uri(token)]) == 0
    vkey = capsys.readouterr().out.strip()
    assert vkey.startswith(f"{NAME}+")
    policy = Policy.parse(f"log {vkey}\nquorum none\n".encode())
    report = verify([tmp_path / "j"], policy=policy, record_signatures=True)
    assert (report.findings.counts(), [each.tier for each in report.streams]) == ({}, ["signed", "signed"])


def test_a_head_is_signed_by_hand_with_it(token: Path, tmp_path: Path) -> None:
    trail = otel_audit.configure(journal=tmp_path, sinks=[])
    otel_audit.record("order.pay")
    trail.close()
    stream = next(tmp_path.glob("*.jsonl")).name[:32]
    assert main(["checkpoint", str(tmp_path), stream, "--key", uri(token)]) == 0


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        pytest.param("token=audit", {}, "object is missing", id="no key"),
        pytest.param("token=audit;object=checkpoints", {"name": ""}, "name is missing", id="no name"),
        pytest.param("token=audit;object=checkpoints;pin-value=1", {}, "the file that pin-source names", id="a PIN"),
        pytest.param("token=other;object=checkpoints", {}, "on token 'other': NoSuchToken", id="another token"),
        pytest.param("token=audit;object=other", {}, "the key 'other' .*NoSuchKey", id="another key"),
        pytest.param("token=audit;object=checkpoints", {"module-path": "/no/module.so"}, "/no/module.so", id="module"),
    ],
)
def test_what_is_wrong_with_it_is_said(token: Path, path: str, query: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_signer(uri(token, path, **query))


def test_a_wrong_or_open_pin_is_refused_and_never_shown(token: Path, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("11112222")
    pin.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        open_signer(uri(token, **{"pin-source": f"file:{pin}"}))
    pin.chmod(0o600)
    command = [sys.executable, "-m", "otel_audit", "keys", "show", uri(token, **{"pin-source": f"file:{pin}"})]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, "PinIncorrect" in done.stderr, "11112222" in done.stderr) == (2, True, False)
