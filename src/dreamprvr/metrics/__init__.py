"""Evaluation metrics of docs/protocol.md."""
