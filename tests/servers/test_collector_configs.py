"""Every file in collector-config/ is one that the Collector accepts, and says what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.certificates import make_certificates
from tests.servers.collector import CONFIGS, has_component, validate

FILES = sorted(CONFIGS.glob("*.yaml"))
NEVER = {"batch", "filter", "probabilistic_sampler", "tail_sampling", "log_dedup", "logdedup", "redaction"}
"""Processors that answer too early, or drop, or change."""


def kind(component: str) -> str:
    return component.partition("/")[0]


@pytest.mark.server("otelcol")
@pytest.mark.parametrize("config", FILES, ids=lambda path: path.name)
def test_the_collector_accepts_the_configuration(config: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    for exporter in map(kind, settings["exporters"]):
        if not has_component(exporter):
            pytest.skip(f"this Collector was built without the {exporter} exporter")
    issued = make_certificates(tmp_path)
    environment = {
        "AUDIT_STATE": str(tmp_path),
        "AUDIT_CA": issued.ca,
        "AUDIT_SERVER_CERT": issued.server.cert,
        "AUDIT_SERVER_KEY": issued.server.key,
        "AUDIT_CERT": issued.client.cert,
        "AUDIT_KEY": issued.client.key,
    }

    assert validate(config, environment) == ""


@pytest.mark.parametrize("config", FILES, ids=lambda path: path.name)
def test_a_configuration_says_first_what_it_guarantees_and_what_not(config: Path) -> None:
    header, _, _ = config.read_text().partition("\n\n")
    assert "# Guaranteed: " in header
    assert "# Not guaranteed: " in header
    assert f"--config {config.name}" in header


@pytest.mark.parametrize("config", FILES, ids=lambda path: path.name)
def test_nothing_in_an_audit_pipeline_drops_or_gives_up(config: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    pipeline = settings["service"]["pipelines"]["logs/audit"]
    assert NEVER.isdisjoint(map(kind, pipeline.get("processors", [])))
    for name in pipeline["exporters"]:
        exporter = settings["exporters"][name]
        retry = exporter.get("retry_on_failure", {})
        assert not retry.get("enabled") or retry["max_elapsed_time"] == 0
        queue = exporter.get("sending_queue", {})
        assert not queue.get("enabled") or (
            queue["block_on_overflow"] and ("storage" in queue or queue["wait_for_result"])
        )
    for extension in settings["extensions"].values():
        assert "directory" not in extension or extension["fsync"] is True
    for receiver in settings["receivers"].values():
        retry = receiver.get("retry_on_failure", {})
        assert not retry or retry["max_elapsed_time"] == 0
