"""Speed measurements, and the slow implementation that they compare with."""
