"""Read, highlight and render PDF files in a separate process.

pdf_files         the table of papers, which the process reads
extraction        the front matter and the sections of a file
page_text         the text of a page as pieces of lines, with positions and fonts
page_lines        pieces joined into lines in reading order, without running heads
title_page        title, authors, identifiers and abstract
passage_places    the boxes of passages on pages
highlight_writer  copies of files with highlights
page_image        pages as PNG images
"""
