"""The verifier needs nothing but the standard library, and nothing of the package but the format's definitions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from otel_audit.verify import verify
from tests.vectors.make import HERE

PACKAGE = Path(__file__).parents[2] / "otel_audit"

SCRIPT = """
import importlib.machinery, json, sys, types
for name in ("orjson", "rich", "cryptography", "yaml", "pythonjsonlogger"):
    sys.modules[name] = None  # importing it fails
package = types.ModuleType("otel_audit")  # without running the package's own __init__
package.__path__ = [sys.argv[1]]
sys.modules["otel_audit"] = package
from otel_audit.verify import verify
reports = {path: verify([path]).as_json() for path in sys.argv[2:]}
loaded = sorted(name for name in sys.modules if name.startswith("otel_audit.") and ".verify" not in name)
print(json.dumps({"reports": reports, "loaded": loaded}))
"""


def test_without_any_library_the_verdicts_are_the_same() -> None:
    journals = [str(path) for path in sorted(HERE.iterdir()) if path.is_dir() and path.name != "__pycache__"]
    command = [sys.executable, "-c", SCRIPT, str(PACKAGE), *journals]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert said["loaded"] == [
        "otel_audit.canonical",
        "otel_audit.chain",
        "otel_audit.integrity",
        "otel_audit.integrity.findings",
        "otel_audit.record",
    ]
    assert said["reports"] == {path: verify([path]).as_json() for path in journals}


OFFLINE = """
import json, socket, sys
def refuse(*_, **__):
    raise AssertionError("a socket")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from otel_audit.cli.__main__ import main
"""


def test_nothing_is_asked_of_a_network_and_no_client_of_one_is_loaded(tmp_path: Path) -> None:
    """... unless a path begins with `s3://`."""
    script = OFFLINE + (
        "code = main(sys.argv[1:])\n"
        "loaded = {'boto3', 'botocore', 'otel_audit.verify.archive', 'otel_audit.sinks.bucket'} & sys.modules.keys()\n"
        "assert not loaded, loaded\n"
        "sys.exit(code)"
    )
    journal = str(HERE / "intact-one-stream")
    command = ["verify", journal, "--anchor", str(tmp_path), "--checkpoint", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    assert done.returncode == verify([journal], anchors=[tmp_path], checkpoints=[tmp_path]).exit_code, done.stderr
