"""A fine-tuning run: its recipe, folder, stages and hardware."""
