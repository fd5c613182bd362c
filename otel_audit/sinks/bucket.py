"""One S3 bucket that is only ever added to: an object is stored once under its key and never written over.

botocore finds the credentials, signs the requests and reads the answers. The bytes go over the connections of the
other network sinks: addresses are checked after resolution, TLS is what was configured, no proxy is asked and no
environment variable, such as AWS_CA_BUNDLE, replaces it. Only where credentials come from a service of the machine or
of AWS does botocore ask that by itself.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from otel_audit import __version__
from otel_audit.errors import ConfigurationError

from .base import SinkUnavailable
from .http import Answer, HttpClient, excerpt
from .objectlock import LockMode, ObjectLock
from .tls import DEFAULT_TLS, TlsSettings
from .urls import SinkUrl, nearest

__all__ = [
    "Addressing",
    "Bucket",
    "How",
    "KeyTaken",
    "LockState",
    "Refused",
    "S3Settings",
    "Stored",
    "speaking_for",
    "split_place",
]

Addressing = Literal["auto", "path", "virtual"]

_BUCKET: Final = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX: Final = re.compile(r"(?!.*//)(?!(.*/)?\.{1,2}(/|$))[A-Za-z0-9!_.*'()/=-]{0,512}")
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})
_MAX_SMALL_ANSWER: Final = 8 << 20


class How(Enum):
    """How an object came to be there."""

    NEW = "stored now"
    SAME = "was there, compared"
    UNREAD = "was there, and this account may not read it"


class Stored(NamedTuple):
    """An object that is there."""

    how: How
    version: str | None = None
    """The server's id of it, where it told."""
    until: datetime | None = None
    """Until when it was asked to be locked, if it was stored now."""


class LockState(Enum):
    """What a bucket does with objects that come without a retention of their own."""

    NONE = "no Object Lock"
    BARE = "Object Lock without a default retention"
    GOVERNANCE = "default retention in GOVERNANCE mode"
    COMPLIANCE = "default retention in COMPLIANCE mode"


