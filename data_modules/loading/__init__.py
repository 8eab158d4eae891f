"""Turn tables and features into batches."""
