"""Read the papers of PDF files.

`reader` is a kind of table. It starts `process`, a process of its own in which `worker` reads one
file after the other, so that a file on which PDFium crashes or does not end costs no other one:

    characters  the text of a page in pieces of one line, with places and fonts (PDFium)
    columns     pieces -> lines in reading order
    pages       the lines of a file without running heads and page numbers
    headings    what a heading is, and which part of a paper it begins
    front       title, authors, identifiers and abstract
    sections    the limitations and the conclusion
"""
