"""The S3 sink and anchor against a real server with Object Lock: what it keeps, what it refuses, what is found missing.

The sender is killed, the server is killed, and what was acknowledged is in the bucket once.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.doctor.s3 import check_lock
from otel_audit.integrity import keys
from otel_audit.sinks.base import RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.sinks.s3 import S3Sink
from tests.servers.archiving import archive, become, codes, url_of, verify
from tests.servers.collector import wait_until
from tests.servers.s3 import S3, WRITER, SeaweedFS, run_seaweedfs
from tests.sinks.lines import sealed

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*audit records go to .* in plain text:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:checkpoints go to .* in plain text:RuntimeWarning"),
    pytest.mark.server("s3"),
]

ROOT = Path(__file__).parents[2]


def sink_of(s3: S3, bucket: str, **options: str) -> S3Sink:
    return S3Sink.from_url(url_of(s3, bucket, **options))


def refused(call: Any, **arguments: Any) -> str:
    """Return the code with which the server refuses something."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


class Test_what_the_server_refuses:
    @pytest.fixture
    def stored(self, s3: S3, bucket: str) -> dict[str, str]:
        """A part with a lock of its own, longer than the bucket's."""
        sink_of(s3, bucket, retain="30d").send(sealed(10))
        (key,) = s3.keys(bucket)
        version = s3.client().head_object(Bucket=bucket, Key=key)["VersionId"]
        return {"Bucket": bucket, "Key": key, "VersionId": version}

    def test_deleting(self, s3: S3, stored: dict[str, str]) -> None:
        assert refused(s3.client().delete_object, **stored) == "AccessDenied"
        assert refused(s3.client().delete_object, **stored, BypassGovernanceRetention=True) == "AccessDenied"

    def test_shortening_and_downgrading(self, s3: S3, stored: dict[str, str]) -> None:
        client = s3.client()
        sooner = datetime.now(timezone.utc) + timedelta(days=1)
        until = client.get_object_retention(**stored)["Retention"]["RetainUntilDate"]
        assert until > datetime.now(timezone.utc) + timedelta(days=29)
        for mode, date in (("COMPLIANCE", sooner), ("GOVERNANCE", until), ("GOVERNANCE", sooner)):
            retention = {"Mode": mode, "RetainUntilDate": date}
            assert refused(client.put_object_retention, **stored, Retention=retention) == "AccessDenied"

    def test_overwriting(self, s3: S3, stored: dict[str, str]) -> None:
        client, place = s3.client(), {"Bucket": stored["Bucket"], "Key": stored["Key"]}
        assert refused(client.put_object, **place, Body=b"", IfNoneMatch="*") == "PreconditionFailed"
        before = client.get_object(**stored)["Body"].read()
        client.put_object(**place, Body=b"something else")  # a new version above the locked one, no more
        assert client.get_object(**stored)["Body"].read() == before

    def test_hiding_leaves_what_was_there(self, s3: S3, stored: dict[str, str]) -> None:
        client = s3.client()
        client.delete_object(Bucket=stored["Bucket"], Key=stored["Key"])  # a delete marker
        assert not s3.keys(stored["Bucket"])
        assert client.get_object(**stored)["Body"].read()

    def test_lifting_a_legal_hold_does_not_lift_the_lock(self, s3: S3, bucket: str) -> None:
        sink_of(s3, bucket, retain="1d", legal_hold="true").send(sealed(1))
        client = s3.client()
        place = {"Bucket": bucket, "Key": s3.keys(bucket)[0]}
        assert client.get_object_legal_hold(**place)["LegalHold"]["Status"] == "ON"
        place["VersionId"] = client.head_object(**place)["VersionId"]
        client.put_object_legal_hold(**place, LegalHold={"Status": "OFF"})
        assert refused(client.delete_object, **place) == "AccessDenied"

    def test_a_lock_in_a_bucket_that_has_none(self, s3: S3) -> None:
        s3.client().create_bucket(Bucket="no-lock")
        with pytest.raises(SinkUnavailable, match="was the bucket made, and with Object Lock"):
            sink_of(s3, "no-lock", retain="1d").send(sealed(1))
        assert not s3.keys("no-lock")


def test_the_lock_of_the_bucket_holds_where_none_is_asked_for(s3: S3, bucket: str) -> None:
    sink_of(s3, bucket).send(sealed(1))
    kept = s3.client().head_object(Bucket=bucket, Key=s3.keys(bucket)[0])

    assert kept["ObjectLockMode"] == "COMPLIANCE"


