"""Evaluation: metrics, the gallery that is ranked, predictions, baselines and records."""
