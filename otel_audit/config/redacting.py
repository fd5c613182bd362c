"""From settings to what must not be written: the redactor that they describe."""

from __future__ import annotations

from ..errors import ConfigurationError
from ..redaction import Redactor, Rule, name_patterns
from ..redaction.paths import Steps, parse_path
from ..redaction.patterns import compile_pattern
from ..redaction.redactor import mask_value
from .settings import Settings

__all__ = ["make_redactor"]


def make_redactor(settings: Settings) -> Redactor:
    """Build the redactor. Keys of pseudonyms are read; keys of data subjects are not yet.

    Raises:
        ConfigurationError: a key is missing, or open to others.
    """
    rules = []
    if settings.redact_paths:
        rules.append(Rule(_read(settings.redact_paths), mask_value))
    if sealing := _seal(settings):
        rules.append(sealing)
    if pseudonyms := _name(settings):
        rules.append(pseudonyms)
    return Redactor(
        name_patterns(settings.redact, settings.redact_except),
        added_names=settings.redact,
        rules=rules,
        patterns=[compile_pattern(text) for text in settings.redact_patterns],
        allow={event: _read(paths) for event, paths in (settings.redact_allow or {}).items()},
        text=settings.redact_text,
    )


def _read(paths: tuple[str, ...]) -> tuple[Steps, ...]:
    return tuple(parse_path(path) for path in paths)


def _seal(settings: Settings) -> Rule | None:
    if not settings.sealed:
        return None
    if settings.subject_keys is None:
        raise ConfigurationError("sealed fields need keys: give subject_keys, a directory, or leave sealed out")
    from ..redaction.sealing import Sealing
    from ..redaction.subject_keys import SubjectKeys

    keys = SubjectKeys(settings.subject_keys)
    try:
        keys.check()
    except OSError as error:
        raise ConfigurationError(f"subject_keys: {settings.subject_keys}: {error.strerror or error}") from error
    return Rule(_read(settings.sealed), Sealing(keys, parse_path(settings.subject_path)))


def _name(settings: Settings) -> Rule | None:
    if not settings.pseudonyms:
        return None
    path = settings.pseudonym_key_file
    if path is None:
        raise ConfigurationError("pseudonyms need a key: give pseudonym_key_file, or leave pseudonyms out")
    from ..redaction.pseudonyms import Pseudonyms

    try:
        return Rule(_read(settings.pseudonyms), Pseudonyms(path))
    except OSError as error:
        raise ConfigurationError(
            f"pseudonym_key_file: {path}: {error.strerror or error}; make one with `otel-audit keys pseudonym`"
        ) from error
