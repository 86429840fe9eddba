"""Write annotations to Zotero as notes and highlights, and delete them again."""
