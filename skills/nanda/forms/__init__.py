"""The formats in which models return the moves; the registry entry of a model selects one."""

from __future__ import annotations

from collections.abc import Mapping

from skills.nanda.forms.base import Form
from skills.nanda.forms.json_form import JsonForm
from skills.nanda.forms.quotes import QuotesForm
from skills.nanda.forms.tagged import TaggedForm

FORMS: Mapping[str, type[Form]] = {form.name: form for form in (JsonForm, TaggedForm, QuotesForm)}
