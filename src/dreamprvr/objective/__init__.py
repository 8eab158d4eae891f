"""The training objective of model.md, section 7: one file a term, and their weighted sum."""
