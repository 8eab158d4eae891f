"""Common to all parts: batches, errors, files, text, locks, processes, signals, saved models."""
