"""`Annotation`: the eight Nanda moves as a pydantic model, for those who work with stored ones.

annotation = Annotation.model_validate({name: record[name] for name in nanda().names})
"""

from __future__ import annotations

from skills.nanda.framework import nanda

Annotation = nanda().annotation_model()
