"""Readers and writers of tables of papers."""
