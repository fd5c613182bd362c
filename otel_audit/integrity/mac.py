"""An evolving MAC: marks every record, between checkpoints too, with a key that is gone a moment later.

    tag[i]   = HMAC-SHA256(key[i], hash[i])         hash[i]: the record's own, 32 bytes
    key[i+1] = SHA-256("otel-audit mac ratchet" || key[i])
    sum[i]   = SHA-256(sum[i-1] || tag[i])          sum[0] = SHA-256("otel-audit mac begin" || key[1])

Only the running sum is kept (Ma and Tsudik's aggregate: without it a cut tail would show nothing). It goes
into control records; who breaks in at record t cannot make the sum over other records before t. It is
symmetric: whoever has the first key can check, and could forge. For a proof to others, sign (`signatures`,
`epochs`).
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

__all__ = ["EvolvingMac"]

_RATCHET: Final = b"otel-audit mac ratchet"
_BEGIN: Final = b"otel-audit mac begin"
_KEY_SIZE: Final = 32


class EvolvingMac:
    """The running sum over a stream's records, and the key of the next one. The writer and the verifier run
    the same.
    """

    __slots__ = ("_key", "_sum", "count")

    def __init__(self, key: bytes | bytearray) -> None:
        """`key` is the first key, 32 bytes; the caller erases what it holds of it.

        Raises:
            ValueError: it has another length.
        """
        if len(key) != _KEY_SIZE:
            raise ValueError(f"a MAC key takes {_KEY_SIZE} bytes, not {len(key)}")
        self._key = bytearray(key)
        self._sum = sha256(_BEGIN + self._key).digest()
        self.count = 0

    def add(self, record_hash: bytes) -> None:
        """Take the next record's hash (32 bytes) and forget the key that marked it."""
        key = self._key
        tag = hmac.digest(key, record_hash, "sha256")
        self._sum = sha256(self._sum + tag).digest()
        key[:] = sha256(_RATCHET + key).digest()
        self.count += 1

    def erase(self) -> None:
        """Overwrite the key; what is added from here on gives sums that mean nothing."""
        self._key[:] = bytes(_KEY_SIZE)

    def sum(self) -> bytes:
        """Return the sum over all records so far."""
        return self._sum

    def matches(self, stated: bytes) -> bool:
        """Tell whether a stated sum is the one over these records, in constant time."""
        return hmac.compare_digest(self._sum, stated)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.count} records>"
