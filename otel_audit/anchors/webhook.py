"""Another host, over HTTP: a POST of the signed note, `webhook+https://keeper.example/checkpoints`.

    POST /checkpoints HTTP/1.1
    Content-Type: text/plain; charset=utf-8
    Idempotency-Key: "<origin>@<size>"

An answer of 2xx says that it is kept. The same note may come again where an answer was lost.
"""

from __future__ import annotations

from otel_audit.anchors.http import HttpAnchor
from otel_audit.integrity.publishing import Receipt, SignedHead

__all__ = ["WebhookAnchor"]


class WebhookAnchor(HttpAnchor):
    """POSTs signed notes."""

    kind = "webhook"

    def publish(self, head: SignedHead) -> Receipt:
        """POST the note; return at an answer of 2xx.

        Raises:
            AnchorRefused: the answer is 4xx and does not say to come back.
            AnchorError: no answer, or another one.
        """
        key = f"{head.checkpoint.origin}@{head.checkpoint.size}".encode("ascii", "replace").decode()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Idempotency-Key": f'"{key}"'}
        answer = self._post(head.note.encode(), headers)
        if 200 <= answer.status < 300:
            return Receipt({"status": answer.status})
        raise self._refusal(answer)
