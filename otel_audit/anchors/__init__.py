"""Anchors: one file for each kind of place that keeps checkpoints where the log's owner cannot rewrite them.

An anchor implements `otel_audit.integrity.publishing.Anchor`; `otel_audit.config.schemes` says which URL names it. It
gets a checkpoint at its own pace, in a thread of its own, and knows nothing of journals, records or back-off.
"""
