"""Write annotations to Zotero as notes and highlights, and read people's highlights."""
