"""The corpus of `--demo`: 30 invented abstracts, annotated by the embedded model."""
