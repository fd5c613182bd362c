"""The recipes that ship a journal: their settings and URLs are ones that the package takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_audit.cli.__main__ import main
from otel_audit.config.assembly import check
from otel_audit.config.resolving import resolve
from tests.certificates import Certificates, make_certificates

ROOT = Path(__file__).parents[2]
KUBERNETES = sorted((ROOT / "examples" / "kubernetes_ship").glob("*.yaml"))
UNITS = sorted((ROOT / "examples" / "systemd").glob("*.service"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def with_files(text: str, certificates: Certificates) -> str:
    """Put files that exist in the place of those that a recipe mounts."""
    text = re.sub(r"(?<=ca_file=)[^&\"]+", certificates.ca, text)
    text = re.sub(r"(?<=cert_file=)[^&\"]+", certificates.client.cert, text)
    return re.sub(r"(?<=key_file=)[^&\"]+", certificates.client.key, text)


def containers(path: Path) -> Iterator[dict[str, Any]]:
    spec = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]
    yield from [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_the_environment_of_every_container_is_usable(path: Path, certificates: Certificates) -> None:
    looked_at = 0
    for container in containers(path):
        environment = {each["name"]: with_files(each["value"], certificates) for each in container.get("env", [])}
        if any(name.startswith("OTEL_PYTHON_AUDIT") for name in environment):
            if "command" in container:  # `ship` is told where
                environment.setdefault("OTEL_PYTHON_AUDIT_JOURNAL", container["command"][2])
            check(resolve({}, environment))
            looked_at += 1
    assert looked_at


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_environment_and_the_sinks_of_every_unit_are_usable(path: Path, certificates: Certificates) -> None:
    text = with_files(path.read_text().replace("\\\n", " "), certificates)
    settings = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    environment = dict(pair.split("=", 1) for line in settings for pair in shlex.split(line))
    sinks = re.findall(r'--sink "([^"]+)"', text)
    check(resolve({"journal": "/var/lib/shop/audit", **({"sinks": sinks} if sinks else {})}, environment))


@pytest.mark.parametrize("path", [*KUBERNETES, *UNITS], ids=lambda path: path.name)
def test_every_command_in_a_recipe_takes_the_options_it_is_given(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if path in UNITS:
        lines = re.findall(r"^ExecStart=(.*)$", path.read_text().replace("\\\n", " "), re.MULTILINE)
        commands = [shlex.split(line) for line in lines]
    else:
        commands = [container["command"] for container in containers(path) if "command" in container]
    for name, *args in commands:
        if name.endswith("otel-audit"):
            assert main([*args, "--help"]) == 0, args
            assert main([*args, "--no-such-option"]) == 2
            assert "unrecognized arguments: --no-such-option (" in capsys.readouterr().err
