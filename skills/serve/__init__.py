"""The skill /serve: a local web application for the corpus.

Each module with pages defines a function `routes(state)`, which returns the routes of the pages. If
the pages have a tab in the navigation, the module also defines `TAB`: the path and the label of the
tab. server.py lists these modules.
"""
