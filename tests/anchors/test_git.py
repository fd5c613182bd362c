"""Checkpoints in a git repository: committed without a work tree, pushed, read back, never in the way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import otel_audit
from otel_audit.anchors.git import GitAnchor
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import Checkpoint, origin_of
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.publishing import AnchorError, SignedHead
from tests.anchors.shop import NAME, Shop, eventually

STREAM = "01a3185c50007a278a5f3ae58b8e739b"


def git(directory: Path, *words: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(["git", "-C", directory, *words], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "anchors.git"
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    return path


def head(size: int, stream: str = STREAM) -> SignedHead:
    checkpoint = Checkpoint(origin_of(NAME, stream), size, bytes(32))
    return SignedHead(f"{checkpoint.encode()}\n— {NAME} AAAAAAA=\n", checkpoint, lambda _: [])


def test_each_checkpoint_is_a_commit(repository: Path) -> None:
    anchor = GitAnchor(str(repository))
    receipts = [anchor.publish(head(size)) for size in (3, 7)]
    commits = git(repository, "rev-list", "--reverse", "checkpoints").split()
    assert [receipt.facts["commit"] for receipt in receipts] == commits
    for commit, size in zip(commits, (3, 7), strict=True):
        kept = git(repository, "show", f"{commit}:{STREAM}.checkpoint")
        assert kept + "\n" == head(size).note
    assert git(repository, "log", "-1", "--format=%an <%ae>: %s", "checkpoints") == (
        f"otel-audit <otel-audit@localhost>: {STREAM}: 7 records"
    )


def test_streams_stand_side_by_side_and_what_else_is_there_stays(tmp_path: Path) -> None:
    work = tmp_path / "work"
    subprocess.run(["git", "init", "-q", "-b", "main", work], check=True)
    (work / "a b\nc").write_text("x")
    git(work, "add", "-A")
    git(work, "-c", "user.name=a", "-c", "user.email=a@example", "commit", "-q", "-m", "begin")
    anchor = GitAnchor(str(work), branch="main")
    anchor.publish(head(3))
    anchor.publish(head(4, STREAM.replace("0", "1")))
    names = git(work, "ls-tree", "-z", "--name-only", "main").split("\0")
    assert {name for name in names if name} == {
        "a b\nc",
        f"{STREAM}.checkpoint",
        f"{STREAM.replace('0', '1')}.checkpoint",
    }


def test_it_is_pushed_where_a_remote_is_named(repository: Path, tmp_path: Path) -> None:
    far = tmp_path / "far.git"
    subprocess.run(["git", "init", "-q", "--bare", far], check=True)
    receipt = GitAnchor(str(repository), remote=str(far)).publish(head(3))
    assert git(far, "rev-parse", "checkpoints") == receipt.facts["commit"]
    assert receipt.facts["pushed"] is True


def test_a_rewritten_branch_is_not_pushed_over_the_far_one(repository: Path, tmp_path: Path) -> None:
    far = tmp_path / "far.git"
    subprocess.run(["git", "init", "-q", "--bare", far], check=True)
    anchor = GitAnchor(str(repository), remote=str(far))
    kept = anchor.publish(head(3)).facts["commit"]
    git(repository, "update-ref", "-d", "refs/heads/checkpoints")
    with pytest.raises(AnchorError, match="git push ended with 1"):
        anchor.publish(head(9))
    assert git(far, "rev-parse", "checkpoints") == kept


def test_the_environment_cannot_point_it_elsewhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.git"
    subprocess.run(["git", "init", "-q", "--bare", other], check=True)
    monkeypatch.setenv("GIT_DIR", str(other))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / "objects"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "mallory")
    GitAnchor(str(repository)).publish(head(3))
    monkeypatch.undo()
    assert "mallory" not in git(repository, "log", "--format=%an", "checkpoints")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("remote=https://bob:s3cret@git.example/a", "remote holds a password"),
        ("remote=--exec=x", "write a remote's name"),
        ("author=me", "write Name <address>"),
        ("timeout=0", "must be more than 0"),
        ("barnch=x", "did you mean 'branch'"),
    ],
)
def test_a_mistake_is_named_and_no_secret_repeated(options: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        GitAnchor.from_url(f"git:///x?{options}")
    assert "s3cret" not in str(error.value)


def test_a_git_that_hangs_is_given_up(repository: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    with pytest.raises(AnchorError, match=r"git hash-object did not end within 0\.1 s"):
        GitAnchor(str(repository), git=str(slow), timeout=0.1).publish(head(3))


@pytest.mark.parametrize(
    ("directory", "git_command", "message"),
    [("/nowhere", "git", "git hash-object ended with 128: .*nowhere"), ("/", "no-git-here", "No such file")],
)
def test_what_is_wrong_is_said(directory: str, git_command: str, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        GitAnchor(directory, git=git_command).publish(head(3))


def test_a_stream_with_its_commits_is_anchored_and_its_cut_end_missed(
    shop: Shop, repository: Path, tmp_path: Path
) -> None:
    stream = shop.record(f"git://{repository}?branch=main")
    kept = tmp_path / f"{stream}.checkpoint"
    kept.write_text(git(repository, "show", f"main:{stream}.checkpoint") + "\n")
    assert Checkpoint.parse(parse_note(kept.read_text()).text).size == len(shop.lines())
    outcome = shop.verify("--anchor", kept)
    assert (outcome.code, outcome.tier) == (0, "anchored")
    shop.forget_beside()
    shop.cut(2)
    assert shop.verify("--anchor", kept).code == 1


def test_a_repository_that_is_not_there_is_recorded_and_the_caller_sees_nothing(shop: Shop, tmp_path: Path) -> None:
    with shop.open(f"git://{tmp_path}/none", patience=0.1, checkpoint_interval=0.05):
        otel_audit.record("invoice.delete", actor="alice")
        assert eventually(shop.troubles)
    assert shop.troubles()[0][1]["error"].startswith("git hash-object ended with 128")
