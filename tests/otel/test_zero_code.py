"""Programs that know nothing of this package, started so that their logging becomes audit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from otel_audit.config.settings import CONFIG_VARIABLE, SCHEMA, START_VARIABLES
from otel_audit.errors import ConfigurationError
from otel_audit.otel import environment_variables
from otel_audit.otel.instrumentor import AuditInstrumentor
from tests.writer.trails import verified

ROOT = Path(__file__).parents[2]
INSTRUMENT = Path(sys.executable).parent / "opentelemetry-instrument"

PROGRAM = """
import logging, logging.config, subprocess, sys
logging.config.dictConfig({"version": 1, "root": {"level": "WARNING", "handlers": []}})
logging.getLogger("shop.cart").warning("paid", extra={"audit": {"action": "PAY", "actor": "alice"}})
logging.getLogger("other").warning("no audit event")
logging.getLogger("shop.cart").info("refunded")
"""


def start(
    *command: str | Path, env: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), **(env or {})}
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def audit_run(*arguments: str, **given: Any) -> subprocess.CompletedProcess[str]:
    return start(sys.executable, "-m", "otel_audit", "run", *arguments, **given)


def instrument(*arguments: str, env: dict[str, str], **given: Any) -> subprocess.CompletedProcess[str]:
    quiet = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    return start(INSTRUMENT, *arguments, env={**quiet, **env}, **given)


def messages(lines: str) -> list[str]:
    found = [json.loads(line) for line in lines.splitlines() if line.startswith('{"@timestamp"')]
    return [record["message"] for record in found if "message" in record]


def test_run_makes_the_named_loggers_audit_though_the_program_configures_logging() -> None:
    done = audit_run("--logger", "shop", "--", sys.executable, "-c", PROGRAM)

    assert messages(done.stdout) == ["paid", "refunded"]


def test_run_takes_its_settings_from_the_environment(tmp_path: Path) -> None:
    env = {
        "OTEL_PYTHON_AUDIT_LOGGERS": "other",
        "OTEL_PYTHON_AUDIT_JOURNAL": str(tmp_path),
        "OTEL_PYTHON_AUDIT_SINKS": "",
    }
    done = audit_run(sys.executable, "-c", PROGRAM, env=env)

    assert done.stdout == ""
    assert messages("".join(path.read_text() for path in tmp_path.glob("*.jsonl"))) == ["no audit event"]
    assert verified(tmp_path).exit_code == 0


def test_run_without_names_makes_the_logger_audit_audit() -> None:
    code = "import logging; logging.getLogger('audit').info('told'); logging.getLogger('shop').warning('not told')"

    assert messages(audit_run(sys.executable, "-c", code).stdout) == ["told"]


EMPTY = """'[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n[formatters]\\nkeys=\\n[logger_root]\\nhandlers='"""


@pytest.mark.parametrize(
    "reconfigure",
    [
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False, 'root': {'handlers': []}})",
        f"logging.config.fileConfig(io.StringIO({EMPTY}), disable_existing_loggers=False)",
        "logging.basicConfig(force=True, handlers=[logging.NullHandler()])",
    ],
    ids=["dictConfig", "fileConfig", "basicConfig"],
)
def test_handlers_that_the_program_takes_away_come_back(reconfigure: str) -> None:
    code = f"import io, logging, logging.config; {reconfigure}; logging.getLogger('shop').warning('still heard')"

    assert messages(audit_run("--logger", "root", "--", sys.executable, "-c", code).stdout) == ["still heard"]


def test_python_processes_that_the_program_starts_are_audited_too(tmp_path: Path) -> None:
    tell = "import logging, subprocess, sys; logging.getLogger('audit').info({!r});"
    child = tell.format("by the child")
    code = f"{tell.format('by the parent')} subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    audit_run("--journal", str(tmp_path), "--", sys.executable, "-c", code)

    lines = "".join(path.read_text() for path in sorted(tmp_path.glob("*.jsonl")))
    assert sorted(messages(lines)) == ["by the child", "by the parent"]
    assert verified(tmp_path).exit_code == 0


def test_the_program_gets_its_arguments_and_gives_its_exit_code() -> None:
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    done = audit_run(sys.executable, "-c", code, "--sink", "-x", "--", "y", check=False)

    assert done.returncode == 7
    assert "['--sink', '-x', '--', 'y']" in done.stdout


def test_a_sitecustomize_of_the_users_own_runs_as_well(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.theirs = __file__")
    code = """
