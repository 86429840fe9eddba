"""Render the pages: templates in the folder of each feature, on those of skills/reporting."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from skills.reporting.page import environment

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

FOLDER = Path(__file__).parent
"""Templates are named by their path in this folder: "browse/papers.html"."""


def page(
    request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **context: Any
) -> HTMLResponse:
    """Return a page of a template that extends `layout.html`.

    Args:
        context: the variables of the template; `title` is required.
    """
    tabs: Mapping[str, str] = request.app.state.tabs
    path = request.url.path
    current = next((address for address in tabs if path.startswith(address)), "")
    shared = {"tabs": tabs, "current_tab": current, "corpus": request.app.state.corpus}
    rendered = _environment().get_template(template).render(**shared, **context)
    return HTMLResponse(rendered.encode("utf-8", "backslashreplace"), status)


def message(request: Request, status: HTTPStatus, title: str, text: str) -> HTMLResponse:
    """Return a page with a short text, such as why something cannot be shown."""
    return page(request, "templates/message.html", status, title=title, text=text)


@functools.cache
def _environment() -> Environment:
    return environment(FOLDER)
