"""Canonical bytes: any Python value made JSON-safe, and JSON written as RFC 8785 (JCS) says.

`orjson` with sorted keys writes the same bytes as JCS for everything but some floats, integers beyond 2^53 and keys
outside the BMP. Values made of plain strings, safe integers, booleans and None therefore take its fast path; the
rest goes through `make_safe` and, where spelling matters, through `jcs`. Without orjson (the single-file verifier)
`jcs` does it all and writes the same bytes.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from operator import is_
from typing import Any, Final, NamedTuple
from uuid import UUID

try:
    import orjson

    _FAST = True
except ImportError:  # the single-file verifier runs on the standard library alone
    _FAST = False

__all__ = [
    "Alteration",
    "DuplicateMember",
    "Limits",
    "canonicalize",
    "is_plain",
    "jcs",
    "make_safe",
    "parse",
    "settle_floats",
    "text_of",
]

MAX_SAFE_INTEGER: Final = 2**53 - 1
if _FAST:
    _dumps = orjson.dumps
    _SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER

_SCALARS: Final = frozenset({str, int, bool, type(None)})
_MAX_PLAIN_DEPTH: Final = 16


class Limits(NamedTuple):
    """What one record may hold; what is beyond is cut and said so in `audit.altered`."""

    depth: int = 32
    """Levels of nesting."""
    items: int = 1000
    """Members of one object or array."""
    text: int = 16_384
    """UTF-8 bytes of one string, once a record is larger than `record`."""
    record: int = 65_536
    """Bytes of a whole record up to which strings are never cut."""


class Alteration(NamedTuple):
    """One value that could not be kept as it was given: where it stands, and why it was changed."""

    path: str
    why: str
    length: int | None = None
    sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object that goes into `audit.altered`."""
        found: dict[str, Any] = {"path": self.path, "why": self.why}
        if self.length is not None:
            found["length"] = self.length
        if self.sha256 is not None:
            found["sha256"] = self.sha256
        return found


