"""Read PDF files as a table of papers, by PDFium in a separate process.

pdf_files   the table; it starts the process again if a file crashes it
extraction  front matter and sections of a file, in that process
page_text   the text of a page as pieces of lines, with positions and fonts
page_lines  pieces joined to lines in reading order, without running heads and page numbers
title_page  title, authors, identifiers and abstract
"""
