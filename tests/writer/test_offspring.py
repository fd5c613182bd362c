"""What is known of forked children: nothing that is not certain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from otel_audit import offspring
from otel_audit.offspring import Birth, Offspring


def bear(children: Offspring, name: str, life: Callable[[Birth], object], *, wait: bool = True) -> int:
    """Fork a child that enters and lives; return its process id."""
    birth = children.reserve()
    assert birth is not None
    pid = os.fork()
    if pid == 0:
        try:
            life(birth)
        finally:
            os._exit(0)
    children.expect(name, birth)
    if wait:
        os.waitpid(pid, 0)
    return pid


def test_only_children_that_ended_without_opening_their_stream_are_silent() -> None:
    children = Offspring()
    read, write = os.pipe()

    def live(birth: Birth) -> None:
        birth.enter()
        os.close(write)
        os.read(read, 1)

    alive = bear(children, "alive", live, wait=False)
    bear(children, "silent", Birth.enter)
    bear(children, "open", lambda birth: (birth.enter(), birth.open()))
    bear(children, "killed before it could say who it is", lambda birth: None)
    assert children.silent() == ["silent"]
    os.close(write)
    os.close(read)
    os.waitpid(alive, 0)
    assert children.silent() == ["silent", "alive"]


def test_a_child_that_nobody_has_waited_for_has_ended_too() -> None:
    children = Offspring()
    pid = bear(children, "zombie", Birth.enter, wait=False)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert children.silent() == ["zombie"]
    assert os.waitpid(pid, 0)[0] == pid, "it is still there to be waited for"


def test_a_process_id_of_another_namespace_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Offspring()
    bear(children, "elsewhere", Birth.enter)
    monkeypatch.setattr(offspring, "_namespace", lambda: 1)
    assert children.silent() == []


def test_without_waitid_a_child_that_was_waited_for_is_known_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "waitid")
    children = Offspring()
    bear(children, "silent", Birth.enter)
    assert children.silent() == ["silent"]


def test_memory_stays_bounded_and_places_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offspring, "_MOST_PAGES", 1)
    monkeypatch.setattr(offspring, "_MOST_SILENT", 2)
    children = Offspring()
    places = 0
    while (birth := children.reserve()) is not None:
        children.expect(f"not yet {places}", birth)
        places += 1
    assert 100 < places < 1000
    birth = children._expected.pop("not yet 0")
    children._free.append(birth)
    for number in range(4):
        bear(children, f"child {number}", Birth.enter)
    assert children.silent() == ["child 0", "child 1"]


def test_a_program_that_never_forks_loads_nothing_for_it() -> None:
    code = "import sys, otel_audit; print('mmap' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
