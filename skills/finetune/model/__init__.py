"""Find, check and load the base and the adapter, and compute the resources of a run."""
