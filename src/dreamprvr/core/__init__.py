"""Common to all rooms: batches, errors, files, text, locks, plugins, signals, saved models."""
