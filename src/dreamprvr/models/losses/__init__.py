"""Loss terms that several models share, as pure functions (docs/model.md, section 7)."""
