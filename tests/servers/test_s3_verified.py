"""`verify s3://...`: archives and anchors read where they lie, on a real server with Object Lock and versions.

Case 55 of the list of mutations is here: a lock that is weaker than it should be.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import otel_audit
import otel_audit.verify
from otel_audit.cli.__main__ import main
from otel_audit.integrity import keys
from otel_audit.sinks import bucketreader
from otel_audit.sinks.bucketreader import BucketReader, Lock, Version
from otel_audit.sinks.s3 import S3Sink
from tests.servers.archiving import ROOT, archive, become, codes, url_of, verify
from tests.servers.collector import wait_until
from tests.servers.s3 import S3, WRITER, SeaweedFS
from tests.sinks.lines import sealed

pytestmark = [
    pytest.mark.filterwarnings("ignore:.* in plain text:RuntimeWarning"),
    pytest.mark.server("s3"),
]


@pytest.fixture
def parts(s3: S3, bucket: str, tmp_path: Path) -> list[str]:
    """The keys of an archive of one whole stream."""
    archive(s3, bucket, tmp_path / "journal", retain="2d")
    parts = s3.keys(bucket)
    assert len(parts) > 5
    return parts


def about(report: dict[str, Any], code: str) -> dict[str, Any]:
    (found,) = [each for each in report["findings"] if each["code"] == code]
    return found


def forge(s3: S3, bucket: str, key: str) -> None:
    """Put a part above another one that says something else."""
    body = gzip.decompress(s3.client().get_object(Bucket=bucket, Key=key)["Body"].read())
    changed = re.sub(rb'"number":[0-9]+', b'"number":999', body)
    s3.client().put_object(Bucket=bucket, Key=key, Body=gzip.compress(changed))


def test_an_archive_is_verified_where_it_lies(s3: S3, bucket: str, parts: list[str]) -> None:
    code, report = verify(url_of(s3, bucket, retain="2d", linger="0s"))

    assert (code, codes(report), report["records"]) == (0, set(), 62)
    assert [each["object"] for each in report["objects"]] == [f"s3://{bucket}/{key}" for key in parts]
    assert {each["lock"] for each in report["objects"]} == {"compliance"}
    assert all(each["version"] and each["bytes"] for each in report["objects"])
    assert report["object_count"] == len(parts)


def test_a_person_sees_which_objects_were_read(s3: S3, bucket: str, parts: list[str]) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "otel_audit", "verify", url_of(s3, bucket)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout

    read = re.findall(r"^read (\S+) version (\S+), .* bytes, compliance until (\S+)$", said, re.MULTILINE)
    assert [each[0] for each in read] == [f"s3://{bucket}/{key}" for key in parts]
    assert said.splitlines()[-1].startswith("INTACT: Proved: 62 records in 1 stream")


def test_one_object_can_be_named(s3: S3, bucket: str, parts: list[str]) -> None:
    url = url_of(s3, bucket).replace("/audit?", f"/{parts[0]}?")
    code, report = verify(url)

    assert (code, codes(report), len(report["objects"])) == (3, {"UNCLOSED"}, 1)


def test_the_list_of_objects_is_read_to_its_end(s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in pages, and a key's versions may be spread over two of them."""
    client = s3.client()
    for number in range(5):
        for _ in range(1 + number % 3):
            client.put_object(Bucket=bucket, Key=f"audit/{number}", Body=b"x" * number)
    client.delete_object(Bucket=bucket, Key="audit/1")
    reader = BucketReader.from_url(url_of(s3, bucket))
    whole = list(reader.list("audit/"))
    ask = reader._ask
    monkeypatch.setattr(reader, "_ask", lambda operation, **given: ask(operation, **given, MaxKeys=1))

    assert list(reader.list("audit/")) == whole
    assert [len(each.versions) for each in whole] == [1, 2, 3, 1, 2]
    assert [each.deleted is not None for each in whole] == [False, True, False, False, False]
    for each in whole:
        assert [*each.versions] == sorted(each.versions, key=lambda version: version.stored)


