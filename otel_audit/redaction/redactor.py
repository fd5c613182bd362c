"""All that must not be written as it was given, found in a record and replaced, before the hash.

Of several rules that fit one value the first of these counts: a masked path, a sealed one, a pseudonym, an event's
allow-list, a secret name; what is still text after that is searched for secrets and for the user's patterns.
"""

from __future__ import annotations

import base64
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from otel_audit.canonical import Alteration, HarmlessNames, jcs
from otel_audit.native import Encoder

from .names import DEFAULT_SECRET_NAMES, MASK, plain_name
from .paths import ANYTHING, FIXED, SHAPED, Steps, follow, is_dull
from .patterns import mask_matches
from .text import TextMask, usual

__all__ = ["Change", "Redactor", "Rule", "mask_value"]

REDACTED: Final = "redacted"
"""What `audit.altered` says of a value that was masked."""

_MAX_REMEMBERED: Final = 4096
_MAX_NAME: Final = 128
_NAMING: Final = frozenset({"attribute", "field", "header"})
"""Members that may hold the name of what stands in a member beside them (`_VALUES`)."""
_KEYS: Final = ("name", "key")
"""Members that may hold the name of what stands in `value` beside them: Kubernetes' variables, HAR's headers, OTLP."""
_LOOKED_AT: Final = _NAMING | {"value"}
"""Members that are looked at in each record."""
_VALUES: Final = frozenset({"after", "before", "from", "new", "old", "to", "value"})
_TRACED: Final = ("span_id", "trace_flags", "trace_id")
_TEXTS: Final = ("event_name", "level", "logger")
_NOBODY: Final = "anonymous"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_MOST_DECODED: Final = 1 << 20


