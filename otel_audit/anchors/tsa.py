"""A time-stamping authority (RFC 3161): `tsa+https://tsa.example/path?tsa_ca_file=/etc/shop/tsa-root.pem`.

The signed note is stamped by its SHA-256; the authority sees nothing else of the log. A reply counts once it is found
to stamp this note, with this query's nonce, by a certificate that leads to the roots that were configured. It is kept
in an `audit.anchor` record and beside the stream's checkpoint, with the note that it stamps:

    openssl ts -verify -data <stream>.tsa.checkpoint -in <stream>.tsa.tsr -CAfile tsa-root.pem
"""

from __future__ import annotations

import base64
from importlib.util import find_spec
from typing import Final

from otel_audit.anchors.http import HttpAnchor
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, Receipt, SignedHead
from otel_audit.integrity.stamps import StampError, check_reply, make_query, read_roots
from otel_audit.sinks.posting import HttpSettings

__all__ = ["TsaAnchor"]

_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"


class TsaAnchor(HttpAnchor):
    """Has checkpoints time-stamped.

    Args:
        tsa_ca_file: root certificates that the authority's own certificate must lead to, PEM or DER.
        http, name: see `HttpAnchor`.
    """

    kind = "tsa"

    def __init__(
        self,
        *,
        tsa_ca_file: str,
        http: HttpSettings,
        name: str | None = None,
    ) -> None:
        super().__init__(http=http, name=name)
        if find_spec("rfc3161_client") is None:
            raise ConfigurationError(f"anchor {self.name}: time stamps need pip install 'otel-audit[tsa]'")
        try:
            with open(tsa_ca_file, "rb") as file:
                self._roots = read_roots(file.read(), f"anchor {self.name}: tsa_ca_file {tsa_ca_file}")
        except OSError as error:
            raise ConfigurationError(f"anchor {self.name}: tsa_ca_file {tsa_ca_file}: {error.strerror}") from error

    def publish(self, head: SignedHead) -> Receipt:
        """Have a checkpoint stamped; return once the stamp is found good.

        Raises:
            AnchorRefused: the authority said no, or its stamp is not one.
            AnchorError: no answer.
        """
        note = head.note.encode()
        try:
            query, nonce = make_query(note)
            answer = self._post(query, {"Content-Type": _QUERY})
            if answer.status != 200:
                raise self._refusal(answer)
            if answer.content_type != _REPLY:
                raise AnchorError(f"{self._poster} answered {answer.content_type or 'nothing'}, not a time-stamp reply")
            stamp = check_reply(answer.body, note, self._roots, nonce=nonce)
        except StampError as error:
            raise AnchorRefused(f"{self._poster}: {error}") from error
        facts = {
            "authority": stamp.signer,
            "note": head.note,
            "stamp": base64.b64encode(answer.body).decode(),  # not "token": that name is redacted
            "time": f"{stamp.time:%Y-%m-%dT%H:%M:%S.%f}Z",
        }
        return Receipt(facts, {"checkpoint": note, "tsr": answer.body})
