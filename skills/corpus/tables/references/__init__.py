"""Reference files: .bib, .ris, .nbib and CSL-JSON, read and written.

Each format is read into items of CSL-JSON (`item`), and written from them.
"""
