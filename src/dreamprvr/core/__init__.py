"""Common to all rooms: batches, errors, files, text, locks, processes, signals, models, plugins."""
