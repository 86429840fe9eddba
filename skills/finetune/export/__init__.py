"""Merge, convert, quantize and check a trained model."""
