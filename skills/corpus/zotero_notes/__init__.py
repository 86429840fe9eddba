"""Write annotations to Zotero as notes of its items, and delete these notes again."""