class Change(Protocol):
    """What a rule makes of a value."""

    whole: bool
    """Whether it takes an object or array whole; otherwise each value inside it."""

    def fit(self, value: Any, most: int) -> Any:
        """Return what is kept of a value where this change may write `most` UTF-8 bytes; the same object if all is."""

    def __call__(self, value: Any, place: str, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return what is written instead, and what `audit.altered` says of it. Must not raise.

        Args:
            value: JSON-safe; None never comes here.
            place: where it stands, as `audit.altered` writes it.
            record: the record that it stands in, as it was before any rule.
        """


class _Mask:
    whole = True

    def fit(self, value: Any, most: int) -> Any:
        return value

    def __call__(self, value: Any, place: str, record: Mapping[str, Any]) -> tuple[str, str]:
        return MASK, REDACTED


mask_value: Final[Change] = _Mask()


class Rule(NamedTuple):
    """What is done with the values at some paths."""

    paths: tuple[Steps, ...]
    change: Change


_State = tuple[int, Steps]
"""A rule by its number, and what is left of one of its paths."""
_Allowed = tuple[Steps, ...] | None
"""What is left of an allow-list's paths; None where all is allowed."""


class Redactor:
    """Replaces what must not be written, at any depth of `audit` and `data`, and in the message.

    Args:
        names: regular expressions of names that are masked (see `name_patterns`).
        added_names: those of them that the user added, as text.
        rules: what is done at paths; of two that fit, the first counts.
        patterns: regular expressions that are masked in every string.
        allow: event name (`*` is a wildcard) -> paths of what a record by that name may show.
        text: whether secrets are looked for inside text.
    """

    def __init__(
        self,
        names: Iterable[str] = DEFAULT_SECRET_NAMES,
        *,
        added_names: Iterable[str] = (),
        rules: Sequence[Rule] = (),
        patterns: Sequence[re.Pattern[str]] = (),
        allow: Mapping[str, Sequence[Steps]] | None = None,
        text: bool = True,
    ) -> None:
        names = tuple(names)
        self._pattern = re.compile("|".join(f"(?:{name})" for name in names))
        self._rules = tuple(rules)
        self._patterns = tuple(patterns)
        self._allow = tuple(
            (re.compile(fnmatch.translate(event)), tuple(paths)) for event, paths in (allow or {}).items()
        )
        self._text = _choose_mask(names, self.is_secret, added_names) if text else None
        self._may_hold = self._text.may_hold if self._text is not None else None
        self._paths = tuple(steps for rule in self._rules for steps in rule.paths)
        self._at_root = any(steps[0] in {"message", ANYTHING} or len(steps) == 1 for steps in self._paths)
        self._looks_at_each = self._at_root or bool(self._allow) or bool(self._patterns)
        self._naming = frozenset(name for name in _NAMING if not self.is_secret(name) and is_dull(self._paths, name))
        self.harmless = HarmlessNames(self._naming)
        """Names that were looked at and hold no secret, and that no path leads to."""
        self._watched: set[str] = set()
        """Names that hold no secret, and that a path may lead to."""
        for name in _TRACED:
            self.is_suspect(name)

    def encoder(self, known: dict[str, Any], most: int) -> Encoder | None:
        """Return what writes a record that needs no change, and refuses others; None if there is no such thing.

        Args:
            known: what a member may be that is written without a look.
            most: bytes of a record.
        """
        if Encoder is None or self._looks_at_each:
            return None
        words = None if self._text is None else self._text.words
        return Encoder(self.harmless, self._naming, words, known, jcs(known), most)

    def is_clear(self, record: Mapping[str, Any], written: bytes) -> bool:
        """Tell whether a record of plain values under harmless names needs no change.

        Args:
            record: the record.
            written: its canonical bytes, in which a secret is looked for first.
        """
        if self._looks_at_each:
            if self._at_root or self._allowed(record) is not None:
                return False
            if self._patterns:
                return not self._holds_secret(record)
        return self._may_hold is None or not self._may_hold(written) or not self._holds_secret(record)

    def clean(self, record: dict[str, Any], notes: list[Alteration], *, most: int | None = None) -> dict[str, Any]:
        """Return a JSON-safe record with nothing in it that must not be written; the same object if nothing was.

        Notes say what was replaced; what they said of values below it is dropped, so that no trace of it is left.

        Args:
            record: not changed.
            notes: what was changed before; changed here.
            most: UTF-8 bytes that may stand in the place of a value; of a sealed one that needs more, only the
                beginning is sealed. What was sealed cannot be cut: it would never open.
        """
        walk = _Walk(self, record, most)
        cleaned = walk.run(self._allowed(record))
        if walk.hidden:
            notes[:] = [note for note in notes if not _lies_below(note.path, walk.hidden)]
        if self._text is not None or self._patterns:
            notes[:] = [note._replace(path=self.mask(note.path), why=self.mask(note.why)) for note in notes]
        notes.extend(walk.notes)
        return cleaned

    def is_secret(self, name: str) -> bool:
        """Tell whether what stands under this name, or under bytes that it spells in base64, is masked."""
        return any(each and self._pattern.fullmatch(plain_name(each)) for each in (name, _from_base64(name)))

    def is_suspect(self, name: str) -> bool:
        """Tell whether what stands under this name is masked; remember a name of which nothing has to be known."""
        if name in self.harmless or name in self._watched:
            return False
        if self.is_secret(name):
            return True
        if name not in _LOOKED_AT and len(name) <= _MAX_NAME and self.mask(name) is name:
            known = self.harmless if not self._paths or is_dull(self._paths, name) else self._watched
            if len(known) < _MAX_REMEMBERED:
                known.add(name)
        return False

    def mask(self, text: str) -> str:
        """Return a text without the secrets in it; the same object if there are none."""
        masked = text if self._text is None else self._text.mask(text)
        for pattern in self._patterns:
            masked = mask_matches(pattern, masked)
        return text if masked == text else masked

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What is done at paths."""
        return self._rules

    def _allowed(self, record: Mapping[str, Any]) -> _Allowed:
        """Return the paths that may be shown of this record; None if no allow-list is about it."""
        if not self._allow:
            return None
        name = record.get("event_name", "")
        lists = [paths for pattern, paths in self._allow if pattern.match(name)]
        return tuple(steps for paths in lists for steps in paths) if lists else None

    def _holds_secret(self, value: Any) -> bool:
        if type(value) is str:
            return self.mask(value) is not value
        if type(value) is dict:
            return any(self.mask(name) is not name or self._holds_secret(item) for name, item in value.items())
        return type(value) in {list, tuple} and any(map(self._holds_secret, value))


class _Walk:
    """One record on its way through the rules."""

    def __init__(self, redactor: Redactor, record: dict[str, Any], most: int | None = None) -> None:
        self._redactor = redactor
        self._record = record
        self._most = most
        self.notes: list[Alteration] = []
        self.hidden: set[str] = set()
        """Places whose values were replaced whole."""

    def run(self, allowed: _Allowed) -> dict[str, Any]:
        record = self._record
        made: dict[str, Any] = {}
        for member in _TEXTS:
            if isinstance(text := record.get(member), str):
                made[member] = self._mask(text, f"/{member}")
        if "event_name" in made and made["event_name"] is not record["event_name"]:
            made["audit"] = {**record["audit"], "action": "REDACTED"}  # it is the name's last word, in upper case
        self._record = shown = {**record, **made}
        states = [(number, steps) for number, rule in enumerate(self._redactor.rules) for steps in rule.paths]
        for member in ("audit", "data", "message"):
            if member in shown:
                self._put(made, member, shown[member], "", states=states, allowed=allowed, secret=False)
        changed = {name: value for name, value in made.items() if value is not record[name]}
        return {**record, **changed} if changed else record

    def _put(
        self,
        made: dict[str, Any],
        name: str,
        value: Any,
        parent: str,
        *,
        states: Sequence[_State],
        allowed: _Allowed,
        secret: bool,
    ) -> None:
        """Put a member into an object: as it is, or what a rule makes of it."""
        key = self._key(name, made, parent) if parent else name
        place = f"{parent}/{key}"
        if place in FIXED or (place == "/audit/actor/id" and value == _NOBODY):
            made[key] = self._value(value, place, (), None)
            return
        if states:
            states, rule = self._advance(states, name)
            if rule is not None and value is not None:
                change = self._redactor.rules[rule].change
                if not _is_shaped(place, value) and (change.whole or not isinstance(value, (dict, list))):
                    made[key] = self._replace(change, value, place)
                    return
                states = [(rule, (ANYTHING,)), *states]  # of this, each value inside it
        if allowed is not None:
            allowed = _narrow(allowed, name)
            if not _may_show(allowed, value) and not _is_shaped(place, value):
                secret = True
        if secret:
            made[key] = self._hide(place, MASK, REDACTED)
        else:
            made[key] = self._value(value, place, states, allowed)

    def _value(self, value: Any, place: str, states: Sequence[_State], allowed: _Allowed) -> Any:
        if isinstance(value, str):
            return self._mask(value, place)
        if isinstance(value, dict):
            return self._object(value, place, states, allowed)
        if isinstance(value, list):
            return self._array(value, place, states, allowed)
        return value

    def _object(self, value: dict[str, Any], place: str, states: Sequence[_State], allowed: _Allowed) -> dict[str, Any]:
        redactor = self._redactor
        secret = {name for name in value if redactor.is_suspect(name)}
        if any(isinstance(named := value.get(naming), str) and redactor.is_suspect(named) for naming in _NAMING):
            secret.update(_VALUES & value.keys())  # {"field": "password", "old": ..., "new": ...}
        if "value" in value and any(isinstance(key := value.get(of), str) and redactor.is_secret(key) for of in _KEYS):
            secret.add("value")  # {"name": "DB_PASSWORD", "value": ...}
        made: dict[str, Any] = {}
        for name, item in value.items():
            self._put(made, name, item, place, states=states, allowed=allowed, secret=name in secret)
        same = made.keys() == value.keys() and all(made[name] is item for name, item in value.items())
        return value if same else made

    def _array(self, value: list[Any], place: str, states: Sequence[_State], allowed: _Allowed) -> list[Any]:
        if len(value) == 2 and isinstance(name := value[0], str) and self._redactor.is_suspect(name):  # a pair
            return [name, self._hide(f"{place}/1", MASK, REDACTED)]
        made: list[Any] = []
        for index, item in enumerate(value):
            name, where = str(index), f"{place}/{index}"
            further = states
            if states:
                by_index, rule = self._advance(states, name)
                further = [*states, *by_index]
                if rule is not None and item is not None:
                    change = self._redactor.rules[rule].change
                    if not _is_shaped(where, item) and (change.whole or not isinstance(item, (dict, list))):
                        made.append(self._replace(change, item, where))
                        continue
                    further = [(rule, (ANYTHING,)), *further]
            shown = allowed
            if allowed is not None:
                by_name = _narrow(allowed, name)
                shown = None if by_name is None else (*allowed, *by_name)
                if not isinstance(item, (dict, list)) and shown is not None:
                    made.append(self._hide(where, MASK, REDACTED))
                    continue
            made.append(self._value(item, where, further, shown))
        return value if all(new is old for new, old in zip(made, value, strict=True)) else made

    def _replace(self, change: Change, value: Any, place: str) -> str:
        inside = _Walk(self._redactor, self._record)._value(value, place, (), None)
        kept = inside if self._most is None else change.fit(inside, self._most)
        shown, why = change(kept, place, self._record)
        hidden = self._hide(place, shown, why)
        if kept is not inside:  # without its hash, from which who guesses well could tell it after an erasure
            self.notes.append(
                Alteration(place, "cut", len(inside.encode() if isinstance(inside, str) else jcs(inside)))
            )
        return hidden

    def _hide(self, place: str, shown: str, why: str) -> str:
        self.hidden.add(place)
        self.notes.append(Alteration(place, why))
        return shown

    def _mask(self, text: str, place: str) -> str:
        masked = self._redactor.mask(text)
        if masked is text and (decoded := _from_base64(text)) and self._redactor.mask(decoded) is not decoded:
            masked = MASK
        if masked is not text:
            self.notes.append(Alteration(place, REDACTED))
        return masked

    def _key(self, name: str, made: dict[str, Any], parent: str) -> str:
        key = self._redactor.mask(name)
        if key is name and name not in made:
            return name
        number, free = 2, key
        while free in made:
            free, number = f"{key}~{number}", number + 1
        self.notes.append(Alteration(f"{parent}/{free}", f"key {REDACTED}"))
        return free

    def _advance(self, states: Sequence[_State], name: str) -> tuple[list[_State], int | None]:
        """Return what is left of the paths below a member of this name, and the first rule that leads to it."""
        further: list[_State] = []
        found: int | None = None
        for number, steps in states:
            for rest in follow(steps, name):
                if rest:
                    further.append((number, rest))
                elif found is None or number < found:
                    found = number
        return further, found


def _choose_mask(names: tuple[str, ...], is_secret: Callable[[str], bool], added: Iterable[str]) -> TextMask:
    return usual() if names == DEFAULT_SECRET_NAMES else TextMask(is_secret, added)


def _narrow(allowed: tuple[Steps, ...], name: str) -> _Allowed:
    further: list[Steps] = []
    for steps in allowed:
        for rest in follow(steps, name):
            if not rest:
                return None
            further.append(rest)
    return tuple(further)


def _may_show(allowed: _Allowed, value: Any) -> bool:
    """Tell whether a value is allowed, or holds something that may be."""
    return allowed is None or value is None or (bool(allowed) and isinstance(value, (dict, list)))


def _is_shaped(place: str, value: Any) -> bool:
    """Tell whether the format wants an object or array here, so that only what is in it can be changed."""
    if not isinstance(value, (dict, list)):
        return False
    return place in SHAPED or (
        isinstance(value, dict) and place.startswith("/audit/targets/") and place.count("/") == 3
    )


def _from_base64(text: str) -> str:
    """Return the text that was given as bytes, which are spelled in base64; nothing if this is none."""
    if len(text) % 4 or not 8 <= len(text) <= _MOST_DECODED or _BASE64.fullmatch(text) is None:
        return ""
    try:
        return base64.b64decode(text).decode()
    except ValueError:
        return ""


def _lies_below(path: str, hidden: set[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in hidden)
