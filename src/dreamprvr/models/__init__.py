"""Models for partially relevant video retrieval, in plain torch, each in a folder of its own."""
