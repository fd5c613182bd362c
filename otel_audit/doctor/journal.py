"""The journal's directory: who may do what there, on which filesystem, with how much room, and who lags behind."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from otel_audit.journal.cursor import list_cursors, read_state
from otel_audit.journal.files import list_segments, lock, make_durable

from .check import Check

__all__ = [
    "check_directory",
    "check_filesystem",
    "check_key",
    "check_locks",
    "check_sinks",
    "check_space",
    "check_sync",
]

_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "lustre"})
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
_UNSAFE_OPTIONS: Final = frozenset({"nobarrier", "barrier=0", "data=writeback"})
_SLOW_SYNC: Final = 0.1
_LONG_BEHIND: Final = 300.0


def check_directory(directory: Path) -> Check:
    """See whether this user can write there, and nobody else."""
    name = "journal directory"
    if not directory.exists():
        parent = next(each for each in directory.absolute().parents if each.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Check(name, "fail", f"{directory} is not there", f"make it, or let this user write to {parent}")
        return Check(name, "ok", f"{directory} is not there yet; the first record makes it, mode 0700")
    if not directory.is_dir():
        return Check(name, "fail", f"{directory} is no directory", "name another one, or move that file away")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return Check(
            name, "fail", f"{directory}: this user cannot write there", "change its owner, or run as that user"
        )
    status = directory.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IWOTH:
        return Check(
            name, "fail", f"{directory} has mode {mode:04o}: anyone can remove files", f"chmod 0700 {directory}"
        )
    if mode & (stat.S_IWGRP | stat.S_IROTH | stat.S_IXOTH):
        return Check(name, "warn", f"{directory} has mode {mode:04o}: others reach into it", f"chmod 0700 {directory}")
    if status.st_uid != os.geteuid():
        return Check(
            name, "warn", f"{directory} belongs to user {status.st_uid}, this is {os.geteuid()}", "run as its owner"
        )
    return Check(name, "ok", f"{directory}, mode {mode:04o}")


class _Mount(NamedTuple):
    point: str
    kind: str
    options: frozenset[str]


def check_filesystem(directory: Path) -> Check:
    """Name what is known to weaken fsync(2) or flock(2): network filesystems, memory, mount options."""
    mount = _find_mount(_existing(directory))
    if mount is None:
        return Check("filesystem", "unknown", "this system does not say what is mounted where")
    what = f"{mount.kind} on {mount.point}"
    if mount.kind in _REMOTE:
        return Check("filesystem", "warn", f"{what}: a network filesystem", "use a local disk; locks may not hold here")
    if mount.kind in _VOLATILE:
        return Check("filesystem", "warn", f"{what}: memory, gone with the machine", "use a disk")
    if mount.kind == "overlay":
        return Check("filesystem", "warn", f"{what}: gone with the container", "mount a volume for the journal")
    if weak := mount.options & _UNSAFE_OPTIONS:
        return Check("filesystem", "warn", f"{what}, mounted with {', '.join(sorted(weak))}", "mount it without")
    if "eatmydata" in os.environ.get("LD_PRELOAD", ""):
        return Check("filesystem", "fail", "libeatmydata turns fsync off", "unset LD_PRELOAD")
    return Check("filesystem", "ok", what)


def check_space(directory: Path, *, segment_bytes: int, quota: int | None) -> Check:
    """Compare what is free with what the journal may still grow by."""
    status = os.statvfs(_existing(directory))
    free = status.f_bavail * status.f_frsize
    used = sum(_size(each.path) for each in list_segments(directory))
    said = f"{_mib(free)} free, the journal has {_mib(used)}"
    if free < segment_bytes or (status.f_files and not status.f_favail):
        return Check("disk space", "fail", said, "make room; set retention so that it stays")
    if quota is None:
        return Check("disk space", "ok" if free > 10 * segment_bytes else "warn", said, "set quota and retention_bytes")
    if used > 0.9 * quota:
        return Check("disk space", "warn", f"{said} of a quota of {_mib(quota)}", "raise quota or set retention_bytes")
    if free < quota - used:
        return Check(
            "disk space", "warn", f"{said}; its quota of {_mib(quota)} does not fit", "lower quota, or make room"
        )
    return Check("disk space", "ok", f"{said} of a quota of {_mib(quota)}")


def check_locks(directory: Path) -> Check:
    """See whether a second lock on the same file is refused."""
    with tempfile.NamedTemporaryFile(dir=_existing(directory), prefix=".doctor-") as file:
        other = os.open(file.name, os.O_RDWR | os.O_CLOEXEC)
        try:
            held, stolen = lock(file.fileno()), lock(other)
        finally:
            os.close(other)
    if held and not stolen:
        return Check("file locks", "ok", "flock holds")
    return Check(
        "file locks", "fail", "flock does not hold here: two processes could ship the same", "use a local filesystem"
    )


def check_sync(directory: Path) -> Check:
    """Time how long one line takes to get to the disk."""
    with tempfile.NamedTemporaryFile(dir=_existing(directory), prefix=".doctor-") as file:
        times = []
        for _ in range(5):
            os.write(file.fileno(), b"x" * 512)
            began = time.perf_counter()
            make_durable(file.fileno())
            times.append(time.perf_counter() - began)
    median = sorted(times)[2]
    said = f"a line takes {1000 * median:.2f} ms to the disk"
    if median > _SLOW_SYNC:
        return Check("disk sync", "warn", said, 'a faster disk; durability "always" would wait this long in each call')
    return Check("disk sync", "ok", said)


def check_sinks(directory: Path, configured: frozenset[str]) -> list[Check]:
    """Say what shippers on this journal complain of, and which sinks are known here but not configured."""
    found = []
    for sink in list_cursors(directory):
        state = read_state(directory, sink)
        since = state.get("failing_since")
        if state.get("error"):
            ago = f" for {time.time() - since:.0f} s" if isinstance(since, (int, float)) else ""
            what = f"its shipper has been failing{ago}: {state['error']}"
            long = isinstance(since, (int, float)) and time.time() - since > _LONG_BEHIND
            found.append(Check(f"sink {sink}", "fail" if long else "warn", what, "see `otel-audit status`"))
        if sink not in configured:
            found.append(
                Check(
                    f"sink {sink}",
                    "warn",
                    "it has cursors in this journal and is not configured here",
                    f"nothing, if `otel-audit ship` serves it; else it holds retention back: remove cursors/{sink}",
                )
            )
    return found


def check_key(path: str) -> Check:
    """See whether the signing key can be used, by this user alone."""
    from otel_audit.errors import AuditError
    from otel_audit.integrity.opening import open_signer

    try:
        signer = open_signer(path)
    except (AuditError, OSError) as error:
        return Check("signing key", "fail", f"{path}: {error}", "chmod 0600, or make one with `otel-audit keys`")
    days = (time.time() - os.stat(path).st_mtime) / 86400
    return Check("signing key", "ok", f"{signer.name}, {days:.0f} days old")


def _existing(directory: Path) -> Path:
    """Return the directory, or the nearest above it that is there already."""
    return next(each for each in (directory.absolute(), *directory.absolute().parents) if each.is_dir())


def _find_mount(directory: Path) -> _Mount | None:
    """Return what is mounted at the longest prefix of a path (proc(5), /proc/[pid]/mountinfo)."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    found: _Mount | None = None
    path = f"{directory.resolve()}/"
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        point = fields[4].encode().decode("unicode_escape")
        inside = path.startswith(point if point.endswith("/") else f"{point}/")
        if inside and (found is None or len(point) >= len(found.point)):
            found = _Mount(point, kinds[0], frozenset(f"{fields[5]},{kinds[-1]}".split(",")))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size < 10 << 30 else f"{size / (1 << 30):.0f} GiB"
