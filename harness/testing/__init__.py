"""Test utilities for plugins: fake models, calls of a skill, applications, and assertions.

model = FakeModel('{"mood": "calm"}')
result = run_skill(MySkill(), "some text", model=model)
assert model.requests[0].messages[-1].content == "some text"

model = FakeModel(calling(tool_call("mine", text="a")), "Done.", takes_tools=True)
assert fake_app(tmp_path, model, MySkill()).dispatch("do it").result.text == "Done."

app = fake_app(tmp_path, model, MySkill())
assert_refuses(app, "/mine --max ten", "--max: 'ten' should be a valid integer")
assert assert_saves(app, "/mine some text", tmp_path / "mood.json").read_text()
"""

from harness.testing.assertions import assert_refuses, assert_saves
from harness.testing.doors import Shown, one_shot, session
from harness.testing.fakes import (
    FakeBackend,
    FakeModel,
    FakePlugin,
    calling,
    fake_app,
    fake_models,
    fake_settings,
    folder_skill,
    run_skill,
    tool_call,
)
from harness.testing.registries import FAKE_REGISTRY, temporary_registry

__all__ = [
    "FAKE_REGISTRY",
    "FakeBackend",
    "FakeModel",
    "FakePlugin",
    "Shown",
    "assert_refuses",
    "assert_saves",
    "calling",
    "fake_app",
    "fake_models",
    "fake_settings",
    "folder_skill",
    "one_shot",
    "run_skill",
    "session",
    "temporary_registry",
    "tool_call",
]