@pytest.mark.parametrize(("which", "code", "finding"), [(0, 1, "HEAD_CUT"), (2, 1, "SEQ_GAP"), (-1, 3, "UNCLOSED")])
def test_a_part_that_was_removed_behind_the_api(
    server: SeaweedFS, s3: S3, bucket: str, parts: list[str], which: int, code: int, finding: str
) -> None:
    server.remove_behind_the_api(bucket, parts[which])
    found, report = verify(url_of(s3, bucket))

    assert (found, codes(report)) == (code, {finding})


class Test_what_lies_above_an_object:
    def test_another_version(self, s3: S3, bucket: str, parts: list[str]) -> None:
        forge(s3, bucket, parts[2])
        code, report = verify(url_of(s3, bucket))

        assert (code, codes(report)) == (1, {"OBJECT_OVERWRITTEN"})
        assert about(report, "OBJECT_OVERWRITTEN")["file"] == f"s3://{bucket}/{parts[2]}"
        assert report["records"] == 62, "what was archived is what was checked"
        assert "above what was archived" in report["sentence"]

    def test_the_same_again(self, s3: S3, bucket: str, parts: list[str]) -> None:
        """As of a server that ignores `If-None-Match`, after an answer that was lost."""
        body = s3.client().get_object(Bucket=bucket, Key=parts[2])["Body"].read()
        s3.client().put_object(Bucket=bucket, Key=parts[2], Body=body)

        assert (lambda code, report: (code, codes(report)))(*verify(url_of(s3, bucket))) == (0, {"OBJECT_REPEATED"})

    def test_a_delete_marker(self, s3: S3, bucket: str, parts: list[str]) -> None:
        s3.client().delete_object(Bucket=bucket, Key=parts[2])
        assert parts[2] not in s3.keys(bucket)
        code, report = verify(url_of(s3, bucket))

        assert (code, codes(report), report["records"]) == (1, {"OBJECT_HIDDEN"}, 62)

    def test_a_delete_marker_and_then_another_version(self, s3: S3, bucket: str, parts: list[str]) -> None:
        body = s3.client().get_object(Bucket=bucket, Key=parts[2])["Body"].read()
        s3.client().delete_object(Bucket=bucket, Key=parts[2])
        s3.client().put_object(Bucket=bucket, Key=parts[2], Body=body + b"\n")

        assert codes(verify(url_of(s3, bucket))[1]) == {"OBJECT_OVERWRITTEN"}

    def test_of_an_object_without_a_lock(self, s3: S3, bucket: str) -> None:
        """Only the marker is left: nobody can read what was there."""
        client = s3.client()
        client.create_bucket(Bucket=(name := f"{bucket}-bare"), ObjectLockEnabledForBucket=True)
        S3Sink.from_url(url_of(s3, name)).send(sealed(10))
        (key,) = s3.keys(name)
        client.delete_object(Bucket=name, Key=key)
        code, report = verify(url_of(s3, name))
        assert (code, codes(report) & {"OBJECT_HIDDEN", "LOCK_MISSING"}) == (1, {"OBJECT_HIDDEN", "LOCK_MISSING"})

        version = client.list_object_versions(Bucket=name)["Versions"][0]["VersionId"]
        client.delete_object(Bucket=name, Key=key, VersionId=version)
        code, report = verify(url_of(s3, name))
        assert (code, codes(report)) == (5, {"MISSING_PATH"})
        assert "1 delete markers are left" in about(report, "MISSING_PATH")["detail"]
        S3Sink.from_url(url_of(s3, name)).send(sealed(10))
        assert "OBJECT_EXPIRED" in codes(verify(url_of(s3, name))[1])


def no_object_lock(s3: S3, bucket: str) -> None:
    s3.client().create_bucket(Bucket=bucket)


