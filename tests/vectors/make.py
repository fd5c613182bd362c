"""Write the golden vectors: `python -m tests.vectors.make`. The same bytes in every run.

Each directory is a journal; `expected.json` says what a verifier must find in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from otel_audit.canonical import parse
from tests.verify.histories import Writer, put, reseal, rewrite, stream_id, torn, whole

HERE: Final = Path(__file__).parent

VERDICTS: Final = {0: "intact", 1: "tampered", 3: "incomplete", 4: "unverifiable"}


def one(directory: Path) -> None:
    put(directory, whole())


def odd_content(directory: Path) -> None:
    writer = Writer().open()
    numbers = [0.000001, 1e-7, 1.5e-9, 123456789012345680000.0, 1e21, -1.25e30, 5e-324, 0.1, -0.5, 2**53 - 1]
    writer.event(data={"numbers": numbers, "€": "\u2028\u0085\x0b\x1b[2K\u202e", "\ud7ff": 1, "\ue000": 2, "😀": 3})
    writer.event(data={"": {"a": [[], {}, None, True, {"b": ["\\", '"', "/", "\x7f"]}]}}, message='{"seq":9}\n')
    writer.event(otel={"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "trace_flags": 1})
    put(directory, writer.close())


def segments(directory: Path) -> None:
    put(directory, whole(), 6, 12)


def repeated_lines(directory: Path) -> None:
    writer = whole()
    put(directory, writer, 11)
    (directory / writer.segment(2)).write_bytes(b"".join(writer.lines[7:]))


def repeat_recorded(directory: Path) -> None:
    writer = Writer().open().events(9)
    writer.control("audit.pipeline.degraded", {"cause": "sync failed", "reason": "Input/output error"})
    put(directory, writer.events(3).close(), 11)
    (directory / writer.segment(2)).write_bytes(b"".join(writer.lines[7:]))


def segment_name(directory: Path) -> None:
    writer = whole()
    second = put(directory, writer, 11).with_name(writer.segment(2))
    second.with_name(f"{writer.stream}.0000002.jsonl").write_bytes(second.read_bytes())


def restarts(directory: Path) -> None:
    first = whole(1)
    second = whole(2, previous=[first.ending()])
    for writer in (first, second, whole(3, previous=[second.ending()])):
        put(directory, writer)


def fork(directory: Path, *, child: bool = True, silent: bool = False) -> None:
    parent = Writer(1).open().events(3)
    link = {"stream": parent.stream, "seq": parent.chain.seq, "hash": parent.chain.last_hash}
    parent.control("audit.stream.fork", {"child": stream_id(2), "pid": 4711})
    more = {"never_opened": [stream_id(2)]} if silent else {}
    put(directory, parent.events(2).close(**more))
    if child:
        put(directory, whole(2, parent=link))


def unclosed(directory: Path) -> None:
    put(directory, Writer().open().events(5))


def torn_tail(directory: Path) -> None:
    put(directory, Writer().open().events(5), tail=b'{"@timestamp":"2023-11-14T22:')


def declared_tail(directory: Path, *, said: bytes = b'{"@timestamp":"2023-11-14T22:') -> None:
    writer = Writer().open().events(5)
    put(directory, writer, tail=b'{"@timestamp":"2023-11-14T22:')
    put(directory, whole(2, previous=[writer.ending(closed=False, torn=torn(writer, said))]))


def gap(directory: Path) -> None:
    writer = Writer().open().events(2)
    writer.control(
        "audit.gap",
        {
            "count": 7,
            "from": "2023-11-14T22:13:20.000000000Z",
            "to": "2023-11-14T22:13:21.000000000Z",
            "reason": "No space",
        },
    )
    put(directory, writer.events(2).close(lost=7))


def sink_failed(directory: Path) -> None:
    writer = Writer().open().events(2)
    writer.control("audit.pipeline.degraded", {"cause": "sink failing", "sink": "logs", "error": "refused"})
    writer.control("audit.pipeline.recovered", {"cause": "sink failing", "sink": "logs"})
    put(directory, writer.events(2).close())


def pruned(directory: Path, *, kept: int = 12) -> None:
    old = whole(1)
    cut = {"stream": old.stream, "first_seq": 1, "last_seq": 11, "last_hash": parse(old.lines[10])["hash"]}
    new = Writer(2).open(previous=[old.ending()])
    new.control("audit.prune", {**cut, "segments": [old.segment(1)], "reason": "older than 30 days"})
    put(directory, old, kept)
    (directory / old.segment(1)).unlink()
    put(directory, new.close())


def unknown_format(directory: Path) -> None:
    put(directory, Writer().open(format=2).events(3).close())


def edited(edit: Callable[[list[bytes]], Any]) -> Callable[[Path], None]:
    """A vector in which the lines of a stream, followed by another one, were changed."""

    def make(directory: Path) -> None:
        writer = whole(1)
        put(directory, whole(2, previous=[writer.ending()]))
        writer.lines = edit(writer.lines) or writer.lines
        put(directory, writer)

    return make


def replaced(place: int, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(lines: list[bytes]) -> None:
        lines[place] = change(lines[place])

    return edited(edit)


def missing_stream(directory: Path) -> None:
    put(directory, whole(2, previous=[whole(1).ending()]))


def missing_segment(directory: Path) -> None:
    writer = whole()
    put(directory, writer, 6, 12)
    (directory / writer.segment(2)).unlink()


def forged_parent(directory: Path) -> None:
    put(directory, whole(1))
    put(directory, whole(2, parent={"stream": stream_id(1), "seq": 5, "hash": "0" * 64}))


def foreign_line(directory: Path) -> None:
    writer = whole(1)
    writer.lines.insert(5, whole(2).lines[5])
    put(directory, writer)


def after_close(directory: Path) -> None:
    put(directory, whole().events(1))


VECTORS: Final[dict[str, tuple[int, Callable[[Path], None]]]] = {
    "intact-one-stream": (0, one),
    "intact-odd-content": (0, odd_content),
    "intact-segments": (0, segments),
    "intact-restarts": (0, restarts),
    "intact-fork": (0, fork),
    "intact-silent-child": (0, lambda directory: fork(directory, child=False, silent=True)),
    "intact-sink-failed": (0, sink_failed),
    "incomplete-unclosed": (3, unclosed),
    "incomplete-torn-tail": (3, torn_tail),
    "incomplete-torn-tail-declared": (3, declared_tail),
    "incomplete-gap": (3, gap),
    "incomplete-child-without-stream": (3, lambda directory: fork(directory, child=False)),
    "incomplete-pruned": (3, pruned),
    "incomplete-repeated-lines": (3, repeated_lines),
    "incomplete-repeat-recorded": (3, repeat_recorded),
    "unverifiable-format": (4, unknown_format),
    "tampered-value": (1, replaced(6, lambda line: line.replace(b"gone 5", b"gone 6"))),
    "tampered-value-sealed-again": (1, replaced(6, lambda line: reseal(line, message="gone 6"))),
    "tampered-stream-sealed-again": (1, edited(lambda lines: rewrite(lines, 6, message="gone 6"))),
    "tampered-spaces": (1, replaced(6, lambda line: line.replace(b":", b": ", 1))),
    "tampered-member-added": (1, replaced(6, lambda line: line.replace(b'{"@', b'{"@a":1,"@', 1))),
    "tampered-member-twice": (1, replaced(6, lambda line: line.replace(b'"seq"', b'"seq":1,"seq"'))),
    "tampered-seq-string": (1, replaced(6, lambda line: line.replace(b'"seq":7', b'"seq":"7"'))),
    "tampered-hash-upper-case": (1, replaced(6, lambda line: line[:-67] + line[-67:-3].upper() + line[-3:])),
    "tampered-record-removed": (1, edited(lambda lines: lines.pop(6) and None)),
    "tampered-first-record-removed": (1, edited(lambda lines: lines.pop(0) and None)),
    "tampered-end-removed": (1, edited(lambda lines: lines[:12])),
    "tampered-record-moved": (1, edited(lambda lines: lines.insert(9, lines.pop(6)))),
    "tampered-record-twice": (1, edited(lambda lines: lines.insert(9, lines[6]))),
    "tampered-line-inserted": (1, edited(lambda lines: lines.insert(9, b"{}\n"))),
    "tampered-foreign-line": (1, foreign_line),
    "tampered-after-close": (1, after_close),
    "tampered-child-that-was-silent": (1, lambda directory: fork(directory, silent=True)),
    "tampered-stream-removed": (1, missing_stream),
    "tampered-segment-removed": (1, missing_segment),
    "tampered-segment-name": (1, segment_name),
    "tampered-parent": (1, forged_parent),
    "tampered-torn-tail": (1, lambda directory: declared_tail(directory, said=b'{"@timestamp":"2023-11-14T23:')),
    "tampered-pruned-too-much": (1, lambda directory: pruned(directory, kept=14)),
}
"""Name -> exit code, and what makes it."""


def make(root: Path) -> None:
    """Write every vector below a directory, and what to expect of it."""
    for name, (_, fill) in VECTORS.items():
        shutil.rmtree(root / name, ignore_errors=True)
        fill(root / name)
    expected = {name: {"exit_code": code, "verdict": VERDICTS[code]} for name, (code, _) in VECTORS.items()}
    (root / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    make(HERE)
