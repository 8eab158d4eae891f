"""Evaluation: metrics, gallery, predictions, moments, baselines and records."""
