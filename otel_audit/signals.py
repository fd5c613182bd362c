"""SIGTERM's default action ends a process without running `atexit`: flush first, then let it act.

Nothing is done where the application has a handler of its own: what it does on SIGTERM (usually leave in an orderly
way) runs `atexit`, and with it the trail's own closing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["flush_on_sigterm"]


def flush_on_sigterm(flush: Callable[[], object]) -> bool:
    """Call `flush` when SIGTERM comes, then die of it; tell whether that was arranged.

    Only from the main thread, and only where SIGTERM has its default action. A second SIGTERM acts at once.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return False

    def die(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # In a thread of its own: the main thread may be in the middle of writing a record, and must finish it.
        threading.Thread(target=_flush_and_die, args=(flush,), name="otel-audit-sigterm").start()

    signal.signal(signal.SIGTERM, die)
    return True


def _flush_and_die(flush: Callable[[], object]) -> None:
    try:
        flush()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
