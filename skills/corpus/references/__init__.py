"""Reference files (.bib, .ris, .nbib, CSL-JSON) and Zotero's library, as items of CSL-JSON."""
