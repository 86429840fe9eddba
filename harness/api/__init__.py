"""The interface for plugin authors, which `harness` exports."""
