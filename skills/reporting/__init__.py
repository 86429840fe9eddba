"""The shared parts of reports: result models, statistics, page templates and charts."""
