"""/finetune: build training data, train a model, export it and register it."""
