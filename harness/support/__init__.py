"""Small general helpers that know nothing of the rest."""
