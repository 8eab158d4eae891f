"""Make benchmarks: the generated one, and stand-ins for features that cannot be had."""
