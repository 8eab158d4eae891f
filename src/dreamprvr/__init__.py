"""Partially relevant video retrieval."""
