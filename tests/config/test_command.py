"""`otel-audit config`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_audit.cli.__main__ import main
from otel_audit.config.published import json_schema

E = "OTEL_PYTHON_AUDIT_"


def write(directory: Path, text: str) -> str:
    path = directory / "audit.yaml"
    path.write_text(text)
    return str(path)


def test_a_usable_file_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, f"journal: {tmp_path}/journal\nsinks: ['logstash+tls://logs:5044']\n")

    assert main(["config", "check", path]) == 0
    assert capsys.readouterr().out == f"{path}: usable\n"
    assert not (tmp_path / "journal").exists()


def test_each_mistake_is_a_line_and_the_exit_code_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "journall: /x\nheartbeat: x\nsinks: ['stdot:']\n")

    assert main(["config", "check", path]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"error: {path}:1: there is no setting 'journall'; did you mean 'journal'?",
        f"error: {path}:2: heartbeat is 'x'; it must be a time: 20ms, 5s, 10m, or a number of seconds",
        f"error: {path}:3: sinks[0]: there is no sink 'stdot'; did you mean 'stdout'?",
    ]


def test_a_file_is_checked_without_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{E}HEARTBEAT", "never")

    assert main(["config", "check", write(tmp_path, "heartbeat: 1\n")]) == 0
    assert main(["config", "check", "env"]) == 2


def test_the_environment_is_checked_with_the_file_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "heartbeat: never\n")
    monkeypatch.setenv(f"{E}CONFIG", path)

    assert main(["config", "check", "env"]) == 2
    assert f"error: {path}:1: heartbeat is 'never'" in capsys.readouterr().err


def test_plain_text_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "journal: /x\nsinks: ['logstash+tcp://127.0.0.1:5044?allow=loopback']\n")

    assert main(["config", "check", path]) == 0
    assert "warning: audit records go to 127.0.0.1:5044 in plain text" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "/not/there"]) == 2
    assert capsys.readouterr().err == "error: /not/there: No such file or directory\n"


def test_show_says_what_holds_and_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "journal: /x\nsinks: [{url: 'file:///y', required: true}]\n")
    monkeypatch.setenv(f"{E}HEARTBEAT", "5m")

    assert main(["config", "show", "--origin", "--config", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"journal = /x  ({path}:1)" in lines
    assert f'sinks = [{{"url": "file:///y", "required": true}}]  ({path}:2)' in lines
    assert f"heartbeat = 300.0  ({E}HEARTBEAT)" in lines
    assert "on_failure = warn  (default)" in lines


def test_show_as_json_holds_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["service"] == {"value": "shop", "origin": "OTEL_SERVICE_NAME"}


@pytest.mark.parametrize("arguments", [["--origin"], ["--json"], []])
def test_secrets_are_masked(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{E}KAFKA_PASSWORD", "hunter2")

    main(["config", "show", *arguments])
    said = capsys.readouterr().out
    assert f"{E}KAFKA_PASSWORD" in said
    assert "hunter2" not in said


def test_a_password_in_a_url_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{E}SINKS", "webhook+https://bob:hunter2@hooks/x")

    assert main(["config", "show"]) == 2
    assert main(["config", "check", "env"]) == 2
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err


def test_schema_prints_the_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
