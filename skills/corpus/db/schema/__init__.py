"""The tables of the corpus database, as migrations."""
