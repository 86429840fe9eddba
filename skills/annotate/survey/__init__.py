"""Annotating the papers on a topic, and the survey made of them."""
