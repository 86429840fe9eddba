"""Which model serves a task: registry, weights, pool, backends."""
