"""Read and write reference files, and read Zotero libraries.

.bib, .ris, .nbib and CSL-JSON files are read; all of these formats except .nbib are written.
"""
