"""Run by the interpreter before the program, if its directory is on PYTHONPATH: `otel-audit run` puts it there.

It starts the trail and then runs the `sitecustomize` that it stands in the way of, if there is one.
"""

import importlib
import importlib.util
import os
import sys


def _run_the_next() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    own = sys.modules.pop("sitecustomize", None)
    path = list(sys.path)
    sys.path[:] = [each for each in path if os.path.abspath(each or os.curdir) != here]
    try:
        if importlib.util.find_spec("sitecustomize") is not None:
            importlib.import_module("sitecustomize")
    finally:
        sys.path[:] = path
        if own is not None:
            sys.modules.setdefault("sitecustomize", own)


def _start() -> None:
    try:
        from otel_audit.errors import ConfigurationError
        from otel_audit.startup import start
    except ImportError as error:  # a child process in an environment of its own
        os.write(2, f"otel-audit: {sys.executable} runs without an audit trail: {error}\n".encode())
        return
    try:
        start()
    except ConfigurationError as error:
        os.write(2, f"otel-audit: {error}\n".encode("utf-8", "backslashreplace"))
        os._exit(2)  # SystemExit would be a fatal error of the interpreter here, and nothing else has run yet


_start()
_run_the_next()
