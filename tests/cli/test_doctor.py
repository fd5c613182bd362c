"""`otel-audit doctor`: each check says what it found and what to do, and the exit code says whether all is well."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit import native
from otel_audit.cli.__main__ import main
from otel_audit.doctor import Check, application, examine, machine, tls
from otel_audit.doctor import journal as checks
from otel_audit.handler import AuditHandler
from otel_audit.integrity import keys
from otel_audit.journal.cursor import write_state
from tests.certificates import Certificates, make_certificates
from tests.sinks.http_server import Reply, Server
from tests.sinks.receiver import Receiver

pytestmark = pytest.mark.filterwarnings("ignore:.* go to .* in plain text:RuntimeWarning")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "journal"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_JOURNAL", str(directory))
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_SINKS", "")
    return directory


def found(**given: Any) -> dict[str, Check]:
    return {check.name: check for check in examine(**given)}


def with_sink(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_SINKS", url)


def test_where_all_is_well_the_exit_code_is_0(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "\nok      settings: usable\n" in out
    assert "fail" not in out
    assert list(journal.iterdir()) == [], "nothing is left behind"


def test_a_package_without_its_part_in_c_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_native().status == "ok"
    monkeypatch.setattr(native, "Encoder", None)
    check = machine.check_native()
    assert check.status == "warn"
    assert "C compiler" in check.todo
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: 1)
    assert machine.check_native().status == "ok", "a free-threaded Python is not made to take its lock back"


def test_a_report_for_machines_has_a_schema_and_the_exit_code(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal.chmod(0o777)
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["exit_code"]) == ("otel-audit.doctor/1", 1)
    failed = [check for check in report["checks"] if check["status"] == "fail"]
    assert failed == [
        {
            "name": "journal directory",
            "status": "fail",
            "what": f"{journal} has mode 0777: anyone can remove files",
            "todo": f"chmod 0700 {journal}",
        }
    ]


def test_an_unknown_option_is_a_usage_error() -> None:
    assert main(["doctor", "--jsn"]) == 2


def test_an_unknown_variable_is_a_failure_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_JOURNALS", "/x")
    check = found()["settings"]
    assert check.status == "fail"
    assert "did you mean 'OTEL_PYTHON_AUDIT_JOURNAL'" in check.what


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o750, "ok"), (0o755, "warn"), (0o770, "warn")])
def test_a_directory_that_others_reach_into_is_told(tmp_path: Path, mode: int, status: str) -> None:
    tmp_path.chmod(mode)
    assert checks.check_directory(tmp_path).status == status


def test_a_directory_that_is_not_there_yet_is_fine_if_it_can_be_made(tmp_path: Path) -> None:
    assert checks.check_directory(tmp_path / "a" / "b").status == "ok"


def test_a_file_in_the_journals_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert checks.check_directory(tmp_path / "file").status == "fail"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_told(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    assert "belongs to user 12345" in checks.check_directory(tmp_path).what


@pytest.mark.parametrize(
    ("kind", "options", "status"),
    [
        ("ext4", "rw,relatime", "ok"),
        ("nfs4", "rw", "warn"),
        ("tmpfs", "rw", "warn"),
        ("overlay", "rw", "warn"),
        ("ext4", "rw,nobarrier", "warn"),
    ],
)
def test_a_filesystem_that_weakens_what_is_promised_is_named(
    tmp_path: Path, kind: str, options: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"1 0 8:1 / / rw - xfs /dev/sda1 rw\n2 1 8:2 / {tmp_path} rw shared:1 - {kind} /dev/sdb1 {options}\n"
    monkeypatch.setattr(checks.Path, "read_text", lambda self: lines)
    check = checks.check_filesystem(tmp_path / "audit")
    assert check.status == status
    assert check.what.startswith(f"{kind} on {tmp_path}")


def test_fsync_turned_off_by_a_preloaded_library_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libeatmydata.so")
    monkeypatch.setattr(checks.Path, "read_text", lambda self: "1 0 8:1 / / rw - xfs /dev/sda1 rw\n")
    assert checks.check_filesystem(Path("/")).status == "fail"


def test_a_disk_that_cannot_hold_a_segment_is_a_failure(tmp_path: Path) -> None:
    assert checks.check_space(tmp_path, segment_bytes=1 << 60, quota=None).status == "fail"
    assert checks.check_space(tmp_path, segment_bytes=1, quota=None).status == "ok"


def test_a_quota_that_does_not_fit_or_is_nearly_used_up_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 32}.000001.jsonl").write_bytes(b"x" * 95)
    assert "does not fit" in checks.check_space(tmp_path, segment_bytes=1, quota=1 << 60).what
    assert checks.check_space(tmp_path, segment_bytes=1, quota=100).status == "warn"
    assert checks.check_space(tmp_path, segment_bytes=1, quota=1000).status == "ok"


def test_locks_that_do_not_hold_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_locks(tmp_path).status == "ok"
    monkeypatch.setattr(checks, "lock", lambda descriptor: True)
    assert checks.check_locks(tmp_path).status == "fail"


def test_a_slow_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_sync(tmp_path).status == "ok"
    monkeypatch.setattr(checks, "_SLOW_SYNC", -1.0)
    assert checks.check_sync(tmp_path).status == "warn"


def test_a_check_that_cannot_be_made_is_a_failure_and_the_others_go_on(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(checks, "lock", refuse)
    results = found()
    assert results["file locks"].status == "fail"
    assert "No locks available" in results["file locks"].what
    assert results["disk sync"].status == "ok"


def test_a_key_that_others_can_read_is_a_failure(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    keys.generate(key, "shop.example/audit")
    assert checks.check_key(str(key)).status == "ok"
    key.chmod(0o644)
    check = checks.check_key(str(key))
    assert check.status == "fail"
    assert "0600" in check.todo


def test_a_sink_that_fails_and_one_that_is_known_no_more_are_told(journal: Path) -> None:
    write_state(journal, "siem", {"error": "connection refused", "failing_since": time.time() - 1000})
    results = checks.check_sinks(journal, frozenset({"siem"}))
    assert [(check.status, check.name) for check in results] == [("fail", "sink siem")]
    assert "connection refused" in results[0].what
    write_state(journal, "siem", {"error": None})
    (check,) = checks.check_sinks(journal, frozenset())
    assert check.status == "warn"
    assert "cursors/siem" in check.todo


def test_a_clock_that_is_set_while_we_look_or_shows_another_age_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_clock(0.01).status == "ok"
    times = iter([1000.0, 1005.0])
    with monkeypatch.context() as stepped:
        stepped.setattr(machine.time, "time", lambda: next(times))
        assert machine.check_clock(0.0).status == "warn"


@pytest.mark.parametrize(("answer", "status"), [(True, "ok"), (False, "warn"), (None, "unknown")])
def test_what_keeps_the_clock_is_said_or_said_to_be_unknown(
    answer: bool | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_ask_kernel", lambda: answer)
    monkeypatch.setattr(machine, "_TIMESYNCD", "/nowhere/at/all")
    assert machine.check_synchronization().status == status


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="adjtimex is Linux's")
def test_the_kernel_is_asked_without_changing_anything() -> None:
    assert machine._ask_kernel() in {True, False, None}


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SDK_DISABLED", "true"), ("OTEL_ATTRIBUTE_COUNT_LIMIT", "8"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64")],
)
def test_what_the_sdk_would_cut_or_drop_is_told(variable: str, value: str) -> None:
    (check,) = application.check_sdk({variable: value})
    assert check.status == "warn"
    assert variable in check.what
    (check,) = application.check_sdk({})
    assert check.status == "ok"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write a module of an application; what its import does to logging is undone."""
    monkeypatch.chdir(tmp_path)
    names: list[str] = []

    def write(code: str) -> str:
        name = f"doctored_app_{len(names)}_{os.getpid()}"
        (tmp_path / f"{name}.py").write_text(code)
        names.append(name)
        return name

    before = logging.root.handlers[:]
    yield write
    logging.root.handlers[:] = before
    logging.disable(logging.NOTSET)
    for name in names:
        sys.modules.pop(name, None)
    for name in [name for name in logging.Logger.manager.loggerDict if name.startswith("doctored")]:
        del logging.Logger.manager.loggerDict[name]


