"""What a plugin author imports, by way of `harness`."""
