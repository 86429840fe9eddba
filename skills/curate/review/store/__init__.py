"""What a review stores: a journal of decisions, the gold table, and leases."""
