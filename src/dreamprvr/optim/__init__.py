"""The published optimiser and its schedule (docs/model.md, section 8)."""