class KeyTaken(Exception):
    """Another object has this key. It was not touched."""


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """Which bucket, how AWS or another server is asked for it, and what protects the objects.

    Args:
        bucket: its name.
        prefix: what the keys begin with.
        region: of the bucket; else AWS_DEFAULT_REGION or the profile's, needed without an endpoint.
        endpoint: `https://host:port` of a server that is not AWS. `http://` is plain text and warned of.
        addressing: whether the bucket's name stands in the `path` or in the host (`virtual`); `auto` is path with an
            endpoint, and what AWS prefers without.
        profile: section of the shared AWS configuration and credentials files.
        expected_owner: account id; requests fail if the bucket belongs to another.
        lock: `compliance` (with `retain`, if not said) or `governance`.
        retain: `7y`, `90d`: how long each object is locked from when it is stored; else the bucket's default.
        legal_hold: put a legal hold on each object.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    addressing: Addressing = "auto"
    profile: str | None = None
    expected_owner: str | None = None
    lock: LockMode | None = None
    retain: str | None = None
    legal_hold: bool = False


class Bucket:
    """Stores objects under keys that nobody else may have used.

    Args:
        settings: which bucket.
        timeout: seconds for each of connecting, sending and answering.
        most_bytes: of the largest object.
        allow: addresses that may be connected to beside public ones; see `HostPolicy`.
        tls: whom to trust, and as whom to appear.
        what: is stored, for messages.

    Raises:
        ConfigurationError: a setting cannot be used.
        ImportError: botocore is not installed.
    """

    def __init__(
        self,
        settings: S3Settings,
        *,
        timeout: float = 60.0,
        most_bytes: int = _MAX_SMALL_ANSWER,
        allow: tuple[str, ...] = (),
        tls: TlsSettings = DEFAULT_TLS,
        what: str = "audit records",
    ) -> None:
        import botocore.session

        self.lock = ObjectLock(settings.lock, settings.retain, settings.legal_hold)
        self.name = settings.bucket
        if not _BUCKET.fullmatch(self.name):
            raise ConfigurationError(
                f"{self.name!r} is no bucket name: 3 to 63 lower-case letters, digits, dots and hyphens"
            )
        owner = settings.expected_owner
        if owner is not None and not re.fullmatch("[0-9]{12}", owner):
            raise ConfigurationError("expected_owner is an account id: 12 digits")
        if timeout <= 0:
            raise ConfigurationError("timeout is not positive")
        self._endpoint = None if settings.endpoint is None else _check_endpoint(settings.endpoint)
        self._addressing = settings.addressing
        self._owner = {} if owner is None else {"ExpectedBucketOwner": owner}
        tls.context()
        self._plaintext = self._endpoint is not None and self._endpoint.startswith("http:")
        self._connect = partial(
            HttpClient,
            plaintext=self._plaintext,
            timeout=timeout,
            allow=allow,
            tls=tls,
            what=what,
            most_answered=most_bytes + _MAX_SMALL_ANSWER,
        )
        self._http: HttpClient | None = None
        self._host = ""
        self._retry_after: float | None = None
        self._unsent: str | None = None
        if self._endpoint is not None:
            self._connect_to(self._expected_host())
        self._session = botocore.session.Session(profile=settings.profile)
        self._region = self._find_region(settings.region, settings.profile)
        self._client: Any = None

    def put(
        self, key: str, body: bytes, *, content_type: str, is_same: Callable[[bytes], bool] = lambda stored: False
    ) -> Stored:
        """Store an object, locked as asked, unless its key is taken.

        `is_same` is asked of a stored body that is not `body` byte for byte.

        Raises:
            KeyTaken: the key holds something else.
            SinkUnavailable: it is not known to be stored; try again later.
        """
        digest = base64.b64encode(sha256(body).digest()).decode()
        locked = self.lock.parameters(datetime.now(timezone.utc))
        try:
            answer = self.call(
                "put_object",
                Key=key,
                Body=body,
                ContentType=content_type,
                ChecksumSHA256=digest,
                IfNoneMatch="*",
                **locked,
            )
        except Refused as refusal:
            if refusal.status == 412:
                return self._compare(key, body, digest, is_same)
            raise self.failure(refusal) from refusal
        if answer.get("ChecksumSHA256", digest) != digest:
            raise SinkUnavailable(f"{self}/{key}: the server stored something else than it was sent")
        return Stored(How.NEW, answer.get("VersionId"), locked.get("ObjectLockRetainUntilDate"))

    def lock_state(self) -> LockState | None:
        """Return what the bucket promises for every object; None if this account may not ask.

        Raises:
            SinkUnavailable: it could not be asked.
        """
        try:
            answer = self.call("get_object_lock_configuration")
        except Refused as refusal:
            if refusal.status == 403:
                return None
            if refusal.code == "ObjectLockConfigurationNotFoundError":
                return LockState.NONE
            raise self.failure(refusal) from refusal
        configured = answer.get("ObjectLockConfiguration", {})
        if configured.get("ObjectLockEnabled") != "Enabled":
            return LockState.NONE
        mode = configured.get("Rule", {}).get("DefaultRetention", {}).get("Mode")
        return LockState[mode] if mode in LockState.__members__ else LockState.BARE

    def close(self) -> None:
        """End the connection; the next call makes a new one."""
        if self._http is not None:
            self._http.close()

    def __str__(self) -> str:
        return f"s3://{self.name}"

    def _find_region(self, given: str | None, profile: str | None) -> str:
        from botocore.exceptions import BotoCoreError

        try:
            if profile is not None and profile not in (known := self._session.available_profiles):
                raise ConfigurationError(f"there is no profile {profile!r}{nearest(profile, known)}")
            region = given or self._session.get_config_variable("region")
        except BotoCoreError as error:
            raise ConfigurationError(str(error)) from error
        if region is None and self._endpoint is None:
            raise ConfigurationError("no region: give region=... or set AWS_DEFAULT_REGION")
        return str(region or "us-east-1")  # what servers that know no regions are signed for

    def _compare(self, key: str, body: bytes, digest: str, is_same: Callable[[bytes], bool]) -> Stored:
        """See whether what a key holds is what was to be stored there."""
        try:
            head = self.call("head_object", Key=key, ChecksumMode="ENABLED")
            if head.get("ChecksumSHA256") == digest:
                return Stored(How.SAME, head.get("VersionId"))
            stored = self.call("get_object", Key=key)["Body"].read()
        except Refused as refusal:
            if refusal.status == 403:
                return Stored(How.UNREAD)
            raise self.failure(refusal) from refusal
        if stored == body or is_same(stored):
            return Stored(How.SAME, head.get("VersionId"))
        raise KeyTaken(f"{self}/{key} holds something else: it was changed, or somebody else wrote it")

    def call(self, operation: str, **parameters: Any) -> Any:
        """Ask the bucket for one thing, once; `operation` and `parameters` are a botocore client's.

        Raises:
            Refused: it answered, and it was no success.
            SinkUnavailable: it did not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        self._unsent = None
        try:
            return getattr(self._open(), operation)(Bucket=self.name, **self._owner, **parameters)
        except ClientError as error:
            response = error.response
        except BotoCoreError as error:
            raise SinkUnavailable(f"{self}: {excerpt(str(error), ())}") from error
        if self._unsent is not None:
            raise SinkUnavailable(self._unsent)
        raise Refused(response)

    def failure(self, refusal: Refused) -> SinkUnavailable:
        """Return what a refusal means where it is taken for a server's trouble."""
        said = f"{self} answered {refusal.status} {refusal.code}{self._hint(refusal)}"
        message = f"{said}{f': {refusal.said}' if refusal.said else ''}"
        return SinkUnavailable(message, retry_after=self._retry_after)

    def _hint(self, refusal: Refused) -> str:
        if refusal.code == "InvalidRequest" and self.lock.asked:
            return " (a lock is asked for: was the bucket made, and with Object Lock?)"
        if refusal.code == "AccessDenied":
            rights = ["s3:PutObject"]
            rights += ["s3:PutObjectRetention"] if self.lock.retain else []
            rights += ["s3:PutObjectLegalHold"] if self.lock.legal_hold else []
            return f" (the writer needs {', '.join(rights)})"
        if refusal.status == 404:
            return " (make the bucket first, with Object Lock)"
        if refusal.status in {301, 307}:
            return " (is region the bucket's?)"
        return ""

    def _open(self) -> Any:
        if self._client is None:
            from botocore.config import Config

            # Another client's settings, from the environment or a file, must not change what is sent here.
            config = Config(
                retries={"total_max_attempts": 1, "mode": "standard"},  # the shipper tries again
                s3={"addressing_style": self._style()},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                user_agent_extra=f"otel-audit/{__version__}",
            )
            self._client = self._session.create_client(
                "s3", region_name=self._region, endpoint_url=self._endpoint, config=config
            )
            self._client.meta.events.register("before-send.s3", self._carry)
        return self._client

    def _style(self) -> str:
        if self._addressing == "auto":
            return "path" if self._endpoint else "auto"
        return self._addressing

    def _expected_host(self) -> str:
        host = urlsplit(self._endpoint or "").netloc
        return f"{self.name}.{host}" if self._style() == "virtual" else host

    def _carry(self, request: Any, **_: Any) -> Any:
        """Send a signed request and return its answer: what botocore would do itself without this.

        An exception would make a reference cycle in there, with the body in it, and memory grow with each try while a
        server is down. So what goes wrong is noted, and an answer made up that `_call` knows for what it is.
        """
        from botocore.awsrequest import AWSResponse

        try:
            answer = self._exchange(request)
        except (SinkUnavailable, ConfigurationError) as error:
            self._unsent = f"{self}: {error}"
            return AWSResponse(request.url, 400, {}, _Raw())
        self._retry_after = answer.retry_after
        if 300 <= answer.status < 400 and request.method == "HEAD" and "x-amz-bucket-region" not in answer.headers:
            # Asked for the way, it sends on: botocore would ask again until the stack is full.
            self._unsent = f"{self} answered {answer.status} and names no region; is region the bucket's?"
            return AWSResponse(request.url, 400, {}, _Raw())
        return AWSResponse(request.url, answer.status, answer.headers, _Raw(answer.body))

    def _exchange(self, request: Any) -> Answer:
        url = urlsplit(request.url)
        if (url.scheme == "http") is not self._plaintext:
            raise SinkUnavailable(
                f"AWS_ENDPOINT_URL names {url.scheme}://{url.netloc}; plain text takes an endpoint=http://..."
            )
        if self._endpoint is not None and url.netloc != self._host:
            raise SinkUnavailable(f"the server sends requests on to {url.netloc}, which endpoint does not name")
        headers = {name: _text(value) for name, value in request.headers.items() if name.lower() not in _OURS}
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        return self._connect_to(url.netloc).request(request.method, target, _bytes(request.body), headers)

    def _connect_to(self, host: str) -> HttpClient:
        if self._http is None or host != self._host:
            self.close()
            self._http = self._connect(hosts=host)
            self._host = host
        return self._http


