"""otel-audit: existing logging calls become audit records that nobody can quietly change, and that arrive."""

__version__ = "0.1.0"
