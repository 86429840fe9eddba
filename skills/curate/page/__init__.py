"""The report of /curate as one HTML page that needs nothing else."""
