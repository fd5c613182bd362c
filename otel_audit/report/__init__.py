"""A verifier's result as one HTML file, for somebody who has never seen this package.

    report = verify(["/var/lib/shop/audit"], digests=True)
    page = build(report, Given(policy=policy))

The page needs no network, says in words what was found, and checks the records that it carries again by itself.
"""

from __future__ import annotations

from .inputs import Given
from .page import MARK, build

__all__ = ["MARK", "Given", "build"]
