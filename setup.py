"""The part that is written in C; all else is in `pyproject.toml`."""

from setuptools import Extension, setup

# Without a compiler the package is whole as well: each call then takes the road in Python.
setup(ext_modules=[Extension("otel_audit._native", ["otel_audit/_native.c"], optional=True)])
