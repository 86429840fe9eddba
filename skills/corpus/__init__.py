"""Papers and annotations in number: tables of them, the database, search, statistics, pages."""
