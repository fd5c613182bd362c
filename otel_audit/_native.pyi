from collections.abc import Iterable
from hashlib import _Hash
from typing import Any, final

from .durability import Receipt

@final
class Words:
    def __new__(cls, words: Iterable[bytes]) -> Words: ...
    def found_in(self, text: bytes, /) -> bool: ...

@final
class Encoder:
    def __new__(
        cls,
        harmless: set[str],
        naming: frozenset[str],
        words: Words | None,
        known: dict[str, Any],
        known_json: bytes,
        most: int,
    ) -> Encoder: ...
    def encode(
        self,
        nanoseconds: int,
        event_name: str,
        audit: dict[str, Any],
        data: dict[str, Any] | None,
        level: str | None,
        logger: str | None,
        message: str | None,
        trace: dict[str, Any] | None,
        /,
    ) -> bytes | None: ...
    def encode_call(
        self,
        attributes: dict[str, Any],
        standard: tuple[str, ...],
        message: str,
        trace: dict[str, Any] | None,
        /,
    ) -> bytes | None: ...

@final
class Chain:
    def __new__(cls, last: Receipt, leaf: _Hash) -> Chain: ...
    @property
    def last(self) -> Receipt: ...
    @property
    def stream(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def last_hash(self) -> str | None: ...
    def seal(self, head: bytes, /) -> bytes: ...
    def rewind(self, last: Receipt, /) -> None: ...

@final
class PackedLeaves:
    def __len__(self) -> int: ...
    def put(self, digest: str, /) -> None: ...
    def take(self, count: int, /) -> bytes: ...
