"""Annotating many papers as one resumable job."""
