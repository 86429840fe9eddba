"""A fine-tuning run: recipe, run folder, stages, pipeline."""
