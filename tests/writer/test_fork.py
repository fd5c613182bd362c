"""Forks, threads, tasks: every process a stream of its own, linked to its parent; no deadlock, nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.writer.trails import (
    ROOT,
    codes,
    data_of,
    events,
    named,
    open_trail,
    records,
    run_python,
    verified,
)


def opened(directory: Path) -> dict[str, dict[str, object]]:
    """Return what each stream's first record says, by stream."""
    return {record["stream"]: record["data"] for record in named(directory, "audit.stream.open")}


PROCESSES = """
import os, sys, threading
from pathlib import Path
from tests.writer.trails import open_trail

directory, processes, each = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def work(trail, by):
    for n in range(each):
        trail.record("a.b", {}, {"by": by, "n": n})

def threads(trail, name):
    workers = [threading.Thread(target=work, args=(trail, f"{name}/{t}")) for t in range(8)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()

with open_trail(directory, durability=sys.argv[4], segment_bytes=50_000) as trail:
    trail.record("a.parent")
    busy = threading.Event()
    def chatter():
        while not busy.is_set():
            trail.record("a.chatter")
    noise = [threading.Thread(target=chatter) for _ in range(3)]
    for thread in noise: thread.start()
    children = []
    for p in range(processes):
        pid = os.fork()          # while three threads are in the middle of records
        if pid == 0:
            try:
                threads(trail, p)
                trail.close()
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    busy.set()
    for thread in noise: thread.join()
    assert trail.stream.lost == 0
"""


@pytest.mark.parametrize("durability", ["process", "relaxed", "always"])
def test_eight_forked_processes_of_eight_threads_keep_every_stream_whole(tmp_path: Path, durability: str) -> None:
    each = 5 if durability == "always" else 25
    run_python(PROCESSES, tmp_path, 8, each, durability)
    counted = Counter((r["data"]["by"], r["data"]["n"]) for r in named(tmp_path, "a.b"))
    assert len(counted) == 8 * 8 * each
    assert set(counted.values()) == {1}
    first = opened(tmp_path)
    assert len(first) == 9
    forks = {record["data"]["child"]: record for record in named(tmp_path, "audit.stream.fork")}
    children = {stream: data for stream, data in first.items() if "parent" in data}
    assert set(children) == set(forks)
    for stream, data in children.items():
        parent = data["parent"]
        assert parent["stream"] == forks[stream]["stream"]  # type: ignore[index]
        assert forks[stream]["seq"] > parent["seq"]  # type: ignore[index]
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, set())


def test_a_child_that_logs_nothing_has_no_stream(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert len(opened(tmp_path)) == 1
    (announced,) = data_of(tmp_path, "audit.stream.fork")
    (closing,) = data_of(tmp_path, "audit.stream.close")
    assert closing["never_opened"] == [announced["child"]]
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, {"CHILD_SILENT"})


def test_a_child_whose_stream_was_removed_is_missed_though_another_one_logged_nothing(tmp_path: Path) -> None:
    """The file is gone before the parent closes: what the child said in memory is not."""
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        for logs in (True, False):
            pid = os.fork()
            if pid == 0:
                if logs:
                    trail.record("a.child")
                    trail.close()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        for path in tmp_path.glob("*.jsonl"):
            if trail.stream.id not in path.name:
                path.unlink()
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"CHILD_NOT_FOUND", "CHILD_SILENT"})
    (missed,) = [found for found in report.findings.listed if found.code == "CHILD_NOT_FOUND"]
    assert data_of(tmp_path, "audit.stream.fork")[0]["child"] in missed.detail


def test_of_a_child_that_outlives_its_parents_stream_nothing_is_said(tmp_path: Path) -> None:
    read, write = os.pipe()
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)  # until the parent is done
            trail.record("a.child")
            trail.close()
            os._exit(0)
        os.close(read)
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"CHILD_NOT_FOUND"})
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, set())


