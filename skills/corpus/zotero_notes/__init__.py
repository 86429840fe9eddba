"""Write annotations into Zotero as notes below its items, and remove them again."""
