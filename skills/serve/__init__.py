"""/serve: a local web application for the corpus.

A module of pages defines `routes(state)`, which returns their routes, and `TAB`, their entry in the
navigation, if they have one. app.py lists these modules.
"""