def test_a_child_that_became_another_program_and_ended_had_no_stream(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        subprocess.run(["true"], preexec_fn=os.getpid, check=True)  # which makes it fork
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, {"CHILD_SILENT"})


def test_workers_of_a_pool_that_record_nothing_alarm_nobody(tmp_path: Path) -> None:
    code = """
import multiprocessing, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12, of every fork beside threads
from tests.writer.trails import open_trail
with open_trail(Path(sys.argv[1])) as trail:
    trail.record("a.b")
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        assert pool.map(abs, range(-20, 0), chunksize=1) == list(range(20, 0, -1))
        pool.close()
        pool.join()
"""
    run_python(code, tmp_path)
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, {"CHILD_SILENT"})
    (found,) = report.findings.listed
    assert found.count == len(data_of(tmp_path, "audit.stream.fork")) >= 20


def test_the_child_of_a_child_that_recorded_nothing_is_not_taken_for_it(tmp_path: Path) -> None:
    """As a daemon is made: its stream names the process that recorded, not the one in between."""
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0:
                trail.record("a.daemon")
                trail.close()
                os._exit(0)
            os.wait()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, {"CHILD_SILENT"})
    assert len(named(tmp_path, "a.daemon")) == 1


def test_grandchildren_follow_their_parents(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from tests.writer.trails import open_trail
with open_trail(Path(sys.argv[1])) as trail:
    for depth in range(4):
        trail.record("a.b", {}, {"depth": depth})
        if pid := os.fork():
            os.waitpid(pid, 0)
            break
"""
    run_python(code, tmp_path)
    first = opened(tmp_path)
    assert len(first) == 4
    parents = [data["parent"]["stream"] for data in first.values() if "parent" in data]  # type: ignore[index]
    assert len(set(parents)) == 3
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (0, {"CHILD_SILENT"})


def test_a_fork_from_a_thread(tmp_path: Path) -> None:
    code = """
import os, sys, threading
from pathlib import Path
from tests.writer.trails import open_trail
trail = open_trail(Path(sys.argv[1])).__enter__()
def fork():
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            trail.record("a.child")
            trail.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        trail.record("a.parent")
threads = [threading.Thread(target=fork) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
trail.close()
"""
    run_python(code, tmp_path)
    found = Counter(events(tmp_path))
    assert (found["a.child"], found["a.parent"], found["audit.stream.open"]) == (20, 20, 21)
    assert verified(tmp_path).exit_code == 0


def test_the_keeper_of_a_child_works(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from tests.writer.trails import open_trail
with open_trail(Path(sys.argv[1]), heartbeat=0.05) as trail:
    trail.record("a.parent")
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
    else:
        trail.record("a.child")
        deadline = time.monotonic() + 5
        while trail.stream.store.durable < trail.stream.store.written or trail.stream.records < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        trail.close()
        os._exit(0)
"""
    run_python(code, tmp_path)
    child = named(tmp_path, "a.child")[0]["stream"]
    assert len([beat for beat in named(tmp_path, "audit.heartbeat") if beat["stream"] == child]) >= 2
    assert verified(tmp_path).exit_code == 0


MULTIPROCESSING = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from otel_audit import audit, configure
configure(journal=os.environ["JOURNAL"], sinks=[], heartbeat=0)

def work(n):
    audit.record("a.b", data={"n": n})
    return n

if __name__ == "__main__":
    audit.record("a.parent")
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        assert sorted(pool.map(work, range(30))) == list(range(30))
    process = context.Process(target=work, args=(30,))
    process.start()
    process.join()
    assert process.exitcode == 0
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(MULTIPROCESSING)
    journal = tmp_path / "journal"
    environment = {**os.environ, "JOURNAL": str(journal), "PYTHONPATH": ROOT}
    subprocess.run([sys.executable, program, method], check=True, timeout=60, env=environment)
    assert sorted(record["data"]["n"] for record in named(journal, "a.b")) == list(range(31))
    report = verified(journal)
    assert codes(report) <= {"CHILD_NOT_FOUND", "CHILD_SILENT"}, "a worker may have got no work"
    assert report.exit_code == (3 if "CHILD_NOT_FOUND" in codes(report) else 0)


GUNICORN = """
import logging, os
from otel_audit import AuditHandler, audit, configure
configure(journal=os.environ["JOURNAL"], sinks=[], heartbeat=0)
log = logging.getLogger("app")
log.addHandler(AuditHandler())
log.setLevel("INFO")
log.info("loaded before the fork")

def app(environ, start_response):
    log.info("request", extra={"path": environ["PATH_INFO"], "pid": os.getpid()})
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_gunicorn_with_preload(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "web.py").write_text(GUNICORN)
    journal = tmp_path / "journal"
    arguments = ["-m", "gunicorn", "--preload", "-w", "3", "--threads", "4", "-b", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, *arguments, "web:app"],
        cwd=tmp_path,
        env={**os.environ, "JOURNAL": str(journal), "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = ""
        while "Listening at" not in said:
            said = process.stderr.readline()
            assert said, "gunicorn ended"
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        url = said.split("Listening at: ")[1].split(" ")[0]

        def get(n: int) -> bytes:
            with urllib.request.urlopen(f"{url}/{n}", timeout=10) as answer:
                return bytes(answer.read())

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(get, range(120))) == {b"ok"}
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()  # type: ignore[union-attr]
    requests = [record for record in named(journal, "log.record") if record["message"] == "request"]
    assert sorted(int(record["data"]["path"][1:]) for record in requests) == list(range(120))
    first = opened(journal)
    workers = {record["stream"] for record in requests}
    (master,) = {record["stream"] for record in named(journal, "log.record")} - workers
    assert all(first[worker]["parent"]["stream"] == master for worker in workers)  # type: ignore[index]
    report = verified(journal)
    assert codes(report) <= {"CHILD_SILENT"}
    assert report.exit_code == 0


def test_threads_each_get_their_own_place(tmp_path: Path) -> None:
    receipts: list[tuple[str, int | None]] = []
    with open_trail(tmp_path) as trail, ThreadPoolExecutor(8) as pool:
        receipts += [(r.stream, r.seq) for r in pool.map(lambda n: trail.record("a.b", {}, {"n": n}), range(800))]
    assert len(set(receipts)) == 800
    assert {r["data"]["n"] for r in named(tmp_path, "a.b")} == set(range(800))
    assert verified(tmp_path).exit_code == 0


def test_tasks_of_an_event_loop(tmp_path: Path) -> None:
    async def task(n: int) -> None:
        for _ in range(5):
            trail.record("a.b", {}, {"n": n})
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(task(n) for n in range(50)))

    with open_trail(tmp_path) as trail:
        asyncio.run(main())
    assert Counter(r["data"]["n"] for r in named(tmp_path, "a.b")) == Counter(list(range(50)) * 5)
    assert verified(tmp_path).exit_code == 0


def test_a_child_does_not_release_the_parents_lock(tmp_path: Path) -> None:
    """Else a third process would take the parent's stream for a dead one's."""
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        with open_trail(tmp_path) as other:
            other.record("a.other")
        trail.record("a.c")
    assert [data["previous"] for data in data_of(tmp_path, "audit.stream.open")] == [[], []]


def test_a_program_that_was_started_does_not_keep_a_dead_stream_alive(tmp_path: Path) -> None:
    """The lock must not be inherited: a long-lived grandchild would keep its parent's stream from being declared."""
    code = """
import os, subprocess, sys
from pathlib import Path
from tests.writer.trails import open_trail
trail = open_trail(Path(sys.argv[1])).__enter__()
trail.record("a.b")
print(subprocess.Popen(["sleep", "30"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
sys.stdout.flush()
os._exit(0)
"""
    pid = int(run_python(code, tmp_path).stdout)
    try:
        with open_trail(tmp_path) as trail:
            trail.record("a.b")
        assert len(data_of(tmp_path, "audit.stream.open")[-1]["previous"]) == 1
    finally:
        os.kill(pid, signal.SIGKILL)
    assert len(records(tmp_path)) == 5


SIGNALLED = """
import os, signal, sys
from pathlib import Path

os.register_at_fork(before=lambda: signalling and os.kill(os.getpid(), signal.SIGUSR1))  # runs last, for it is first

from tests.writer.trails import open_trail

signalling = False
with open_trail(Path(sys.argv[1])) as trail:
    trail.record("a.before")
    signal.signal(signal.SIGUSR1, lambda *_: trail.record("a.handler"))
    signalling = True
    child = os.fork()
    signalling = False
    if child == 0:
        trail.record("a.child")
        trail.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    trail.record("a.behind")
"""


def test_a_signal_handler_that_logs_while_its_thread_forks_waits_for_nobody(tmp_path: Path) -> None:
    run_python(SIGNALLED, tmp_path)
    heard = events(tmp_path)
    assert [heard.count(f"a.{name}") for name in ("before", "handler", "child", "behind")] == [1, 1, 1, 1]
    assert verified(tmp_path).exit_code == 0


INTERRUPTED = """
import os, sys
from pathlib import Path
from otel_audit import forking
from tests.writer.trails import open_trail

def interrupt():
    raise KeyboardInterrupt

with open_trail(Path(sys.argv[1])) as trail:
    trail.record("a.before")
    new_stream_id, forking.new_stream_id = forking.new_stream_id, interrupt
    sys.unraisablehook = lambda unraisable: setattr(forking, "new_stream_id", new_stream_id)
    child = os.fork()
    if child == 0:
        trail.record("a.child")
        trail.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    trail.record("a.behind")
"""


def test_ctrl_c_before_a_fork_leaves_no_child_in_its_parents_stream(tmp_path: Path) -> None:
    run_python(INTERRUPTED, tmp_path)
    (before,), (child,), (behind,) = (named(tmp_path, f"a.{name}") for name in ("before", "child", "behind"))
    assert child["stream"] != before["stream"] == behind["stream"]
    assert verified(tmp_path).exit_code == 0


FORKED_IN_WAIT = """
import os, signal, sys, threading
from pathlib import Path
from tests.writer.trails import open_trail

with open_trail(Path(sys.argv[1])) as trail:
    trail.record("a.before")
    children = []
    def fork(*_):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        free.set()
        children.append(os.fork())
    signal.signal(signal.SIGUSR1, fork)
    free, held = threading.Event(), threading.Event()
    def hold():
        with trail.stream._lock:  # and leaves it to the fork to write what waits
            held.set()
            free.wait(10)
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    trail.record("a.waited")  # sleeps until the handler, in which it is forked
    if children == [0]:
        trail.record("a.child")
        trail.close()
        os._exit(0)
    holder.join()
    assert os.waitpid(children[0], 0)[1] == 0
"""


def test_a_process_forked_by_a_signal_handler_in_a_wait_for_a_writer_goes_on(tmp_path: Path) -> None:
    run_python(FORKED_IN_WAIT, tmp_path)
    heard = events(tmp_path)
    assert [heard.count(f"a.{name}") for name in ("before", "waited", "child")] == [1, 1, 1]
    assert verified(tmp_path).exit_code == 0


FORKING_THREADS = """
import os, sys, threading, warnings
from pathlib import Path
warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12, of every fork beside threads
from tests.writer.trails import open_trail

with open_trail(Path(sys.argv[1])) as trail:
    trail.record("a.before")
    def fork():
        for _ in range(20):
            child = os.fork()
            if child == 0:
                trail.record("a.child")
                trail.close()
                os._exit(0)
            os.waitpid(child, 0)
            trail.record("a.parent")
    threads = [threading.Thread(target=fork) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_threads_that_fork_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    done = run_python(FORKING_THREADS, tmp_path)
    assert done.stderr == ""
    heard = events(tmp_path)
    assert [heard.count(f"a.{name}") for name in ("before", "parent", "child")] == [1, 80, 80]
    assert verified(tmp_path).exit_code == 0
