"""Records that a sink refuses for what they are: found by halving, put aside, never in the way of those behind them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import RecordLost
from ..notices import notice
from ..record import Control
from ..redaction.text import mask_text
from ..sinks.base import RecordsRefused, SealedLine, Sink
from .source import Source

__all__ = ["Refusals"]

_REPORT_INTERVAL: Final = 60.0
_MOST_REASON: Final = 512


class Refusals:
    """Sends batches to one sink, and puts into quarantine what it will never take.

    Args:
        source: keeps what is put aside.
        sink: the sink's name.
        report: told, at most once a minute, that records were put aside: (event name, data). Each of them would be
            one more record that the sink may refuse.
    """

    def __init__(self, source: Source, sink: str, report: Callable[[str, dict[str, Any]], object] | None) -> None:
        self.count = 0
        self._source = source
        self._sink = sink
        self._report = report
        self._reported_at = float("-inf")
        self._aside: set[str] = set()

    def send(self, sink: Sink, batch: Sequence[SealedLine]) -> None:
        """Send a batch; where records are refused for what they are, put those aside and send the rest.

        Raises:
            SinkUnavailable: the batch has to be sent again.
            OSError: a refused record could not be put aside.
        """
        self._send(sink, batch)
        self._aside.clear()

    def _send(self, sink: Sink, batch: Sequence[SealedLine]) -> None:
        try:
            sink.send(batch)
        except RecordsRefused as refusal:
            if refusal.ids is not None:
                for one in batch:
                    if one.id in refusal.ids:
                        self._put_aside(one, refusal)
            elif len(batch) == 1:
                self._put_aside(batch[0], refusal)
            else:
                middle = len(batch) // 2
                self._send(sink, batch[:middle])
                self._send(sink, batch[middle:])

    def _put_aside(self, one: SealedLine, refusal: RecordsRefused) -> None:
        if one.id in self._aside:  # the batch is sent once more, because the sink went down behind this record
            return
        said = mask_text(str(refusal))
        self._source.quarantine(self._sink, one.line, said)
        self._aside.add(one.id)
        self.count += 1
        notice(f"sink {self._sink} refuses record {one.id}: {said}; it is in quarantine", subject=self._sink)
        now = time.monotonic()
        if self._report is None or now - self._reported_at < _REPORT_INTERVAL:
            return
        self._reported_at = now
        reason = said[:_MOST_REASON]
        details = {"cause": "record refused", "sink": self._sink, "record": one.id, "reason": reason}
        with contextlib.suppress(RecordLost):  # counted there, and told by a gap record
            self._report(Control.DEGRADED, {**details, "refused": self.count})
