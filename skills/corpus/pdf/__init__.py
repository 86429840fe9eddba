"""PDF files as a table of papers, read by PDFium in a process of its own.

pdf_files   the table; it starts the process again if a file ends it
extraction  front matter and sections of a file, in the process
page_text   the text of a page in pieces of a line, with places and fonts
page_lines  pieces -> lines in reading order, without running heads and page numbers
title_page  title, authors, identifiers and abstract
"""
