"""Another host over HTTP: what it is sent, and what counts."""

from __future__ import annotations

from pathlib import Path

import pytest

import otel_audit
from tests.anchors.shop import NAME, Shop, eventually
from tests.sinks.http_server import Reply, Server

pytestmark = pytest.mark.filterwarnings("ignore:checkpoints go to .* in plain text:RuntimeWarning")


def test_the_host_gets_the_signed_note(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("X-Token: s3cret\n")
    with Server() as server:
        url = f"webhook+http://{server.host}/a%20b?allow=loopback&headers_file={tmp_path}/headers"
        stream = shop.record(url)
    (first, last) = server.received
    assert first.path == "/a%20b"
    assert first.headers["content-type"] == "text/plain; charset=utf-8"
    assert first.headers["x-token"] == "s3cret"
    assert first.headers["idempotency-key"] == f'"{NAME}/{stream}@11"'
    assert shop.anchorings()[0]["status"] == 200
    kept = tmp_path / "kept"
    kept.write_bytes(last.body)
    outcome = shop.verify("--anchor", kept)
    assert (outcome.code, outcome.tier) == (0, "anchored")
    shop.cut(1)
    shop.forget_beside()
    assert shop.verify("--anchor", kept).code == 1


@pytest.mark.parametrize(
    ("reply", "cause", "message"),
    [
        (Reply(status=503, body=b"s3cret, busy"), "anchor failing", "answered 503: ***, busy"),
        (Reply(status=403, body=b"no"), "anchor refuses", "answered 403: no"),
        (Reply(status=302), "anchor failing", "redirects are not followed"),
        (Reply(hang=True), "anchor failing", "did not answer"),
        (Reply(raw=b"garbage\r\n\r\n"), "anchor failing", "this is no HTTP answer"),
    ],
)
def test_another_answer_does_not_count_and_is_recorded(
    shop: Shop, tmp_path: Path, reply: Reply, cause: str, message: str
) -> None:
    (tmp_path / "headers").write_text("X-Token: s3cret\n")
    with Server(default=reply) as server:
        url = f"webhook+http://{server.host}/?allow=loopback&timeout=200ms&headers_file={tmp_path}/headers"
        with shop.open(url, patience=0.1, checkpoint_interval=0.05):
            otel_audit.record("invoice.delete", actor="alice")
            assert eventually(shop.troubles)
            server.default = Reply()
            assert eventually(lambda: len(shop.troubles()) == 2)
    (_, trouble), (recovered, _) = shop.troubles()
    assert recovered == "recovered"
    assert trouble["cause"] == cause
    assert message in trouble["error"]
    assert "s3cret" not in shop.file.read_text()
