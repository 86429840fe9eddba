"""Read and write references (.bib, .ris, .nbib, CSL-JSON), and read Zotero's library."""
