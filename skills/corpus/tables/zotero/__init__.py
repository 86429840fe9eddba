"""Read a library of Zotero from its database."""
