"""What holds against the operator: signed checkpoints, keys, proofs, the trust policy, and their
verification.
"""
