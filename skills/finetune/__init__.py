"""From annotations to a model: the training data, and what is made of it."""