class HarmlessNames(set[str]):
    """Names of members that need no second look, and members that need one only for the name that they hold.

    In `{"field": "colour", "old": ..., "new": ...}` it is the text under `field` that says what the others are.
    """

    def __init__(self, naming: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._naming = naming

    def cover(self, value: dict[str, Any]) -> bool:
        """Tell whether all names outside this set are naming members, each holding a name in this set."""
        for name, named in value.items():
            if name not in self and (name not in self._naming or type(named) is not str or named not in self):
                return False
        return True


def is_plain(value: dict[str, Any], names: HarmlessNames | None = None, depth: int = _MAX_PLAIN_DEPTH) -> bool:
    """Tell whether orjson writes this object exactly as JCS does, if its keys are ASCII, without help.

    With `names`, every key at any depth must also be one of those.
    """
    if names is not None and not names.issuperset(value) and not names.cover(value):
        return False
    return _are_plain(value.values(), names, depth)


def _are_plain(values: Collection[Any], names: HarmlessNames | None, depth: int) -> bool:
    for item in values:  # a loop, not a generator, and few calls: this is in every logging call
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is dict:
            if names is not None and not names.issuperset(item) and not names.cover(item):
                return False
            if depth == 0 or not _are_plain(item.values(), names, depth - 1):
                return False
        elif kind is list or kind is tuple:
            if names is not None and len(item) == 2 and type(item[0]) is str and item[0] not in names:
                return False  # a pair of a name and a value, perhaps
            if depth == 0 or not _are_plain(item, names, depth - 1):
                return False
        elif kind is not float or not 1e-5 <= abs(item) < 1e16 or item.is_integer():
            # Between these bounds, and with a fraction, both write the shortest digits without an exponent.
            return False
    return True


def settle_floats(value: Any, depth: int = _MAX_PLAIN_DEPTH + 1) -> Any:
    """Return a value in which floats without a fraction are integers: JCS writes both alike, and orjson does not.

    What is not changed is not copied.
    """
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER else value
    if depth == 0:
        return value
    if kind is dict:
        settled = {name: settle_floats(item, depth - 1) for name, item in value.items()}
        return value if all(map(is_, settled.values(), value.values())) else settled
    if kind is list or kind is tuple:
        items = [settle_floats(item, depth - 1) for item in value]
        return value if all(map(is_, items, value)) else items
    return value


def canonicalize(value: dict[str, Any]) -> bytes:
    """Return the RFC 8785 bytes of a JSON-safe object.

    Raises:
        TypeError, ValueError: the object is not JSON-safe (see `make_safe`).
    """
    if _FAST and is_plain(value):
        written = _dumps(value, None, _SORTED)
        if written.isascii() or _has_simple_keys(value):
            return written
    return jcs(value)


def canonicalize_plain(value: dict[str, Any]) -> bytes:
    """Return the RFC 8785 bytes of an object whose values `is_plain` found plain.

    Raises:
        TypeError, ValueError: a string or integer in it is not JSON-safe, or a key is outside the BMP.
    """
    if not _FAST:
        return jcs(value)
    written = _dumps(value, None, _SORTED)
    if written.isascii() or _has_simple_keys(value):
        return written
    raise ValueError("keys outside the BMP sort differently")


def _has_simple_keys(value: Any) -> bool:
    """Tell whether sorting keys by code point and by UTF-16 unit agree: no key beyond the surrogates' place."""
    if isinstance(value, dict):
        return all((key.isascii() or max(key) < "\ud800") and _has_simple_keys(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_has_simple_keys(item) for item in value)
    return True


def jcs(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value, whatever it holds.

    Raises:
        ValueError: NaN, an infinity, an integer beyond 2^53 - 1, or a lone surrogate.
        TypeError: a type that JSON does not have, or a key that is not a string.
    """
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts).encode()


_quote = json.encoder.encode_basestring


def _write(value: Any, put: Any) -> None:
    if isinstance(value, str):
        put(_quote(value))
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise ValueError(f"integer {value} is beyond 2^53 - 1 (RFC 8785, section 3.2.2.3)")
        put(int.__repr__(value))
    elif isinstance(value, float):
        put(_number(value))
    elif isinstance(value, dict):
        separator = "{"
        for key in sorted(value, key=_utf16):
            put(separator)
            put(_quote(key))
            put(":")
            _write(value[key], put)
            separator = ","
        put("}" if value else "{}")
    elif isinstance(value, (list, tuple)):
        separator = "["
        for item in value:
            put(separator)
            _write(item, put)
            separator = ","
        put("]" if value else "[]")
    else:
        raise TypeError(f"JSON has no {type(value).__name__}")


def _utf16(key: Any) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"a key must be a string, not {type(key).__name__}")
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """Spell a double as ECMAScript does (RFC 8785, section 3.2.2.3; ECMA-262, Number::toString)."""
    if not math.isfinite(value):
        raise ValueError(f"JSON has no {value}")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    scientific = digits[0] + ("." + digits[1:] if count > 1 else "")
    return f"{sign}{scientific}e{'+' if point > 0 else '-'}{abs(point - 1)}"


class DuplicateMember(ValueError):
    """An object has the same member twice: two readers can see two different values."""


def parse(line: bytes) -> dict[str, Any]:
    """Read a JSON object strictly: valid UTF-8, no duplicate member, no NaN, no lone surrogate.

    Raises:
        DuplicateMember: a member stands twice in one object.
        ValueError: these bytes are not such an object.
    """
    try:
        value = json.loads(line.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} stands where an object must")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember("a member stands twice in one object")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def text_of(value: Any) -> str:
    """Return `str(value)`, or, where that raises, what kind of value it was."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value's own methods may raise anything; the record must live
        return f"<unprintable {type(value).__name__}>"


def make_safe(value: Any, limits: Limits, *, path: str = "", cut_text: bool = False) -> tuple[Any, list[Alteration]]:
    """Turn any value into one that `canonicalize` takes, and say what could not be kept as it was.

    The spelling of each type is in docs/format.md. Nothing that a value's own methods raise comes out of here.
    Strings are cut at `limits.text` only if `cut_text`.
    """
    tidy = _Tidy(limits, cut_text)
    return tidy.make(value, path, limits.depth), tidy.altered


class _Tidy:
    """One pass of `make_safe`: the limits, what was altered, and the containers on the way down."""

    def __init__(self, limits: Limits, cut_text: bool) -> None:
        self._limits = limits
        self._cut_text = cut_text
        self._open: set[int] = set()
        self.altered: list[Alteration] = []

    def make(self, value: Any, path: str, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value, path)
        if kind is bool or value is None:
            return value
        if kind is int:
            return self._integer(value, path)
        if kind is float:
            return self._float(value, path)
        try:
            return self._rich(value, path, depth)
        except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything; the record must live
            self._note(path, f"unprintable: {type(error).__name__}")
            return f"<unprintable {kind.__name__}>"

    def _note(self, path: str, why: str, length: int | None = None, digest: str | None = None) -> None:
        self.altered.append(Alteration(path or "/", why, length, digest))

    def _text(self, value: str, path: str) -> str:
        try:
            raw = value.encode()
        except UnicodeEncodeError:
            self._note(path, "lone surrogate")
            value = value.encode("utf-8", "backslashreplace").decode()
            raw = value.encode()
        if self._cut_text and len(raw) > self._limits.text:
            self._note(path, "cut", len(raw), sha256(raw).hexdigest())
            return raw[: self._limits.text].decode("utf-8", "ignore")
        return value if type(value) is str else str.__str__(value)

    def _integer(self, value: int, path: str) -> Any:
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return int(value)
        self._note(path, "integer beyond 2^53")
        if value.bit_length() > 4096:  # CPython refuses to spell very long integers in decimal
            return self._text(hex(value), path)
        return str(int(value))

    def _float(self, value: float, path: str) -> Any:
        value = float(value)
        if math.isnan(value):
            self._note(path, "not a number")
            return "NaN"
        if math.isinf(value):
            self._note(path, "infinity")
            return "Infinity" if value > 0 else "-Infinity"
        if value.is_integer() and abs(value) < 1e21:
            return self._integer(int(value), path)  # JCS writes both alike, and readers cannot tell them apart
        return value

    def _rich(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.make(value.value, path, depth)
        if isinstance(value, str):
            return self._text(str.__str__(value), path)
        if isinstance(value, int):
            return self._integer(int(value), path)
        if isinstance(value, float):
            return self._float(float(value), path)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._text(base64.b64encode(bytes(value)).decode(), path)
        if isinstance(value, (datetime, date, time)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return self._float(value.total_seconds(), path)
        if isinstance(value, (UUID, Decimal)):
            return str(value)
        if isinstance(value, os.PathLike):
            named = os.fspath(value)
            return self._text(os.fsdecode(named), path)
        if isinstance(value, BaseException):
            return self._text(f"{type(value).__name__}: {value}", path)
        if hasattr(type(value), "__dataclass_fields__"):
            value = {name: getattr(value, name) for name in type(value).__dataclass_fields__ if hasattr(value, name)}
        elif isinstance(value, tuple) and (fields := getattr(type(value), "_fields", None)):
            value = dict(zip(fields, value, strict=False))
        if isinstance(value, (Mapping, list, tuple, set, frozenset)) or _is_listlike(value):
            return self._container(value, path, depth)
        self._note(path, f"text of {type(value).__name__}")
        return self._text(str(value), path)

    def _container(self, value: Any, path: str, depth: int) -> Any:
        if depth <= 0:
            self._note(path, "too deep", len(value))
            return "…"
        if id(value) in self._open:
            self._note(path, "refers to itself")
            return "…"
        self._open.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._object(value, path, depth)
            if isinstance(value, (set, frozenset)):
                made = self._array(value, path, depth)
                return sorted(made, key=jcs)
            return self._array(value, path, depth)
        finally:
            self._open.discard(id(value))

    def _object(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for count, (key, item) in enumerate(value.items()):
            if count >= self._limits.items:
                self._note(path, "cut", len(value))
                break
            name = self._key(key, path)
            if name in made:
                self._note(f"{path}/{name}", "key given twice")
                name = _free_name(name, made)
            made[name] = self.make(item, f"{path}/{name}", depth - 1)
        return made

    def _key(self, key: Any, path: str) -> str:
        name = self._text(str.__str__(key), path) if isinstance(key, str) else str(self.make(key, path, 1))
        if not isinstance(key, str):
            self._note(f"{path}/{name}", f"key was {type(key).__name__}")
        if len(name) > 256:
            self._note(path, "key cut", len(name), sha256(name.encode()).hexdigest())
            name = name[:256]
        return name

    def _array(self, value: Collection[Any], path: str, depth: int) -> list[Any]:
        made: list[Any] = []
        for index, item in enumerate(value):
            if index >= self._limits.items:
                self._note(path, "cut", len(value))
                break
            made.append(self.make(item, f"{path}/{index}", depth - 1))
        return made


def _is_listlike(value: Any) -> bool:
    """Tell whether this is a dict view or a deque: iterable and sized, and not consumed by reading it."""
    kind = type(value)
    return kind.__module__ in {"collections", "builtins"} and hasattr(kind, "__len__") and hasattr(kind, "__iter__")


def _free_name(name: str, taken: dict[str, Any]) -> str:
    number = 2
    while f"{name}~{number}" in taken:
        number += 1
    return f"{name}~{number}"
