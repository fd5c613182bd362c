"""Secrets of sinks, from files and from the environment: never from a URL, never into a message."""

from __future__ import annotations

import os

from otel_audit.errors import ConfigurationError

from .http import check_headers

__all__ = ["read_headers", "read_secret"]

_MAX_SIZE = 65_536


def read_secret(path: str | None, variable: str, option: str) -> str | None:
    """Return what the file holds (its last newline aside), else the variable's value, else None.

    The file is read anew each time, so that a renewed secret serves the next request.

    Raises:
        ConfigurationError: the file cannot be read, is empty or not text.
    """
    if path is None:
        return os.environ.get(variable) or None
    try:
        with open(path, encoding="utf-8") as file:
            secret = file.read(_MAX_SIZE).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{option} {path}: {getattr(error, 'strerror', None) or 'is not text'}") from error
    if not secret:
        raise ConfigurationError(f"{option} {path}: the file is empty")
    return secret


def read_headers(path: str | None) -> dict[str, str]:
    """Return the headers of a file that holds one `Name: value` a line; none without a file.

    Raises:
        ConfigurationError: the file cannot be read, or a line is no header. The message holds no value.
    """
    text = read_secret(path, "", "headers_file") if path else None
    headers: dict[str, str] = {}
    for number, line in enumerate((text or "").splitlines(), 1):
        name, colon, value = line.partition(":")
        if line.strip():
            if not colon:
                raise ConfigurationError(f"headers_file {path}, line {number}: write Name: value")
            headers[name.strip()] = value.strip()
    check_headers(headers, f"headers_file {path}")
    return headers
