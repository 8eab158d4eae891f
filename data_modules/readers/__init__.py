"""Read what benchmarks publish: captions, tables, annotations and features."""