def test_a_governance_lock_is_what_it_is_called(s3: S3, bucket: str) -> None:
    sink_of(s3, bucket, retain="90d", lock="governance").send(sealed(1))
    kept = s3.client().head_object(Bucket=bucket, Key=s3.keys(bucket)[0])

    assert kept["ObjectLockMode"] == "GOVERNANCE"


def test_doctor_says_what_a_bucket_promises(
    server: SeaweedFS, s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.client().create_bucket(Bucket="unlocked")
    s3.client().create_bucket(Bucket="no-default", ObjectLockEnabledForBucket=True)

    assert check_lock(sink_of(s3, bucket)).status == "ok"
    assert check_lock(sink_of(s3, "no-default")).status == "warn"
    assert check_lock(sink_of(s3, "no-default", retain="1d")).status == "ok"
    assert check_lock(sink_of(s3, "unlocked")).status == "warn"
    assert check_lock(sink_of(s3, "unlocked", retain="1d")).status == "fail"
    become(monkeypatch, *WRITER)
    assert check_lock(sink_of(s3, bucket)).status == "unknown"


class Test_a_writer_that_can_neither_read_nor_delete:
    @pytest.fixture(autouse=True)
    def write_only(self, server: SeaweedFS, s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        s3.let_write(bucket, "s3:PutObject", "s3:PutObjectRetention")
        become(monkeypatch, *WRITER)

    def test_archives(self, s3: S3, bucket: str, tmp_path: Path) -> None:
        archive(s3, bucket, tmp_path / "journal", retain="1d")

        code, report = verify(s3.download(bucket, "audit/", tmp_path / "copy"))
        assert (code, report["records"]) == (0, 62)

    def test_sends_again_what_is_there(self, s3: S3, bucket: str, capfd: pytest.CaptureFixture[str]) -> None:
        sink = sink_of(s3, bucket, retain="1d")
        batch = sealed(10)
        sink.send(batch)
        sink.send(batch)

        assert "its name says it is these lines" in capfd.readouterr().err
        assert len(s3.client().list_object_versions(Bucket=bucket)["Versions"]) == 1

    def test_can_do_nothing_else(self, s3: S3, bucket: str) -> None:
        sink_of(s3, bucket, retain="1d").send(sealed(10))
        (key,) = s3.keys(bucket)
        writer, place = s3.client(WRITER), {"Bucket": bucket, "Key": key}

        assert refused(writer.get_object, **place) == "AccessDenied"
        assert refused(writer.head_object, **place) == "403"
        assert refused(writer.delete_object, **place) == "AccessDenied"
        assert refused(writer.list_objects_v2, Bucket=bucket) == "AccessDenied"
        assert s3.keys(bucket) == [key]

    def test_that_may_not_lock_is_told_what_is_missing(self, s3: S3, bucket: str) -> None:
        s3.let_write(bucket, "s3:PutObject")
        sink_of(s3, bucket).send(sealed(1))
        with pytest.raises(SinkUnavailable, match="s3:PutObjectRetention"):
            sink_of(s3, bucket, retain="1d").send(sealed(1))


def test_another_object_under_a_parts_name_is_a_finding_and_stays(s3: S3, bucket: str) -> None:
    sink = sink_of(s3, bucket)
    batch = sealed(10)
    sink.send(batch)
    (key,) = s3.keys(bucket)
    s3.client().put_object(Bucket=bucket, Key=key, Body=gzip.compress(b"forged\n"))  # a version above it
    with pytest.raises(RecordsRefused, match="holds something else") as caught:
        sink.send(batch)

    assert caught.value.ids == {one.id for one in batch}


class Test_what_verify_finds_in_a_downloaded_archive:
    @pytest.fixture
    def parts(self, s3: S3, bucket: str, tmp_path: Path) -> list[str]:
        archive(s3, bucket, tmp_path / "journal")
        parts = s3.keys(bucket)
        assert len(parts) > 5
        return parts

    def copy(self, s3: S3, bucket: str, directory: Path) -> Path:
        return s3.download(bucket, "audit/", directory / "copy")

    def test_nothing_where_nothing_happened(self, s3: S3, bucket: str, parts: list[str], tmp_path: Path) -> None:
        assert verify(self.copy(s3, bucket, tmp_path))[0] == 0

    @pytest.mark.parametrize(("which", "code", "finding"), [(0, 1, "HEAD_CUT"), (2, 1, "SEQ_GAP"), (-1, 3, "UNCLOSED")])
    def test_a_part_that_was_removed_behind_the_api(
        self,
        server: SeaweedFS,
        s3: S3,
        bucket: str,
        parts: list[str],
        tmp_path: Path,
        which: int,
        code: int,
        finding: str,
    ) -> None:
        server.remove_behind_the_api(bucket, parts[which])
        assert len(s3.keys(bucket)) == len(parts) - 1

        found, report = verify(self.copy(s3, bucket, tmp_path))
        assert found == code
        assert finding in codes(report)

    def test_a_part_that_somebody_put_above_it(self, s3: S3, bucket: str, parts: list[str], tmp_path: Path) -> None:
        body = gzip.decompress(s3.client().get_object(Bucket=bucket, Key=parts[2])["Body"].read())
        forged = gzip.compress(body.replace(b'"number":25', b'"number":52'))
        s3.client().put_object(Bucket=bucket, Key=parts[2], Body=forged)

        assert verify(self.copy(s3, bucket, tmp_path))[0] == 1

    def test_parts_that_hold_the_same_records_are_copies(
        self, s3: S3, bucket: str, parts: list[str], tmp_path: Path
    ) -> None:
        lines = [SealedLine(*_place(line), line) for line in _lines(s3, bucket, parts[2:4])]
        sink_of(s3, bucket).send(lines)  # as after a journal that was restored without its cursors

        code, report = verify(self.copy(s3, bucket, tmp_path))
        assert code == 0
        assert "IDENTICAL_COPIES" in codes(report)


def _lines(s3: S3, bucket: str, keys: list[str]) -> Iterator[bytes]:
    for key in keys:
        body = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        yield from gzip.decompress(body).splitlines(keepends=True)


def _place(line: bytes) -> tuple[str, int]:
    record = json.loads(line)
    return record["stream"], record["seq"]


class Sender:
    """A process that logs and archives."""

    def __init__(self, settings: dict[str, Any], first: int, last: int) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.servers.sender", json.dumps(settings)]
        self._process = subprocess.Popen([*command, str(first), str(last)], cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def last_said(self) -> int:
        """Wait for the next number that it says, of a record whose call has returned."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return int(line) if line else -1

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def peak_memory(self) -> int:
        """Return the most memory, in KiB, that the process ever had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def ranges(keys: list[str]) -> dict[str, list[tuple[int, int]]]:
    """Return what the names say: stream -> first and last record of each part."""
    found: dict[str, list[tuple[int, int]]] = {}
    for key in sorted(keys):
        match = re.fullmatch(r"audit/([0-9a-f]{32})/(\d{16})-(\d{16})-[0-9a-f]{32}\.jsonl\.gz", key)
        assert match, key
        found.setdefault(match[1], []).append((int(match[2]), int(match[3])))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_missing_or_stored_twice_when_senders_are_killed(
    server: SeaweedFS, s3: S3, bucket: str, tmp_path: Path
) -> None:
    url = url_of(s3, bucket, max_bytes="1MiB", linger="20ms", retain="1d")
    settings = {"journal": str(tmp_path / "journal"), "sinks": [url]}
    chance = random.Random(7)
    said, sent = [], 0
    for _ in range(8):
        sender = Sender(settings, sent, sent + 1_000_000)  # more than it can log in that time
        until = time.monotonic() + chance.uniform(0.8, 2.0)
        while time.monotonic() < until:
            last = sender.last_said()
        sender.kill()
        said.append((sent, last))
        sent += 1_000_000
    command = [sys.executable, "-W", "ignore", "-m", "otel_audit", "ship", settings["journal"], "--once", "--sink", url]
    subprocess.run([*command, "--timeout", "300"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    for parts in ranges(s3.keys(bucket)).values():
        for (_, end), (start, _) in pairwise(parts):
            assert start == end + 1, "no part repeats another, none is missing"
    copy = s3.download(bucket, "audit/", tmp_path / "copy")
    code, report = verify(copy)
    assert code == 3, f"the killed streams were not closed: {codes(report)}"
    assert not codes(report) & {"DUPLICATE", "IDENTICAL_COPIES", "SEQ_GAP", "FORK"}
    numbers = {json.loads(line)["data"].get("number") for line in _all_lines(copy)}
    for first, last in said:
        assert numbers.issuperset(range(first, last + 1))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_missing_when_the_server_is_killed_and_memory_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    if "S3_ENDPOINT" in os.environ:
        pytest.skip("the server is killed")
    with run_seaweedfs(tmp_path / "server") as server:
        become(monkeypatch, server.s3.key, server.s3.secret)
        server.s3.make_worm_bucket("worm")
        url = url_of(server.s3, "worm", linger="100ms", retain="1d", timeout="5")
        settings = {"journal": str(tmp_path / "journal"), "sinks": [url]}
        sender = Sender(settings, 0, 150_000)
        sent = 0
        for kill_at in (20_000, 60_000, 100_000):
            while sent < kill_at:
                sent = sender.last_said()
            server.kill()
            time.sleep(0.3)
            server.start()
        while sent < 149_999:
            sent = sender.last_said()
        wait_until("all is archived", lambda: _archived(server.s3) >= 150_001, 120)
        assert sender.peak_memory() < 96 * 1024, "far less than what was logged while the server was down"
        sender.kill()
        copy = server.s3.download("worm", "audit/", tmp_path / "copy")
    code, report = verify(copy)
    assert code == 3, "the sender was killed in the end"
    assert not codes(report) & {"DUPLICATE", "IDENTICAL_COPIES", "SEQ_GAP", "FORK"}
    assert {json.loads(line)["data"].get("number") for line in _all_lines(copy)} >= {*range(150_000)}


def _archived(s3: S3) -> int:
    return sum(end - start + 1 for parts in ranges(s3.keys("worm")).values() for start, end in parts)


def _all_lines(directory: Path) -> Iterator[bytes]:
    for path in sorted(directory.rglob("*.gz")):
        yield from gzip.decompress(path.read_bytes()).splitlines()


class Test_checkpoints_at_an_anchor:
    @pytest.fixture
    def journal(self, server: SeaweedFS, s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        s3.let_write(bucket, "s3:PutObject", "s3:PutObjectRetention")
        become(monkeypatch, *WRITER)
        keys.generate(tmp_path / "key.pem", "shop.example/audit")
        anchor = f"s3://{bucket}/checkpoints?endpoint={s3.endpoint}&allow=loopback&retain=1d&every=0s"
        trail = otel_audit.configure(
            journal=tmp_path / "journal", sinks=[], signing_key_file=tmp_path / "key.pem", anchors=[anchor]
        )
        for stored in range(1, 4):
            trail.record("invoice.pay")
            trail.flush()
            wait_until("the checkpoint is stored", lambda least=stored: len(s3.keys(bucket)) >= least)
        assert trail.close(30)
        return tmp_path / "journal"

    def test_each_is_an_object_of_its_own_that_is_locked(self, s3: S3, bucket: str, journal: Path) -> None:
        stored = s3.keys(bucket)
        sizes = [int(re.findall(r"/(\d{16})-", key)[0]) for key in stored]

        assert len(sizes) >= 3
        assert sizes == sorted(set(sizes))
        for key in stored:
            assert s3.client().head_object(Bucket=bucket, Key=key)["ObjectLockMode"] == "COMPLIANCE"

    def test_the_stream_says_where_they_are(self, s3: S3, bucket: str, journal: Path) -> None:
        records = [json.loads(line) for path in journal.glob("*.jsonl") for line in path.read_text().splitlines()]
        facts = [each["data"] for each in records if each["event_name"] == "audit.anchor"]

        assert facts
        assert facts[0]["key"] in s3.keys(bucket)
        assert s3.client().head_object(Bucket=bucket, Key=facts[0]["key"])["VersionId"] == facts[0]["version"]

    def test_a_stream_that_was_cut_and_closed_anew_is_found_out(
        self, s3: S3, bucket: str, journal: Path, tmp_path: Path
    ) -> None:
        anchor = s3.download(bucket, "checkpoints/", tmp_path / "anchor")
        policy = tmp_path / "policy"
        vkey = keys.load(tmp_path / "key.pem").vkey
        policy.write_text(f"log {vkey}\nquorum none\n")
        assert verify(journal, "--policy", policy, "--anchor", anchor)[0] == 0
        (path,) = journal.glob("*.jsonl")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))

        code, report = verify(path, "--policy", policy, "--anchor", anchor)
        assert code == 1
        assert codes(report) & {"SIGNED_TRUNCATED", "ANCHOR_TRUNCATED"}