class Refused(Exception):
    """The server answered, and it was no success."""

    def __init__(self, response: Any) -> None:
        said = response.get("Error", {})
        self.status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        self.code = str(said.get("Code", ""))
        self.said = excerpt(str(said.get("Message", "")), ())
        super().__init__(f"{self.status} {self.code}")


class _Raw(io.BytesIO):
    """An answer's body, as botocore reads it."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        """Yield all of it."""
        yield self.read()


@contextmanager
def speaking_for(owner: str) -> Iterator[None]:
    """Have it said which sink or anchor a bucket that cannot be used is of."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(f"{owner}: S3 needs pip install 'otel-audit[s3]'") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{owner}: {error}") from error


def split_place(url: SinkUrl, what: str) -> dict[str, object]:
    """Return what a URL gives of `S3Settings`: the bucket, and a prefix, which is empty or ends with a slash.

    Raises:
        ConfigurationError: there is no bucket, or a user, or the prefix holds what a file's path had better not.
    """
    if url.scheme != "s3" or not url.authority:
        raise ConfigurationError(f"{what}: write s3://bucket/prefix")
    if url.user is not None:
        raise ConfigurationError(
            f"{what}: credentials come from where AWS clients look for them (environment, profile, role), never from "
            "the URL"
        )
    prefix = url.path.strip("/")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"{what}: the prefix {prefix[:80]!r} becomes the path of files when it is downloaded: letters, digits and "
            "!_.*'()=-, slashes between them"
        )
    return {"bucket": url.authority, "prefix": f"{prefix}/" if prefix else ""}


def _check_endpoint(endpoint: str) -> str:
    url = urlsplit(endpoint)
    if url.scheme not in {"https", "http"} or not url.netloc or url.path.strip("/") or url.query or url.username:
        raise ConfigurationError(f"endpoint is {endpoint[:80]!r}; write https://host or https://host:port")
    return f"{url.scheme}://{url.netloc}".lower()


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else bytes(body.read())
