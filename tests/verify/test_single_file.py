"""The single-file verifier: built here, run as an auditor runs it, without the package and without its libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.verify import verify
from otel_audit.verify.build import build
from tests.integrity.site import Site
from tests.integrity.site import build as build_site
from tests.vectors.make import HERE

LIBRARIES = ("orjson", "rich", "yaml", "pythonjsonlogger", "opentelemetry")

ALONE = """
import runpy, sys
refused, path, *words = sys.argv[1:]
for name in refused.split():
    sys.modules[name] = None  # importing it fails
sys.argv = [path, *words]
runpy.run_path(path, run_name="__main__")
"""


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "otel-audit-verify.pyz"
    build(path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build_site(tmp_path_factory.mktemp("site") / "site", streams=1, records=30, flush_each=10)


def run(single: Path, *words: object, refused: tuple[str, ...] = LIBRARIES) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, " ".join(refused), str(single), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_says_what_the_package_says(single: Path) -> None:
    journals = sorted(path for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__")
    for journal in journals[::6]:
        done = run(single, journal, "--json", refused=(*LIBRARIES, "cryptography"))
        report = verify([journal])
        assert (done.returncode, done.stderr) == (report.exit_code, "")
        assert json.loads(done.stdout) == json.loads(json.dumps(report.as_json()))


def test_it_checks_signatures_with_cryptography_alone(single: Path, site: Site) -> None:
    given = ("--policy", site.policy, "--pin", site.pins, "--anchor", site.anchor)
    sound = run(single, site.journal, *given)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "anchored" in sound.stdout
    path = next(site.journal.glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"amount":12.5', b'"amount":12.6', 1))
    assert run(single, "verify", site.journal, *given).returncode == 1


def test_nothing_of_the_installed_package_is_used(single: Path) -> None:
    done = run(single, "--version")
    assert (done.returncode, done.stdout[:11]) == (0, "otel-audit ")
    listed = subprocess.run([sys.executable, "-m", "zipfile", "-l", single], capture_output=True, text=True, check=True)
    assert "otel_audit/trail.py" not in listed.stdout
    assert "otel_audit/verify/run.py" in listed.stdout


def test_two_builds_are_the_same(single: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == single.read_bytes()


def test_it_says_that_a_bucket_needs_the_package(single: Path) -> None:
    done = run(single, "s3://worm/audit?region=eu-central-1")
    assert (done.returncode, done.stderr) == (
        2,
        "error: an s3:// path needs the whole package: pip install 'otel-audit[s3]'\n",
    )
