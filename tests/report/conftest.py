"""Journals to report on, and a real browser to read the reports in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from tests.integrity.site import Site, main_to
from tests.integrity.site import build as build_site
from tests.servers.require import missing

HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>",
    "\"'><svg onload=window.pwned=3>",
    "<!--<script>",
    "]]>{{7*7}}${7*7}",
    "javascript:window.pwned=4",
    "\u202egnp.exe\u2066",
    "\x1b[31mred\x1b]8;;http://198.51.100.7/\x07",
    "\u2028\u2029\u0000\ufeff\u00ad",
    "http://198.51.100.7/collect",
]
"""Names that act on whatever shows them carelessly."""


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two signed, anchored and pinned streams that nobody touched."""
    return build_site(tmp_path_factory.mktemp("signed") / "site", streams=2, records=60, flush_each=20)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A stream whose every field is an attack, and in which one record was changed and two are gone."""
    site = build_site(tmp_path_factory.mktemp("hostile") / "site", streams=1, records=5)
    settings: dict[str, Any] = {"service": HOSTILE[0], "signing_key_file": site.key}
    trail = otel_audit.configure(journal=site.journal, sinks=[], heartbeat=0, **settings)
    for name in HOSTILE * 3:
        otel_audit.record("user.login", actor=name, target=name, outcome="failure", reason=name, extra={name: name})
    trail.close()
    log = site.logs[-1]
    lines = log.lines
    lines[12] = lines[12].replace(b'"outcome":"failure"', b'"outcome":"success"')
    log.lines = [*lines[:20], b"<script>window.pwned = 5</script>\n", *lines[22:]]
    return site


def write_report(site: Site, path: Path, *arguments: str) -> int:
    """Run `otel-audit report` over a site with all that its auditor has."""
    given = [str(site.journal), "--policy", str(site.policy), "--anchor", str(site.anchor), "--jobs", "1"]
    return main_to(path.with_suffix(".out"), ["report", *given, "-o", str(path), *arguments])


@pytest.fixture(scope="session")
def signed_report(signed: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "signed.html"
    assert write_report(signed, path) == 0
    return path


@pytest.fixture(scope="session")
def hostile_report(hostile: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "hostile.html"
    assert write_report(hostile, path) == 1
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; one for a module's tests, since an event loop runs in this thread until it is closed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        missing("chromium", "apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "pip install playwright (no `playwright install` is needed)")
    options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=options)
        yield chromium
        chromium.close()
