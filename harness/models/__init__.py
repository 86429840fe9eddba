"""Select, load and run the model for a task: registry, weights, pool, backends."""
