"""Where a corpus is stored, behind one interface."""
