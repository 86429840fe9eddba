from pathlib import Path

from harness.testing import FakeModel, folder_skill, run_skill

SKILL = folder_skill(Path(__file__).parent)


def test_the_answer_may_be_in_another_language() -> None:
    model = FakeModel("Schnee schmilzt.")
    run_skill(SKILL, "A text about snow.", model=model, options={"language": "German"})
    assert "Answer in German." in model.requests[0].messages[0].content
