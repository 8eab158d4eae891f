"""The published optimiser and its schedule (model.md, section 8)."""
