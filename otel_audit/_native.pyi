from collections.abc import Iterable
from typing import Any, final

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
