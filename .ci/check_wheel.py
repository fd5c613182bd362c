"""Check what a wheel installs: our package, our command, and nothing that takes over an application."""

from __future__ import annotations

import configparser
import sys
import zipfile

NEEDED = ("py.typed", "config/schema.json", "report/page.html", "report/page.css", "report/page.js")
"""Files of the package that are no modules, and without which something fails."""
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
    found += [f"the wheel lacks {name}" for name in NEEDED if f"otel_audit/{name}" not in names]
    if not any(name.startswith("otel_audit/_native.") and name.endswith((".so", ".pyd")) for name in names):
        found.append("the wheel lacks the part in C")
    found += [f"the wheel carries {name}" for name in names if name.startswith("otel_audit/csrc/")]
    if "otel-audit" not in entries["console_scripts"]:
        found.append("the wheel lacks the command otel-audit")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problem for path in sys.argv[1:] for problem in problems(path)) or None)
