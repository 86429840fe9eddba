"""The skill of a line; the user is asked before a plugin of the project runs for the first time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.errors import NotTrusted, UsageError
from harness.plugins.discovery import Discovery

if TYPE_CHECKING:
    from harness.api.skill import Skill


def skill_named(
    discovery: Discovery, name: str, confirm: Callable[[str], bool] | None, *, trusted: bool
) -> Skill:
    """Return a skill; a plugin of the project is trusted if the user has said so or agrees now.

    Args:
        confirm: asks the user; None if there is nobody to ask.
        trusted: the line has `--trust`.

    Raises:
        UnknownSkill: there is none of this name.
        NotTrusted: it is a plugin of the project that the user does not trust.
        UsageError: the plugin does not register a skill of this name.
    """
    catalogue = discovery.catalogue
    if name in catalogue.skills:
        return catalogue.skills[name].skill
    if name not in catalogue.untrusted:
        raise catalogue.unknown(name)
    folder = catalogue.untrusted[name].folder
    question = f"/{name} is a plugin that is not trusted yet ({folder}). Run its code?"
    if not trusted and not (confirm and confirm(question)):
        raise NotTrusted(
            f"/{name} is a plugin that is not trusted in its current state",
            where=str(folder),
            hint=f"Read it, then add --trust once, right after /{name}.",
        )
    discovery.trust(name)
    if name not in discovery.catalogue.skills:
        raise UsageError(f"the plugin {name} has no skill /{name}", hint="`/skills`")
    return discovery.catalogue.skills[name].skill
