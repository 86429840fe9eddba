"""Whether two papers are one: identifiers, titles, authors and years, without a database."""