def no_default(s3: S3, bucket: str) -> None:
    s3.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)


def compliance(s3: S3, bucket: str) -> None:
    s3.make_worm_bucket(bucket, 2)


def governance(s3: S3, bucket: str) -> None:
    no_default(s3, bucket)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}
    s3.client().put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )


@pytest.mark.parametrize(
    ("make", "stored", "asked", "exit_code", "code"),
    [
        pytest.param(compliance, {}, {}, 0, None, id="55 nothing"),
        pytest.param(compliance, {}, {"retain": "2d"}, 0, None, id="55 as long as is asked"),
        pytest.param(no_object_lock, {}, {}, 3, "LOCK_MISSING", id="55 a bucket without Object Lock"),
        pytest.param(no_default, {}, {}, 3, "LOCK_MISSING", id="55 objects without a retention"),
        pytest.param(no_default, {"legal_hold": "true"}, {"legal_hold": "true"}, 0, None, id="55 only held"),
        pytest.param(compliance, {}, {"retain": "30d"}, 3, "LOCK_WEAK", id="55 a retention that is too short"),
        pytest.param(compliance, {}, {"legal_hold": "true"}, 3, "LOCK_WEAK", id="55 a legal hold that is lifted"),
        pytest.param(governance, {}, {}, 3, "LOCK_WEAK", id="55 downgraded to GOVERNANCE"),
        pytest.param(governance, {}, {"retain": "2d"}, 3, "LOCK_WEAK", id="55 GOVERNANCE where the other is asked for"),
        pytest.param(governance, {}, {"retain": "2d", "lock": "governance"}, 0, None, id="55 GOVERNANCE as asked for"),
        pytest.param(compliance, {"retain": "9d"}, {"retain": "9d"}, 0, None, id="55 longer than the bucket's default"),
    ],
)
def test_case_55_a_lock_that_is_not_what_it_should_be(
    s3: S3,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    make: Callable[[S3, str], None],
    stored: dict[str, str],
    asked: dict[str, str],
    exit_code: int,
    code: str | None,
) -> None:
    name = f"case-55-{abs(hash(request.node.name)) % 10**9}"
    make(s3, name)
    archive(s3, name, tmp_path / "journal", count=20, **stored)

    found, report = verify(url_of(s3, name, **asked))
    assert (found, codes(report)) == (exit_code, {code} if code else set())
    assert verify(url_of(s3, name, **asked), "--strict")[0] == (1 if code else 0)


def test_case_55_a_lock_that_was_shortened_since_the_stream_said_what_it_is(s3: S3, tmp_path: Path) -> None:
    """Nobody tells `verify` but the stream itself, in its first record."""
    name = f"case-55-{abs(hash(str(tmp_path))) % 10**9}"
    no_default(s3, name)
    archive(s3, name, tmp_path / "journal", count=20, retain="9d", lock="governance")
    asked = url_of(s3, name, retain="1d", lock="governance")
    assert verify(asked)[0] == 0
    sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(timezone.utc) + timedelta(days=2)}
    key = s3.keys(name)[1]
    s3.client().put_object_retention(Bucket=name, Key=key, Retention=sooner, BypassGovernanceRetention=True)
    code, report = verify(asked)

    assert (code, codes(report)) == (3, {"LOCK_WEAK"})
    found = about(report, "LOCK_WEAK")
    assert (found["file"], found["detail"]) == (f"s3://{name}/{key}", "it ends before its stream says that it does")


def test_what_is_the_same_of_many_objects_is_said_once(s3: S3, bucket: str, parts: list[str]) -> None:
    found = about(verify(url_of(s3, bucket, retain="30d"))[1], "LOCK_WEAK")

    assert (found["count"], found["file"]) == (len(parts), f"s3://{bucket}/{parts[0]}")
    until = datetime.fromisoformat(found["expected"][:-1]).replace(tzinfo=timezone.utc)
    assert until > datetime.now(timezone.utc) + timedelta(days=29)


