"""/curate --review: people review annotations and accept them as gold."""
