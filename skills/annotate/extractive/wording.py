"""Determine the wording of a model's annotations, and what chooses their moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import ModelUnavailable
from harness.models.served import ServedModel
from skills.annotate.extractive import extract, ranking
from skills.annotate.selector import selector
from skills.corpus.options import Wording
from skills.nanda.forms import FORMS
from skills.nanda.forms.base import Form
from skills.nanda.forms.quotes import QuotesForm

OTHER_MODEL = "select another model with `--model`."


def gives_confidence(model: ServedModel, wording: Wording | None = None) -> bool:
    """Return True if annotations with this wording, or the model's own, have confidences."""
    return wording_of(model, wording) == "extractive"


def wording_of(model: ServedModel, wording: Wording | None = None) -> Wording:
    """Return the wording of a model's annotations: the given one, else that of its entry.

    Raises:
        ModelUnavailable: the model only quotes, and `wording` is "abstractive".
    """
    if not quotes_itself(model):
        return wording or model.entry.wording
    if wording == "abstractive":
        raise ModelUnavailable(
            "it only quotes, and --wording abstractive needs a model that writes",
            hint=f"Omit `--wording abstractive`, or {OTHER_MODEL}",
        )
    return "extractive"


def quotes_itself(model: ServedModel) -> bool:
    """Return True if the replies of the model quote the abstract."""
    return FORMS[model.entry.form] is QuotesForm


def decoding_of(
    form: Form, model: ServedModel, wording: Wording | None
) -> Mapping[str, Any] | None:
    """Return what determines the moves besides the request and the model; None if nothing does.

    Raises:
        ModelUnavailable: the selector does not have the framework or the wording; the fallback of
            its entry does.
    """
    used = wording_of(model, wording)
    if isinstance(form, QuotesForm):
        return _selection(form)
    return extract.decoding(form.framework) if used == "extractive" else None


def _selection(form: QuotesForm) -> Mapping[str, Any]:
    """Return what determines the moves of the selector."""
    if not selector.is_for(form.framework):
        raise ModelUnavailable(
            "it annotates the moves of the built-in framework only",
            hint=f"Omit `--framework`, or {OTHER_MODEL}",
        )
    return extract.decoding(form.framework, ranking.ALONE)
