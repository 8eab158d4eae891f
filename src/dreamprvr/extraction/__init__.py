"""From video files to a feature file: decoding, windows of seconds, encoders."""
