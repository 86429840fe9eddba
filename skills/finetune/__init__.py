"""The skill /finetune: training data, training, export and registration of a model."""
