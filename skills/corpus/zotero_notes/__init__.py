"""Write annotations to Zotero as notes and highlights, and read the highlights of people."""