class Test_an_account_that_may_not_ask:
    @pytest.fixture(autouse=True)
    def others(self, server: SeaweedFS, parts: list[str]) -> None:
        """Accounts are those of a server of ours."""

    def test_for_anything(self, s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        become(monkeypatch, *WRITER)
        code, report = verify(url_of(s3, bucket))

        assert (code, codes(report)) == (2, {"UNREADABLE"})
        assert "s3:ListBucketVersions" in about(report, "UNREADABLE")["detail"]

    def test_for_objects(self, s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        s3.let(bucket, "s3:ListBucket", "s3:ListBucketVersions")
        become(monkeypatch, *WRITER)
        code, report = verify(url_of(s3, bucket))

        assert code == 2
        assert all("s3:GetObject" in each["detail"] for each in report["findings"] if each["code"] == "UNREADABLE")


class Test_an_anchor:
    @pytest.fixture
    def options(self) -> dict[str, str]:
        return {"retain": "2d", "every": "0s"}

    @pytest.fixture
    def anchor(self, s3: S3, bucket: str, options: dict[str, str]) -> str:
        return url_of(s3, bucket, **options).replace("/audit?", "/checkpoints?")

    @pytest.fixture
    def journal(self, s3: S3, bucket: str, anchor: str, tmp_path: Path) -> Path:
        vkey = keys.generate(tmp_path / "key.pem", "shop.example/audit")
        (tmp_path / "policy").write_text(f"log {vkey}\nquorum none\n")
        trail = otel_audit.configure(
            journal=tmp_path / "journal", sinks=[], signing_key_file=tmp_path / "key.pem", anchors=[anchor]
        )
        for stored in range(1, 4):
            trail.record("invoice.pay")
            trail.flush()
            wait_until("the checkpoint is stored", lambda least=stored: len(s3.keys(bucket)) >= least)
        assert trail.close(30)
        return tmp_path / "journal"

    def check(self, journal: Path, anchor: str, *more: object) -> tuple[int, dict[str, Any]]:
        return verify(journal, "--policy", journal.parent / "policy", "--anchor", anchor, *more)

    def test_is_read_where_it_lies(self, s3: S3, bucket: str, journal: Path, anchor: str) -> None:
        code, report = self.check(journal, anchor)

        assert (code, codes(report), report["tier"]) == (0, set(), "anchored")
        assert [each["object"] for each in report["objects"]] == [f"s3://{bucket}/{key}" for key in s3.keys(bucket)]

    def test_counts_as_checkpoints_too(self, journal: Path, anchor: str) -> None:
        assert verify(journal, "--policy", journal.parent / "policy", "--checkpoint", anchor)[1]["tier"] == "signed"

    def test_finds_out_a_stream_that_was_cut(self, journal: Path, anchor: str) -> None:
        (path,) = journal.glob("*.jsonl")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
        code, report = self.check(journal, anchor)

        assert code == 1
        assert "SIGNED_TRUNCATED" in codes(report)

    def test_where_a_checkpoint_was_hidden_still_has_it(self, s3: S3, bucket: str, journal: Path, anchor: str) -> None:
        for key in s3.keys(bucket):
            s3.client().delete_object(Bucket=bucket, Key=key)
        code, report = self.check(journal, anchor)

        assert (code, codes(report), report["tier"]) == (1, {"OBJECT_HIDDEN"}, "anchored")

    def test_that_lost_one_of_which_a_record_speaks(
        self, server: SeaweedFS, s3: S3, bucket: str, journal: Path, anchor: str
    ) -> None:
        server.remove_behind_the_api(bucket, s3.keys(bucket)[0])
        assert (lambda code, report: (code, codes(report)))(*self.check(journal, anchor)) == (3, {"ANCHOR_MISSING"})

    def test_that_is_not_the_one_of_which_the_records_speak(
        self, s3: S3, bucket: str, journal: Path, anchor: str
    ) -> None:
        (note,) = (journal / "checkpoints").glob("*.checkpoint")
        name = f"audit/{note.name.partition('.')[0]}.checkpoint"
        s3.client().put_object(Bucket=bucket, Key=name, Body=note.read_bytes())
        code, report = self.check(journal, url_of(s3, bucket))
        assert (code, codes(report)) == (3, {"ANCHOR_ELSEWHERE"})
        assert self.check(journal, url_of(s3, bucket), "--anchor", anchor)[0] == 3

    @pytest.mark.parametrize("options", [{"retain": "2d", "lock": "governance", "every": "0s"}])
    def test_case_55_whose_lock_was_shortened_since_the_records_were_written(
        self, s3: S3, bucket: str, journal: Path, anchor: str
    ) -> None:
        key = s3.keys(bucket)[0]
        assert self.check(journal, anchor)[0] == 0
        sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(timezone.utc) + timedelta(hours=30)}
        s3.client().put_object_retention(Bucket=bucket, Key=key, Retention=sooner, BypassGovernanceRetention=True)
        code, report = self.check(journal, anchor.replace("retain=2d", "retain=1d"))

        assert (code, codes(report)) == (3, {"LOCK_WEAK"})
        found = about(report, "LOCK_WEAK")
        assert (found["file"], found["detail"]) == (
            f"s3://{bucket}/{key}",
            "it ends before the record says that it does",
        )


def test_an_object_is_read_in_pieces(s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(s3, bucket, tmp_path / "journal", compress="none")
    lengths: list[int] = []
    read = BucketReader.read

    def watched(self: BucketReader, version: Version, start: int, length: int) -> tuple[bytes, Lock | None]:
        lengths.append(length)
        return read(self, version, start, length)

    monkeypatch.setattr(bucketreader, "PIECE", 1000)
    monkeypatch.setattr(BucketReader, "read", watched)
    report = otel_audit.verify.verify([url_of(s3, bucket)])

    assert (report.exit_code, report.records) == (0, 62)
    assert sum(lengths) == report.bytes > 10_000
    assert max(lengths) == 1000


@pytest.mark.parametrize("command", ["compare", "reconcile"])
def test_other_commands_read_archives_too(s3: S3, bucket: str, parts: list[str], tmp_path: Path, command: str) -> None:
    assert main([command, str(tmp_path / "journal"), url_of(s3, bucket)]) == 0


def test_a_report_on_an_archive(s3: S3, bucket: str, parts: list[str], tmp_path: Path) -> None:
    assert main(["report", url_of(s3, bucket), "-o", str(tmp_path / "report.html")]) == 0
    assert f"s3://{bucket}/{parts[0]}" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("place", "code", "finding", "detail"),
    [
        ("s3://there-is-none/audit", 5, "MISSING_PATH", "no such bucket"),
        ("s3://{bucket}/elsewhere", 5, "MISSING_PATH", "nothing of the kind"),
    ],
)
def test_where_nothing_is(s3: S3, bucket: str, place: str, code: int, finding: str, detail: str) -> None:
    url = f"{place.format(bucket=bucket)}?endpoint={s3.endpoint}&allow=loopback"
    found, report = verify(url)

    assert (found, codes(report)) == (code, {finding})
    assert detail in about(report, finding)["detail"]
    (place,) = {each["file"] for each in report["findings"]}
    assert "?" not in place


def test_an_anchor_that_is_not_there_is_never_a_pass(s3: S3, bucket: str, parts: list[str], tmp_path: Path) -> None:
    anchor = url_of(s3, bucket).replace("/audit?", "/checkpoints?")
    code, report = verify(tmp_path / "journal", "--anchor", anchor)
    assert (code, "UNREADABLE" in codes(report)) == (2, True)
