"""The shared parts of reports: results, statistics, page layout and charts."""
