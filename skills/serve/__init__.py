"""The skill /serve: a local web application over the corpus. Its top modules are the skeleton.

Each page or group of pages is a folder with a `routes.py`: `TAB`, its entry in the navigation, and
`routes(state)`, its routes; `FEATURES` in app.py lists them.
"""