def looked_at(target: str) -> dict[str, Check]:
    return {check.name: check for check in application.check_app(target)}


@pytest.mark.parametrize(("setting", "status"), [("", "warn"), ("'disable_existing_loggers': False", "ok")])
def test_a_configuration_that_disables_existing_loggers_is_told(app: Any, setting: str, status: str) -> None:
    name = app(f"LOGGING = {{'version': 1, {setting}}}")
    assert looked_at(name)["logging configuration"].status == status
    assert looked_at(f"{name}:LOGGING")["logging configuration"].status == status


def test_loggers_that_the_import_silenced_are_named(app: Any) -> None:
    name = app(
        "import logging, logging.config\n"
        "logging.getLogger('doctored.shop')\n"
        "logging.config.dictConfig({'version': 1, 'root': {'handlers': []}})\n"
    )
    try:
        check = looked_at(name)["loggers"]
        assert check.status == "warn"
        assert "disabled:" in check.what
    finally:
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled = False


def test_logging_switched_off_is_told(app: Any) -> None:
    assert looked_at(app("import logging; logging.disable(logging.INFO)"))["loggers"].what == (
        "logging.disable(20) holds: lower levels are silent"
    )


def test_a_handler_below_another_one_is_told(app: Any) -> None:
    name = app(
        "import logging\nfrom otel_audit.handler import AuditHandler\n"
        "logging.getLogger('doctored').addHandler(AuditHandler())\n"
        "logging.getLogger('doctored.cart').addHandler(AuditHandler())\n"
    )
    check = looked_at(name)["audit handlers"]
    assert check.status == "warn"
    assert check.what.startswith("doctored.cart:")
    logging.getLogger("doctored.cart").propagate = False
    assert looked_at(name)["audit handlers"].status == "ok"
    assert any(isinstance(each, AuditHandler) for each in logging.getLogger("doctored").handlers)


