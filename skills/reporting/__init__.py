"""What the pages of /corpus, /curate and /evaluate share: layout, charts and statistics."""
