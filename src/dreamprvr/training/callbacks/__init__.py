"""Callbacks of every run: checkpoints, resuming, finite numbers, results, predictions."""
