"""Review annotations in the browser: on the functions of `/curate --review`."""
