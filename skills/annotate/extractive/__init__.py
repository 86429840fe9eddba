"""Extractive wording: passages of the abstract in place of the words that a model drafts."""
