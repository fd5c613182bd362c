"""What holds against the operator: signed checkpoints, keys, proofs, the trust policy, and their
verification.
"""

from __future__ import annotations

from typing import Final

CHECKPOINTS: Final = "checkpoints"
"""Directory in a journal where each stream's last signed checkpoint is kept, as `<stream>.checkpoint`."""
