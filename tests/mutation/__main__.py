"""Mutation testing of the verifier: are its tests able to fail?

    python -m tests.mutation                       a sample of 400 mutants, the same in every run
    python -m tests.mutation --sample 0            all of them: hours
    python -m tests.mutation --only otel_audit/integrity/policy.py --sample 0
    python -m tests.mutation --only otel_audit/verify/bulk.py --line 151 --trust --sample 0

Each mutant is a module with one small wrong change, in a process of its own that runs the tests of its room until one
fails. Who survives is either the same program in other words, or a test that is missing: `survivors.md` says which.
No part of the default run.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401 - imported once, not once a mutant
import hypothesis
import orjson  # noqa: F401
import pytest

from tests.mutation.mutants import Mutant, mutants_of

_MODULES = (
    "otel_audit/integrity/checkpoint.py",
    "otel_audit/integrity/epochs.py",
    "otel_audit/integrity/heads.py",
    "otel_audit/integrity/marking.py",
    "otel_audit/integrity/merkle.py",
    "otel_audit/integrity/note.py",
    "otel_audit/integrity/policy.py",
    "otel_audit/integrity/recordsign.py",
    "otel_audit/integrity/seals.py",
    "otel_audit/integrity/statements.py",
    "otel_audit/integrity/verdict.py",
    "otel_audit/integrity/verification.py",
    *sorted(map(str, Path("otel_audit/verify").glob("*.py"))),
)
_NOT_JUDGING = {"build.py", "following.py", "__init__.py"}
_INTEGRITY = ("test_verification", "test_epochs", "test_seventy_cases", "test_signed_process", "test_commands")
_VERIFY = ("test_bulk", "test_findings", "test_tampering_cases", "test_envelopes", "test_hostile_input", "test_far_end")
_OWN: dict[str, tuple[str, ...]] = {
    "checkpoint": ("test_note", "test_checkpointer", "test_verification"),
    "epochs": ("test_epochs", "test_epoch_game"),
    "marking": ("test_marks",),
    "merkle": ("test_merkle", "test_proof"),
    "note": ("test_note",),
    "heads": ("test_verification", "test_second_key", "test_note"),
    "recordsign": ("test_record_signatures",),
    "policy": ("test_policy", "test_verification", "test_commands"),
}


def main() -> int:
    """Run the mutants, print who survives and the score; 1 if a module's tests fail as they are."""
    options = _options()
    modules = options.only or [path for path in _MODULES if Path(path).name not in _NOT_JUDGING]
    every = [mutant for path in modules for mutant in mutants_of(path, Path(path).read_text())]
    chosen = every = [each for each in every if not options.line or each.line in options.line]
    if options.sample and options.sample < len(every):
        chosen = sorted(random.Random(options.seed).sample(every, options.sample), key=lambda each: each[:2])
    print(f"{len(chosen)} of {len(every)} mutants in {len(modules)} modules, seed {options.seed}", flush=True)
    hypothesis.settings.register_profile(
        "mutation", derandomize=True, database=None, max_examples=20, deadline=None, phases=[hypothesis.Phase.generate]
    )
    if not options.trust and not _pass_unchanged(modules):
        return 1
    survivors, counts = [], Counter[str]()
    for mutant in chosen:
        verdict = _run(_tests_of(mutant.path), mutant, options.timeout)
        counts[verdict] += 1
        if verdict == "survived":
            survivors.append(mutant)
            print(f"{mutant.path}:{mutant.line}: {mutant.change} (mutant {mutant.number})", flush=True)
    done = sum(counts.values())
    print(f"{done - counts['survived']} of {done} killed ({dict(counts)})")
    if options.json:
        listed = [{"path": each.path, "line": each.line, "change": each.change} for each in survivors]
        options.json.write_text(json.dumps({"counts": counts, "survivors": listed}, indent=1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="FILE", help="these modules")
    parser.add_argument("--line", nargs="+", type=int, metavar="N", help="mutants of these lines, with --only")
    parser.add_argument("--sample", type=int, default=400, help="how many mutants; 0 for all (%(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the sample (%(default)s)")
    parser.add_argument("--timeout", type=int, default=180, help="seconds after which a mutant counts as killed")
    parser.add_argument("--trust", action="store_true", help="do not run the tests on the unchanged modules first")
    parser.add_argument("--json", type=Path, help="file for the result")
    return parser.parse_args()


def _tests_of(path: str) -> list[str]:
    """The tests that may kill a module's mutants: those of its own first."""
    room, name = ("integrity", _INTEGRITY) if "/integrity/" in path else ("verify", _VERIFY)
    own = _OWN.get(Path(path).stem, name) if room == "integrity" else name
    tests = [f"tests/{room}/{each}.py" for each in own]
    if Path(path).name in {"controls.py", "evidence.py", "joining.py", "notes.py", "trace.py"}:
        signed = ("test_marks", "test_record_signatures", "test_round_trip", "test_seventy_cases")
        tests = [*(f"tests/integrity/{each}.py" for each in signed), *tests]
    if Path(path).name == "records.py":
        tests = ["tests/integrity/test_commands.py", *tests]
    return tests


def _pass_unchanged(modules: Sequence[str]) -> bool:
    for tests in sorted({tuple(_tests_of(path)) for path in modules}):
        began = time.monotonic()
        if _run(list(tests), None, 1800) != "survived":
            print(f"these tests fail as they are: {' '.join(tests)}")
            return False
        print(f"{time.monotonic() - began:.0f} s: {' '.join(tests)}", flush=True)
    return True


def _run(tests: list[str], mutant: Mutant | None, timeout: int) -> str:
    """Run tests in a child, with the mutant in its module's place: `killed`, `survived` or `hung`."""
    child = os.fork()
    if child == 0:
        os._exit(_attempt(tests, mutant, timeout))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def _attempt(tests: list[str], mutant: Mutant | None, timeout: int) -> int:
    signal.alarm(timeout)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not server"]
    try:
        return int(pytest.main([*arguments, "--hypothesis-profile=mutation", *tests]))
    except BaseException:  # a mutant may do anything
        return 1


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.path.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, os.path.abspath(self._mutant.path), loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self._mutant.tree(), self._mutant.path, "exec"), module.__dict__)


if __name__ == "__main__":
    sys.exit(main())
