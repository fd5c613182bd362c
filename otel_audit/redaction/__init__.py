"""What must not be written: it is masked, replaced by a pseudonym or encrypted before the hash.

* `names`: names of members that say that they hold a secret
* `text`: the cheap test that finds most lines to be free of secrets; `forms`: what secrets look like in text
* `patterns`: regular expressions of the user's own
* `paths`: dotted paths that say where a rule applies
* `pseudonyms`: keyed pseudonyms
* `subject_keys`, `sealing`: values encrypted under a key for each person, and the keys, which can be destroyed
* `redactor`: all of them applied to a record
"""

from __future__ import annotations

from .names import DEFAULT_SECRET_NAMES, MASK, name_patterns, plain_name
from .redactor import Redactor, Rule

__all__ = ["DEFAULT_SECRET_NAMES", "MASK", "Redactor", "Rule", "name_patterns", "plain_name"]
