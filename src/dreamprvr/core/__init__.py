"""Common to all parts: batches, errors, files, text, locks, processes, saved models, plugins."""
