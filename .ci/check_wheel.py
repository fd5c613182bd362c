"""Check what a wheel installs: our package, our command, and nothing that takes over an application."""

from __future__ import annotations

import configparser
import sys
import zipfile

TAKES_OVER = {"opentelemetry_distro", "opentelemetry_configurator"}
"""Entry points that would replace what the application's own OpenTelemetry set-up chose."""


def problems(path: str) -> list[str]:
    """Return what is wrong with a wheel, one sentence each."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        places = {name.partition("/")[0] for name in names}
        entries = configparser.ConfigParser()
        for name in names:
            if name.endswith(".dist-info/entry_points.txt"):
                entries.read_string(wheel.read(name).decode())
    ours = {place for place in places if place == "otel_audit" or place.endswith(".dist-info")}
    found = [f"the wheel installs {place}" for place in places - ours]
    found += [f"the wheel registers {group}" for group in TAKES_OVER & set(entries.sections())]
    if "otel_audit/py.typed" not in names:
        found.append("the wheel lacks py.typed, so that type checkers ignore it")
    if "otel-audit" not in entries["console_scripts"]:
        found.append("the wheel lacks the command otel-audit")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problem for path in sys.argv[1:] for problem in problems(path)) or None)
