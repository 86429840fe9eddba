"""Read and write reference files (.bib, .ris, .nbib, CSL-JSON), and read Zotero's library."""