def test_an_application_that_cannot_be_imported_is_a_failure(app: Any) -> None:
    assert looked_at("no_such_module_anywhere")["application"].status == "fail"
    assert looked_at(app("raise ZeroDivisionError('x')"))["application"].what.endswith("ZeroDivisionError: x")
    assert looked_at(f"{app('A = 1')}:A")["application"].status == "fail"


def test_a_canary_reaches_the_sink_and_is_confirmed(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sink(monkeypatch, f"file://{tmp_path}/out.jsonl")
    check = found()[f"canary to file:{tmp_path}/out.jsonl"]
    assert check.status == "ok"
    assert check.what.startswith("confirmed in")
    events = [json.loads(line)["event_name"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert events == ["audit.stream.open", "app.doctor.canary", "audit.stream.close"]
    assert list(journal.iterdir()) == [], "no cursor moves in the real journal"


def test_a_route_does_not_keep_the_canary_away(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "audit.yaml"
    config.write_text(json.dumps({"sinks": [{"url": f"file://{tmp_path}/o", "route": {"event_name": "user.*"}}]}))
    monkeypatch.delenv("OTEL_PYTHON_AUDIT_SINKS")
    assert main(["doctor", "--config", str(config)]) == 0
    assert "app.doctor.canary" in (tmp_path / "o").read_text()


def test_no_canary_is_sent_where_none_is_wanted(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sink(monkeypatch, f"file://{tmp_path}/out.jsonl")
    assert main(["doctor", "--no-canary"]) == 0
    assert not (tmp_path / "out.jsonl").exists()


def test_standard_output_gets_no_canary_into_the_report(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_sink(monkeypatch, "stdout:")
    assert main(["doctor", "--json"]) == 0
    assert {c["name"]: c["status"] for c in json.loads(capsys.readouterr().out)["checks"]}[
        "canary to stdout"
    ] == "unknown"


def test_a_sink_that_refuses_the_canary_is_a_failure(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(default=Reply(status=400)) as server:
        with_sink(monkeypatch, f"webhook+http://{server.host}/audit?allow=loopback")
        assert found()["canary to webhook"].status == "fail"


def test_a_sink_that_is_down_is_a_failure_that_says_why(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sink(monkeypatch, "logstash+tcp://127.0.0.1:9?allow=loopback")
    results = found(timeout=0.3)
    assert results["canary to logstash"].status == "fail"
    assert "refused" in results["canary to logstash"].what
    assert results["TLS of logstash"].what == "records go out in plain text"


def test_a_protocol_without_acknowledgements_is_said_to_have_none(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        with_sink(monkeypatch, f"logstash+tcp://127.0.0.1:{receiver.port}?allow=loopback&settle_after=0.05")
        check = found()["canary to logstash"]
        assert check.status == "ok"
        assert "no acknowledgement" in check.what
        receiver.wait(lambda: len(receiver.lines) == 3)


def tls_checks(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, ca: str, options: str = "", host: str = "127.0.0.1"
) -> Check:
    url = f"logstash+tls://{host}:{receiver.port}?allow=loopback&ca_file={ca}{options}"
    with_sink(monkeypatch, url)
    return found(canary=False, timeout=5.0)[f"TLS of logstash, {host}:{receiver.port}"]


def test_a_certificate_that_expires_soon_is_a_warning(
    journal: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(certificates.server_context()) as receiver:
        check = tls_checks(monkeypatch, receiver, certificates.ca)
        assert check.status == "warn"
        assert check.what.endswith("expires in 6 days")
        monkeypatch.setattr(tls, "_SOON", 3)
        check = tls_checks(monkeypatch, receiver, certificates.ca)
        assert check.status == "ok"
        assert check.what.startswith("TLSv1.3, for 127.0.0.1, valid until ")


def test_an_authority_that_is_not_trusted_is_a_failure(
    journal: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(certificates.server_context(certificates.rogue_server)) as receiver:
        check = tls_checks(monkeypatch, receiver, certificates.ca)
        assert check.status == "fail"
        assert "ca_file" in check.todo


def test_a_certificate_for_another_name_is_a_failure_unless_that_name_is_asked_for(
    journal: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(certificates.server_context(certificates.other_name_server)) as receiver:
        check = tls_checks(monkeypatch, receiver, certificates.ca)
        assert check.status == "fail"
        assert "server_name" in check.todo
        assert tls_checks(monkeypatch, receiver, certificates.ca, "&server_name=other.example").status == "warn"


def test_a_port_without_tls_is_a_failure(
    journal: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        receiver.greeting = b"220 hello\r\n"
        assert tls_checks(monkeypatch, receiver, certificates.ca).what.startswith("handshake: ")


def test_a_port_that_takes_the_connection_and_says_nothing_is_a_failure(
    journal: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with_sink(monkeypatch, f"logstash+tls://127.0.0.1:{port}?allow=loopback&ca_file={certificates.ca}")
        check = found(canary=False, timeout=0.2)[f"TLS of logstash, 127.0.0.1:{port}"]
    assert (check.status, check.what) == ("fail", "no answer within 0.2 s")


def test_otlp_over_plain_text_by_the_standard_variable_is_told(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sink(monkeypatch, "otlp:")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert found(canary=False)["TLS of otlp"].what == "records go out in plain text"


def test_a_host_that_the_policy_refuses_is_a_failure(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sink(monkeypatch, "logstash+tls://169.254.169.254:5044")
    assert found(canary=False)["settings"].status == "fail"


@pytest.fixture
def anchored(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set an anchor, and return what is found of it."""
    keys.generate(tmp_path / "key.pem", "shop.example/audit")
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))

    def look(url: str) -> list[Check]:
        monkeypatch.setenv("OTEL_PYTHON_AUDIT_ANCHORS", url)
        results = found(canary=False, timeout=5.0)
        assert results["settings"].what == "usable"
        return [check for name, check in results.items() if "anchor " in name]

    return look


def test_an_anchors_directory_has_to_be_there(anchored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "anchor"
    (check,) = anchored(f"directory://{place}")
    assert (check.name, check.status, check.what) == ("anchor directory", "fail", f"{place} is not there")
    place.touch()
    assert [check.status for check in anchored(f"directory://{place}")] == ["fail"]
    place.unlink()
    place.mkdir()
    assert [check.status for check in anchored(f"directory://{place}")] == ["ok"]
    assert list(place.iterdir()) == []
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place and allowed(path, mode))
    (check,) = anchored(f"directory://{place}")
    assert (check.status, "cannot write" in check.what) == ("fail", True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_an_anchors_repository_has_to_be_one(anchored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "anchors.git"
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in ("not there", "no repository"):
        (check,) = anchored(f"git://{place}")
        assert (check.name, check.status, "git init --bare" in check.todo) == ("anchor git", "fail", True)
        assert str(place) in check.what
        place.mkdir(exist_ok=True)
    subprocess.run(["git", "init", "--quiet", "--bare", str(place)], check=True)
    assert [check.status for check in anchored(f"git://{place}")] == ["ok"]
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("/objects") and allowed(path, mode))
    (check,) = anchored(f"git://{place}")
    assert check.what == f"{place}: this user cannot write to objects"


def test_the_certificate_of_an_anchor_is_looked_at(anchored: Any, certificates: Certificates) -> None:
    with Receiver(certificates.server_context()) as receiver:
        host = f"127.0.0.1:{receiver.port}"
        for scheme, more in (
            ("webhook+https", ""),
            ("tsa+https", f"&tsa_ca_file={certificates.ca}"),
            ("otlp+https", ""),
        ):
            (check,) = anchored(f"{scheme}://{host}/a?allow=loopback&ca_file={certificates.ca}{more}")
            assert check.name == f"TLS of anchor {scheme.partition('+')[0]}, {host}"
            assert (check.status, "expires" in check.what) == ("warn", True)
        (check,) = anchored(f"webhook+https://{host}/a?allow=loopback")
        assert (check.status, "ca_file" in check.todo) == ("fail", True)


def test_an_anchor_in_plain_text_is_told_and_connected_to(anchored: Any) -> None:
    with Receiver() as receiver:
        checks = anchored(f"webhook+http://127.0.0.1:{receiver.port}/a?allow=loopback")
        assert [(check.name, check.status) for check in checks] == [
            ("TLS of anchor webhook", "warn"),
            (f"anchor webhook, 127.0.0.1:{receiver.port}", "ok"),
        ]
        assert "checkpoints go out in plain text" in checks[0].what
    checks = anchored("webhook+http://127.0.0.1:9/a?allow=loopback")
    assert checks[1].status == "fail"
    assert "refused" in checks[1].what


LOCKED = b"""<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>
<Mode>%b</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"""
UNLOCKED = b"<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>"


@pytest.mark.parametrize(
    ("reply", "options", "status", "said"),
    [
        (Reply(body=LOCKED % b"COMPLIANCE"), "", "ok", "COMPLIANCE"),
        (Reply(body=LOCKED % b"GOVERNANCE"), "", "warn", "s3:BypassGovernanceRetention lifts it"),
        (Reply(body=LOCKED % b"GOVERNANCE"), "&retain=7y", "ok", "COMPLIANCE for 7y is asked for"),
        (Reply(404, UNLOCKED), "", "warn", "can be deleted"),
        (Reply(404, UNLOCKED), "&retain=7y", "fail", "can be deleted"),
        (Reply(403), "&retain=7y", "unknown", "COMPLIANCE for 7y is asked for"),
        (Reply(500), "", "fail", "answered 500"),
    ],
)
def test_what_a_bucket_promises(
    journal: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, options: str, status: str, said: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    with Server(default=reply) as server:
        with_sink(monkeypatch, f"s3://worm/audit?endpoint=http://{server.host}&allow=loopback{options}")
        results = found(canary=False)

    assert results["lock of s3"].status == status
    assert said in results["lock of s3"].what
    assert results["TLS of s3"].what == "records go out in plain text"


def test_the_certificate_of_an_s3_server_is_looked_at(
    journal: Path, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    with Receiver(certificates.server_context()) as receiver:
        host = f"127.0.0.1:{receiver.port}"
        with_sink(
            monkeypatch, f"s3://worm/audit?endpoint=https://{host}&allow=loopback&ca_file={certificates.ca}&timeout=1"
        )
        check = found(canary=False, timeout=5.0)[f"TLS of s3, {host}"]

    assert check.status == "warn"
    assert "expires" in check.what
