"""Benchmarks as LightningDataModules, and everything that reads or writes their files."""
