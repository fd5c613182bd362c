"""What the commands about persons have in common: settings, keys of data subjects, keys of pseudonyms."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_audit.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_audit.config.settings import Settings
    from otel_audit.redaction.pseudonyms import PseudonymKey
    from otel_audit.redaction.subject_keys import SubjectKeys

__all__ = ["open_subject_keys", "read_pseudonym_keys", "read_settings"]


def read_settings(config: str | None) -> Settings:
    """Return the settings of this environment, or of a YAML file in it.

    Raises:
        ConfigurationError: they are not usable.
    """
    from otel_audit.config.resolving import resolve

    return resolve({"config": config} if config else {}, os.environ).settings


def open_subject_keys(directory: str | None, settings: Settings) -> SubjectKeys:
    """Return the keys in a directory, or in that of the settings.

    Raises:
        ConfigurationError: there is none. OSError: it cannot be read.
    """
    from otel_audit.redaction.subject_keys import SubjectKeys

    place = directory or settings.subject_keys
    if place is None:
        raise ConfigurationError("give --keys=<directory>, the setting subject_keys of the application")
    if not os.path.isdir(place):
        raise ConfigurationError(f"{place} is no directory")
    keys = SubjectKeys(place)
    keys.check()
    return keys


def read_pseudonym_keys(path: str | None, settings: Settings) -> tuple[PseudonymKey, ...]:
    """Return the keys of a file, or of that of the settings; none if neither names one.

    Raises:
        ConfigurationError: the file holds no usable key. OSError: it cannot be read.
    """
    from otel_audit.redaction.pseudonyms import read_keys

    place = path or settings.pseudonym_key_file
    return () if place is None else read_keys(place)
