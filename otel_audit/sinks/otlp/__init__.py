"""OTLP, over HTTP or gRPC: `otlp+https://collector:4318`, `otlp+grpcs://collector:4317`, or `otlp:`."""

from .sink import OTLPSink

__all__ = ["OTLPSink"]
