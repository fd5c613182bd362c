"""Shipping: one shipper a sink, each with its own place in the journal, so that no sink waits for another."""

from .backoff import Backoff
from .shipper import Shipper, SinkHealth
from .source import CursorLike, Source

__all__ = ["Backoff", "CursorLike", "Shipper", "SinkHealth", "Source"]