import builtins, logging, sitecustomize
logging.getLogger("audit").info(builtins.theirs)
assert sitecustomize.__file__ == builtins.theirs
"""
    done = audit_run(sys.executable, "-c", code, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})

    assert messages(done.stdout) == [str(tmp_path / "sitecustomize.py")]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--sink", "nowhere:", "--", sys.executable, "-c", "print('started')"), "there is no sink 'nowhere'"),
        (("--", "no-such-program"), "no-such-program is not there"),
        ((), "there is no command"),
    ],
    ids=["settings", "program", "nothing"],
)
def test_run_starts_nothing_that_would_not_be_audited(arguments: tuple[str, ...], reason: str) -> None:
    done = audit_run(*arguments, check=False)

    assert done.returncode == 2
    assert reason in done.stderr
    assert "started" not in done.stdout


def test_a_child_in_an_environment_without_this_package_runs_and_says_so() -> None:
    env = {"PYTHONPATH": str(ROOT / "otel_audit" / "autostart")}
    done = start(sys.executable, "-S", "-c", "import sitecustomize; print('alive')", env=env)

    assert done.stdout == "alive\n"
    assert "runs without an audit trail" in done.stderr


def test_the_instrumentor_is_inert_unless_enabled() -> None:
    done = instrument(sys.executable, "-c", PROGRAM, env={"OTEL_PYTHON_AUDIT_LOGGERS": "shop"})

    assert messages(done.stdout) == []


def test_instrumented_by_environment_alone_loggers_are_audit() -> None:
    env = {"OTEL_PYTHON_AUDIT_ENABLED": "true", "OTEL_PYTHON_AUDIT_LOGGERS": "shop"}
    done = instrument(sys.executable, "-c", PROGRAM, env=env)

    assert messages(done.stdout) == ["paid", "refunded"]


MISTAKES = [
    ({"OTEL_PYTHON_AUDIT_ENABLED": "true", "OTEL_PYTHON_AUDIT_JOURNLA": "/var"}, "OTEL_PYTHON_AUDIT_JOURNAL"),
    ({"OTEL_PYTHON_AUDIT_ENABELD": "true", "OTEL_PYTHON_AUDIT_LOGGERS": "shop"}, "OTEL_PYTHON_AUDIT_ENABLED"),
    ({"OTEL_PYTHON_AUDIT_ENABLED": "true", "OTEL_PYTHON_AUDIT_DURABILITY": "allways"}, "always"),
    ({"OTEL_PYTHON_AUDIT_ENABLED": "ture"}, "it must be true or false"),
]


@pytest.mark.parametrize(("env", "named"), MISTAKES, ids=["setting", "switch", "value", "value of the switch"])
def test_instrumented_with_a_mistake_it_is_said_that_nothing_is_audited(env: dict[str, str], named: str) -> None:
    done = instrument(sys.executable, "-c", PROGRAM + "print('started')", env=env)

    (said,) = [line for line in done.stderr.splitlines() if line.startswith("otel-audit: ")]
    assert said.startswith("otel-audit: NOTHING IS AUDITED: ")
    assert named in said
    assert said.endswith("; the program runs without a trail")
    assert done.stdout == "started\n"


@pytest.mark.parametrize("policy", ["raise", "block"])
@pytest.mark.parametrize(("env", "named"), MISTAKES, ids=["setting", "switch", "value", "value of the switch"])
def test_a_program_that_is_to_fail_with_its_trail_is_not_started_without_one(
    env: dict[str, str], named: str, policy: str
) -> None:
    env = {**env, "OTEL_PYTHON_AUDIT_ON_FAILURE": policy}
    done = instrument(sys.executable, "-c", PROGRAM + "print('started')", env=env, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert named in said
    assert f"on_failure is '{policy}': the program is not started" in said


def test_the_policy_of_a_configuration_file_holds_though_a_variable_is_misspelt(tmp_path: Path) -> None:
    (tmp_path / "audit.yaml").write_text("on_failure: raise\n")
    env = {
        "OTEL_PYTHON_AUDIT_ENABLED": "true",
        "OTEL_PYTHON_AUDIT_CONFIG": str(tmp_path / "audit.yaml"),
        "OTEL_PYTHON_AUDIT_SINK": "stdout:",
    }
    done = instrument(sys.executable, "-c", "print('started')", env=env, check=False)

    assert (done.returncode, done.stdout) == (2, "")


def test_in_code_a_mistake_is_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_ENABLED", "ture")
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_ON_FAILURE", "raise")
    with pytest.raises(ConfigurationError, match="it must be true or false"):
        AuditInstrumentor().instrument()


@pytest.mark.parametrize("misspelt", ["OTEL_PYTHON_AUDIT_JOURNLA", "OTEL_PYTHON_AUDIT_LOGERS"])
def test_run_starts_nothing_with_a_misspelt_variable(misspelt: str) -> None:
    done = audit_run(sys.executable, "-c", "print('started')", env={misspelt: "shop"}, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert misspelt in done.stderr
    assert "did you mean" in done.stderr


def test_a_python_that_the_program_starts_with_a_mistake_is_not_started_either() -> None:
    code = (
        "import os, subprocess, sys; os.environ['OTEL_PYTHON_AUDIT_JOURNLA'] = 'x'; "
        "sys.exit(subprocess.run([sys.executable, '-c', 'print(1)']).returncode)"
    )
    done = audit_run(sys.executable, "-c", code, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert "did you mean 'OTEL_PYTHON_AUDIT_JOURNAL'" in said


def test_beside_the_sdks_own_handler_every_event_is_recorded_once(tmp_path: Path) -> None:
    env = {
        "OTEL_PYTHON_AUDIT_ENABLED": "true",
        "OTEL_PYTHON_AUDIT_LOGGERS": "shop",
        "OTEL_PYTHON_AUDIT_JOURNAL": str(tmp_path),
        "OTEL_PYTHON_AUDIT_SINKS": "",
        "OTEL_LOGS_EXPORTER": "console",
    }
    more = "logging.getLogger('other').warning('marked', extra={'audit.action': 'READ'})"
    done = instrument(sys.executable, "-c", PROGRAM + more, env=env)

    lines = "".join(path.read_text() for path in tmp_path.glob("*.jsonl"))
    assert messages(lines) == ["paid", "refunded", "marked"]
    assert '"body": "paid"' in done.stdout
    assert done.stdout.count("log.record.original") == 1  # of the one that the processor sealed
    assert verified(tmp_path).exit_code == 0


def test_installing_the_package_takes_no_place_of_a_distro() -> None:
    own = {
        group: sorted(entry.name for entry in entry_points(group=group) if entry.value.startswith("otel_audit"))
        for group in entry_points().groups
        if group.startswith("opentelemetry")
    }

    assert {group: names for group, names in own.items() if names} == {
        "opentelemetry_instrumentor": ["audit"],
        "opentelemetry_logs_exporter": ["audit_file", "audit_logstash", "audit_otlp", "audit_stdout"],
        "opentelemetry_environment_variables": ["audit"],
    }


def test_every_variable_that_becomes_a_flag_is_one() -> None:
    named = {name for name in vars(environment_variables) if name.startswith("OTEL_")}

    assert {getattr(environment_variables, name) for name in named} == named
    assert named <= {*(each.variable for each in SCHEMA.values()), CONFIG_VARIABLE, *START_VARIABLES}
    assert START_VARIABLES.keys() <= named


def test_a_logs_exporter_seals_what_the_sdk_exports(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    env = {"OTEL_LOGS_EXPORTER": "audit_stdout,audit_file", "OTEL_PYTHON_AUDIT_FILE_PATH": str(path)}
    done = instrument(sys.executable, "-c", PROGRAM, env=env)

    assert messages(done.stdout) == messages(path.read_text()) == ["paid", "no audit event"]
    assert verified(path).exit_code == 0


DECLARED = """
file_format: "1.0"
logger_provider:
  processors:
    - batch: {{exporter: {{audit_file: {{path: {exported}}}}}}}
instrumentation/development:
  python:
    audit: {{loggers: [shop], sinks: ["file://{handled}"]}}
"""


def test_an_opentelemetry_configuration_file_can_say_it_all(tmp_path: Path) -> None:
    exported, handled = tmp_path / "exported.jsonl", tmp_path / "handled.jsonl"
    file = tmp_path / "otel.yaml"
    file.write_text(DECLARED.format(exported=exported, handled=handled))
    start(INSTRUMENT, sys.executable, "-c", PROGRAM, env={"OTEL_CONFIG_FILE": str(file)})

    assert messages(handled.read_text()) == ["paid", "refunded"]
    assert {"paid", "no audit event", "refunded"} <= {*messages(exported.read_text())}
    assert verified(exported, handled).exit_code == 0
