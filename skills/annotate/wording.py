"""Determine the wording of a model's annotations, and what chooses their moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import ModelUnavailable
from harness.models.served import ServedModel
from skills.corpus.options import Wording
from skills.nanda.forms import FORMS
from skills.nanda.forms.base import Form
from skills.nanda.forms.quotes import QuotesForm
from skills.reader import choice

QUOTES = "it only quotes, and --wording abstractive needs a model that writes"
WRITES = (
    "it only writes its own words, and --wording extractive needs a model that quotes, such as "
    "nanda-annotator"
)


def quotes(model: ServedModel) -> bool:
    """Return True if the moves of a model are quotes, which have confidences."""
    return FORMS[model.entry.form] is QuotesForm


def wording_of(model: ServedModel, wording: Wording | None = None) -> Wording:
    """Return the wording of a model's annotations.

    Args:
        wording: the one that is wanted.

    Raises:
        ModelUnavailable: the model has another wording.
    """
    own: Wording = "extractive" if quotes(model) else "abstractive"
    if wording not in (own, None):
        raise ModelUnavailable(QUOTES if quotes(model) else WRITES)
    return own


def decoding_of(
    form: Form, model: ServedModel, wording: Wording | None
) -> Mapping[str, Any] | None:
    """Return what determines the moves besides the request and the model; None if nothing does.

    Raises:
        ModelUnavailable: the model does not have the framework or the wording; the fallback of
            its entry may.
    """
    if wording_of(model, wording) == "abstractive":
        return None
    trained_on = model.digests.get("framework")
    if trained_on not in (None, form.framework.digest):
        raise ModelUnavailable("it was trained on the moves of another framework")
    return {"version": choice.VERSION, "wording": "extractive"}
