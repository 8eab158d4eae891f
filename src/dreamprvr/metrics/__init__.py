"""Evaluation metrics of protocol.md."""
