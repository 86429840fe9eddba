"""The pages of jobs: those that run, live, and all that were recorded."""
