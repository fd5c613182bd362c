"""One S3 server for the tests of a module (each bucket takes volumes of it), and a bucket for each of them."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

import pytest

from tests.servers.archiving import become
from tests.servers.s3 import S3, SeaweedFS, run_seaweedfs


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS | S3]:
    if "S3_ENDPOINT" in os.environ:
        yield S3(os.environ["S3_ENDPOINT"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    with run_seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def server(running: SeaweedFS | S3) -> SeaweedFS:
    """A server that is ours: with accounts, and reached behind its API."""
    if isinstance(running, S3):
        pytest.skip("needs a SeaweedFS of its own, not S3_ENDPOINT")
    return running


@pytest.fixture
def s3(running: SeaweedFS | S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    s3 = running if isinstance(running, S3) else running.s3
    become(monkeypatch, s3.key, s3.secret)
    return s3


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest) -> str:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-") + f"-{random.randrange(10**6)}"
    s3.make_worm_bucket(name)
    return name
