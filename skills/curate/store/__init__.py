"""Stored ballots and verdicts."""
