"""Archives in a bucket of a real server: made, and verified."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from tests.servers.s3 import S3

__all__ = ["archive", "become", "codes", "url_of", "verify"]

ROOT = Path(__file__).parents[2]


def become(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


def url_of(s3: S3, bucket: str, **options: str) -> str:
    query = "".join(f"&{name}={value}" for name, value in options.items())
    return f"s3://{bucket}/audit?endpoint={s3.endpoint}&allow=loopback{query}"


def verify(*arguments: object) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "otel_audit", "verify", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def codes(report: dict[str, Any]) -> set[str]:
    return {each["code"] for each in report["findings"]}


def archive(s3: S3, bucket: str, journal: Path, count: int = 60, **options: str) -> str:
    """Archive a whole stream in parts of at most ten records; return its id."""
    sinks = [url_of(s3, bucket, linger="0s", max_records="10", **options)]
    trail = otel_audit.configure(journal=journal, sinks=sinks)
    for number in range(count):
        trail.record("invoice.pay", data={"number": number})
    stream = trail.stream.id
    assert trail.close(30)
    return stream
