"""Where a library keeps its vectors: one interface, the embedded engine, and a server."""
