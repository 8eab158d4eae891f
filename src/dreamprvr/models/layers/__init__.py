"""Building blocks that several models share (docs/model.md, sections 2, 3 and 5)."""
