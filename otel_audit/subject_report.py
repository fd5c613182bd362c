"""What the records say of one person: where their id or a pseudonym of it stands, and what their key still opens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .canonical import jcs, parse
from .record import Control, record_id
from .redaction.pseudonyms import PseudonymKey
from .redaction.sealing import SEALED, open_sealed
from .redaction.subject_keys import SubjectKey
from .verify.content import examine
from .verify.places import Missing, Unreadable
from .verify.records import read_lines
from .verify.sources import find_sources

__all__ = ["Erasure", "Report", "SealedValue", "Sighting", "report_on"]

ERASED: Final = "erased"
NO_KEY: Final = "no key"
CHANGED: Final = "changed"
CUT: Final = "cut"
OPENED: Final = "opened"


class SealedValue(NamedTuple):
    """A sealed field of a record about the person."""

    path: str
    key: str
    """The id of the key that it is sealed under."""
    state: str
    """`opened`; `erased`: it was destroyed, says a record; `no key`: not here; `cut`: it was cut once it was sealed,
    says the record, and cannot be opened; `changed`: it does not open."""
    value: Any = None
    whole_bytes: int | None = None
    """Where only the beginning of the value was sealed: the length of the whole."""


@dataclass
class Sighting:
    """One record about the person."""

    id: str
    time: str
    event_name: str
    file: str
    line: int
    found_at: list[str]
    """Where the id, a pseudonym, or a field under the person's key stands."""
    sealed: list[SealedValue]
    intact: bool
    """Whether the record is what was sealed into the chain, by its own hash."""
    record: dict[str, Any] = field(repr=False)


class Erasure(NamedTuple):
    """A record that says that keys were destroyed."""

    id: str
    time: str
    keys: tuple[str, ...]
    by: str
    reason: str
    subject: str | None


@dataclass
class Report:
    """What was found."""

    pseudonyms: tuple[str, ...]
    key: str | None
    """Id of the person's key, if there is one."""
    sightings: list[Sighting]
    erasures: list[Erasure]
    """Of keys that seal fields of these records, or of a subject that is named as this one."""
    unreadable: list[str]
    records: int = 0
    """Records that were looked at, copies and all."""

    @property
    def exit_code(self) -> int:
        """2: something could not be read. 1: a record or field was changed. 5: nothing was found. Else 0."""
        if any(not one.intact or any(each.state == CHANGED for each in one.sealed) for one in self.sightings):
            return 1
        if self.unreadable:
            return 2
        return 0 if self.sightings or self.erasures else 5


def report_on(
    subject: str, paths: Sequence[str], *, key: SubjectKey | None = None, pseudonym_keys: Iterable[PseudonymKey] = ()
) -> Report:
    """Find all that the records in files and directories say of one person.

    Args:
        subject: the person's id, as the application writes it.
        paths: what is read: whatever `otel-audit verify` reads.
        key: the person's key, if it is still there.
        pseudonym_keys: under each of them the id's pseudonym is looked for.
    """
    names = tuple(each.name(subject) for each in pseudonym_keys)
    wanted = {subject, *names}
    marks = [jcs(each)[1:-1] for each in wanted] + [f'"{Control.ERASE}"'.encode()]
    if key is not None:
        marks.append(f"aes-256-gcm:{key.id}:".encode())
    seen: set[str] = set()
    report = Report(names, None if key is None else key.id, [], [], [])
    erased: dict[str, Erasure] = {}
    for file, line, number in _read(paths, report.unreadable):
        report.records += 1
        if not any(mark in line for mark in marks):
            continue
        entry, fault = examine(line)
        if entry is None:
            continue
        record = parse(line)
        identity = record_id(entry.stream, entry.seq)
        if identity in seen:
            continue
        if entry.event == Control.ERASE:
            erasure = _read_erasure(identity, record)
            erased.update(dict.fromkeys(erasure.keys, erasure))
        found = [*_search(record, wanted, key)]
        if found and entry.event != Control.ERASE:
            seen.add(identity)
            sealed = [_open(path, text, key, record) for path, text in _sealed(record)]
            sighting = Sighting(identity, entry.time, entry.event, file, number, found, sealed, fault is None, record)
            report.sightings.append(sighting)
    for sighting in report.sightings:
        sighting.sealed = [_tell_erased(each, erased) for each in sighting.sealed]
    gone = {each.key for sighting in report.sightings for each in sighting.sealed}
    told = {
        each.id: each for key_id, each in erased.items() if key_id in gone or (each.subject and each.subject in wanted)
    }
    report.erasures = [*told.values()]
    return report


def _read(paths: Sequence[str], unreadable: list[str]) -> Iterator[tuple[str, bytes, int]]:
    for source in find_sources(paths):
        if isinstance(source, Missing):
            unreadable.append(f"{source.path}: there is no such file")
            continue
        try:
            for lines in read_lines(source):
                for line, number in lines:
                    yield source.path, line, number
        except Unreadable as error:
            unreadable.append(f"{source.path}: {error}")


def _search(record: Mapping[str, Any], wanted: Collection[str], key: SubjectKey | None) -> Iterator[str]:
    """Yield the places at which the person is named, or a value is sealed under their key."""
    mark = None if key is None else f"aes-256-gcm:{key.id}:"
    for path, text in _texts(record):
        if text in wanted or (mark is not None and text.startswith(mark)):
            yield path


def _sealed(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((path, text) for path, text in _texts(record) if SEALED.fullmatch(text))


def _texts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for member in ("audit", "data", "message"):
        yield from _walk(record.get(member), f"/{member}")


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            if path != "/audit" or name != "altered":
                yield from _walk(item, f"{path}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}/{index}")


def _open(path: str, text: str, key: SubjectKey | None, record: Mapping[str, Any]) -> SealedValue:
    form = SEALED.fullmatch(text)
    assert form is not None
    if key is None or form[1] != key.id:
        return SealedValue(path, form[1], NO_KEY)
    noted = record.get("audit", {}).get("altered", ())
    about = (note for note in noted if isinstance(note, dict) and (note.get("path"), note.get("why")) == (path, "cut"))
    cut = next(about, None)
    try:
        value = open_sealed(key, text, path, record)
    except ValueError:
        after = cut is not None and "sha256" in cut  # what is cut before it is sealed has no hash
        return SealedValue(path, form[1], CUT if after else CHANGED)
    return SealedValue(path, form[1], OPENED, value, None if cut is None else cut.get("length"))


def _tell_erased(value: SealedValue, erased: Collection[str]) -> SealedValue:
    return value._replace(state=ERASED) if value.state == NO_KEY and value.key in erased else value


def _read_erasure(identity: str, record: Mapping[str, Any]) -> Erasure:
    data = record.get("data")
    facts: Mapping[str, Any] = data if isinstance(data, dict) else {}
    keys = facts.get("keys")
    named = facts.get("subject")
    return Erasure(
        identity,
        record["@timestamp"],
        tuple(each for each in keys if isinstance(each, str)) if isinstance(keys, list) else (),
        str(facts.get("by", "")),
        str(facts.get("reason", "")),
        named if isinstance(named, str) else None,
    )
