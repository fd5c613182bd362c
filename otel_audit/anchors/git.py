"""A git repository: `git:///var/lib/anchors.git?branch=checkpoints&remote=origin`.

Each checkpoint becomes a commit that replaces `<stream>.checkpoint` in the branch's tree, and is pushed if a remote is
named. Nothing is checked out: commits are made from objects, with git's plumbing commands, so a bare repository serves
as well as one with a work tree. Several processes may use one repository. What was pushed is out of the log's reach as
far as the far side refuses forced pushes (`receive.denyNonFastForwards`). Each commit leaves three loose objects: have
`git gc` run now and then.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from typing import Final

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import file_stem_of
from otel_audit.integrity.publishing import AnchorError, Receipt, SignedHead
from otel_audit.sinks.urls import read_options, split_url

__all__ = ["GitAnchor"]

_KEPT: Final = ("HOME", "PATH", "SSH_AUTH_SOCK", "LANG", "TZ", "TMPDIR")
_ATTEMPTS: Final = 5
_PASSWORD: Final = re.compile("//[^/@]*:[^/@]*@")


class GitAnchor:
    """Commits checkpoints.

    Args:
        directory: the repository: its `.git` directory, the directory above that, or a bare one.
        branch: branch that gets the commits; made with the first one.
        remote: name or place of the repository that the branch is pushed to; without one nothing is.
        author: who commits, as `Name <address>`.
        git: the command.
        timeout: seconds that all of one checkpoint may take.
        name: the anchor's name.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        directory: str,
        *,
        branch: str = "checkpoints",
        remote: str | None = None,
        author: str = "otel-audit <otel-audit@localhost>",
        git: str = "git",
        timeout: float = 30.0,
        name: str = "git",
    ) -> None:
        who, _, address = author.rstrip(">").partition(" <")
        if not who or not address:
            raise ConfigurationError(f"anchor {name}: author is {author!r}; write Name <address>")
        if remote is not None and remote.startswith("-"):
            raise ConfigurationError(f"anchor {name}: remote is {remote!r}; write a remote's name, a path or a URL")
        if remote is not None and _PASSWORD.search(remote):
            raise ConfigurationError(f"anchor {name}: remote holds a password; leave it to git's credential helpers")
        if timeout <= 0:
            raise ConfigurationError(f"anchor {name}: timeout is {timeout:g} s; it must be more than 0")
        self.name = name
        self._directory = directory
        self._reference = f"refs/heads/{branch}"
        self._remote = remote
        self._git = git
        self._timeout = timeout
        self._environment = _clean_environment(who, address)

    @classmethod
    def from_url(cls, url: str) -> GitAnchor:
        """Return the anchor of `git:///path/to/repository?branch=...&remote=...`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        if parts.authority or parts.user or not parts.path.startswith("/"):
            raise ConfigurationError("write git:///absolute/path; the repository on another host is its remote=")
        return cls(parts.path, **read_options(parts.options, cls.__init__, parts, what="anchor"))

    def publish(self, head: SignedHead) -> Receipt:
        """Commit a checkpoint, and push it.

        Raises:
            AnchorError: git cannot, or takes too long; its words are in the message.
        """
        deadline = time.monotonic() + self._timeout
        file = f"{file_stem_of(head.checkpoint.origin)}.checkpoint"
        subject = f"{file[:32]}: {head.checkpoint.size} records"
        commit = self._commit(file, head.note, subject, deadline)
        facts = {"branch": self._reference.removeprefix("refs/heads/"), "commit": commit}
        if self._remote is None:
            return Receipt(facts)
        self._run("push", "--quiet", "--", self._remote, f"{commit}:{self._reference}", deadline=deadline)
        return Receipt({**facts, "pushed": True})

    def check(self) -> None:
        """See whether the repository is there and can be written to; nothing is.

        Raises:
            AnchorError: it is not, or cannot.
        """
        own = self._run("rev-parse", "--absolute-git-dir", deadline=time.monotonic() + self._timeout)
        for name in ("objects", "refs"):
            if not os.access(os.path.join(own, name), os.W_OK | os.X_OK):
                raise AnchorError(f"this user cannot write to {name}")

    def close(self) -> None:
        """Nothing is held."""

    def _commit(self, file: str, note: str, subject: str, deadline: float) -> str:
        """Make a commit on top of the branch and move the branch to it; again, where another process moved it first."""
        blob = self._run("hash-object", "-w", "--stdin", given=note.encode(), deadline=deadline)
        for _ in range(_ATTEMPTS):
            before = self._run(
                "rev-parse", "--verify", "--quiet", f"{self._reference}^{{commit}}", deadline=deadline, accept=(0, 1)
            )
            entries = self._run("ls-tree", "-z", before, deadline=deadline, strip=False) if before else ""
            kept = [each for each in entries.split("\0") if each and each.partition("\t")[2] != file]
            tree = "".join(f"{each}\0" for each in [*kept, f"100644 blob {blob}\t{file}"])
            made = self._run("mktree", "-z", given=tree.encode("utf-8", "surrogateescape"), deadline=deadline)
            parent = ["-p", before] if before else []
            commit = self._run("commit-tree", made, *parent, "-m", subject, deadline=deadline)
            moved = self._try("update-ref", self._reference, commit, before, deadline=deadline)
            if moved.returncode == 0:
                return commit
        raise AnchorError(f"git: {self._reference} could not be moved: {_said(moved)}")

    def _run(
        self,
        *words: str,
        deadline: float,
        given: bytes = b"",
        accept: tuple[int, ...] = (0,),
        strip: bool = True,
    ) -> str:
        done = self._try(*words, deadline=deadline, given=given)
        if done.returncode not in accept:
            raise AnchorError(f"git {words[0]} ended with {done.returncode}: {_said(done)}")
        text = done.stdout.decode("utf-8", "surrogateescape")
        return text.strip() if strip else text

    def _try(self, *words: str, deadline: float, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [
            self._git,
            "-C",
            self._directory,
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "commit.gpgSign=false",
            *words,
        ]
        try:
            return subprocess.run(
                command,
                input=given,
                capture_output=True,
                env=self._environment,
                timeout=max(0.1, deadline - time.monotonic()),
                check=False,
                start_new_session=True,  # a Ctrl-C is the program's, not git's; and nobody is asked anything
            )
        except subprocess.TimeoutExpired as error:
            raise AnchorError(f"git {words[0]} did not end within {self._timeout:g} s") from error
        except OSError as error:
            raise AnchorError(f"{self._git}: {error.strerror}") from error


def _clean_environment(name: str, address: str) -> Mapping[str, str]:
    """Return what git gets: none of the settings by which an environment points it elsewhere, and no way to ask."""
    kept = {variable: os.environ[variable] for variable in _KEPT if variable in os.environ}
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", address))
    }
    return {
        **kept,
        **who,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line of what git said, printable, without what stands before an @ in a URL."""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
    shown = re.sub(r"//[^/@\s]+@", "//***@", lines[-1])
    return "".join(char if char.isprintable() else " " for char in shown)[:200]
