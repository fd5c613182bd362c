"""Anchors: whether each place that checkpoints go to is there. None is sent: what an anchor once has, it keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from otel_audit.anchors.git import GitAnchor
from otel_audit.config.anchors import plan_anchors
from otel_audit.config.settings import Settings
from otel_audit.integrity.publishing import AnchorError

from .check import Check
from .tls import check_connection, check_tls

__all__ = ["check_anchors"]


def check_anchors(settings: Settings, *, timeout: float) -> Iterator[Check]:
    """Look at each anchor of the settings.

    Args:
        settings: usable ones.
        timeout: seconds for each connection.
    """
    for anchor, plan in zip(settings.anchors, plan_anchors(settings.anchors, settings.resource or {}), strict=True):
        parts, label = anchor.parts, f"anchor {plan.name}"
        if parts.scheme == "directory":
            yield _check_directory(label, Path(parts.path))
        elif parts.scheme == "git":
            yield _check_repository(label, GitAnchor.from_url(anchor.url), parts.path)
        else:
            checks = list(check_tls(parts, label, what="checkpoints", timeout=timeout))
            yield from checks
            if all(check.status != "fail" for check in checks) and parts.scheme.endswith(("+http", "+grpc")):
                yield from check_connection(parts, label, timeout=timeout)


def _check_directory(label: str, directory: Path) -> Check:
    if not directory.exists():
        return Check(label, "fail", f"{directory} is not there", "make it or mount it; the anchor makes none")
    if not directory.is_dir():
        return Check(label, "fail", f"{directory} is no directory", "name another one, or move that file away")
    if not os.access(directory, os.W_OK | os.X_OK):
        todo = "change its owner, or run this as the application's user"
        return Check(label, "fail", f"{directory}: this user cannot write there", todo)
    return Check(label, "ok", f"{directory}, for checkpoints")


def _check_repository(label: str, anchor: GitAnchor, directory: str) -> Check:
    try:
        anchor.check()
    except AnchorError as error:
        return Check(
            label, "fail", f"{directory}: {error}", "make it with `git init --bare`, for this user to write to"
        )
    return Check(label, "ok", f"{directory}; whether its remote takes a push is not tried")
