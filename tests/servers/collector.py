"""The real OpenTelemetry Collector, started with one of our configurations on free loopback ports.

The binary is the one that `OTELCOL_BIN` names, else the one that `otelcol/build.sh` built.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

from tests.servers.require import missing

__all__ = ["CONFIGS", "Collector", "collector_binary", "free_port", "has_component", "validate", "wait_until"]

CONFIGS = Path(__file__).parents[2] / "collector-config"
BUILD = Path(__file__).parent / "otelcol" / "build.sh"
_GATES = re.compile(r"^# +otelcol.* (--feature-gates=\S+)", re.MULTILINE)


def collector_binary(manifest: str = "builder.yaml") -> str:
    """Return the path of the Collector that a manifest describes; skip or fail the test where there is none."""
    named = os.environ.get("OTELCOL_BIN")
    if named:
        return named
    command = [BUILD, "--path", manifest]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not os.access(built, os.X_OK):
        missing("the OpenTelemetry Collector", f"run {BUILD.relative_to(CONFIGS.parent)} {manifest} or set OTELCOL_BIN")
    return built


def has_component(name: str) -> bool:
    """Tell whether this build of the Collector knows a component."""
    done = subprocess.run([collector_binary(), "components"], capture_output=True, text=True, check=True)
    return f"name: {name}\n" in done.stdout


def validate(config: Path, environment: Mapping[str, str]) -> str:
    """Run `otelcol validate`; return what it complains of, nothing if the configuration is good."""
    command = [collector_binary(), "validate", *_gates(config), "--config", str(config)]
    done = subprocess.run(command, env=_environment(environment), capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr or f"exit {done.returncode}"


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return once `holds()` is true; fail the test if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


@final
class Collector:
    """One Collector process. It can be killed and started again on the same ports and state."""

    def __init__(
        self, config: str, directory: Path, environment: Mapping[str, str], *, manifest: str = "builder.yaml"
    ) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._health = f"http://127.0.0.1:{(health := free_port())}/"
        path = CONFIGS / config
        self._log = directory / f"{path.name}.log"
        self._command = [collector_binary(manifest), *_gates(path), "--config", str(path)]
        self._environment = _environment(
            {
                "AUDIT_LISTEN": self.address,
                "AUDIT_HEALTH_PORT": str(health),
                "AUDIT_METRICS_PORT": str(free_port()),
                "AUDIT_STATE": str(directory / f"{path.name}.state"),
                **environment,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Collector:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until all its pipelines run."""
        environment = {**self._environment, "INVOCATION_ID": uuid.uuid4().hex}  # as systemd does
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(f"the Collector is ready:\n{self.log()[-2000:]}", self._ready)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it gracefully."""
        self._end(signal.SIGTERM)

    def log(self) -> str:
        """Return what it has said so far."""
        return self._log.read_text(errors="replace")

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the Collector ended:\n{self.log()[-2000:]}")
        try:
            with urllib.request.urlopen(self._health, timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


def _gates(config: Path) -> list[str]:
    """Return the feature gates that a configuration's header says to start it with."""
    return _GATES.findall(config.read_text())


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), **more}
