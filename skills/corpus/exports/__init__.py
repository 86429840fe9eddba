"""Save annotations to folders that people also edit: vaults, datasets, copies of PDF files."""
