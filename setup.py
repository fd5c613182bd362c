"""The part that is written in C; all else is in `pyproject.toml`."""

import sys
import sysconfig
from glob import glob
from tempfile import TemporaryDirectory

from setuptools import Extension, setup

# Without it the package is whole as well: each call then takes the road in Python. So it does without a compiler, and
# where C that keeps the interpreter's lock would be slow (PyPy) or bring that lock back (free-threaded CPython).
WANTED = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

NATIVE = Extension(
    "otel_audit._native",
    sorted(glob("otel_audit/csrc/*.c")),
    depends=sorted(glob("otel_audit/csrc/*.h")),
    extra_compile_args=[] if sys.platform == "win32" else ["-fvisibility=hidden"],
    optional=True,
)

# Not `build/` in the checkout: modules that were removed since would go from there into the next wheel.
with TemporaryDirectory() as room:
    setup(
        ext_modules=[NATIVE] if WANTED else [],
        options={"build": {"build_base": room}},
    )
