"""Which cluster a line uses, and which lines use none."""

import dataclasses
import importlib.util
import io

import pytest

from harness.api import options as skill_options
from harness.api.options import ClusterOptions
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.errors import NotAllowed, UsageError
from harness.models.cluster.address import Address, Placement
from harness.models.pool import ModelPool, Models
from harness.models.registry import ClusterEntry, Registry
from harness.runs import cluster_placement
from harness.runs.frontend import Frontend
from harness.runs.invocation import parse
from harness.runs.run_log import Run
from harness.terminal.console import Screen
from harness.testing import fake_app, fake_settings

CLIENT = Address("client", "head", 10001)
NODE = Address("node", "10.0.0.1", 6379)


class Sort(Skill):
    name = "sort"
    summary = "Sort papers"
    text = "optional"

    class Options(ClusterOptions):
        """Those of clusters."""

    variants = {"many": ClusterOptions, "one": SkillOptions}

    def variant(self, call):
        return call.text or "many"

    def run(self, call):
        return Result(text="sorted")


@pytest.fixture
def placement(tmp_path):
    def find(options=(), on="", cluster=None, variant="many"):
        call = Call(
            text="",
            options=skill_options.build(Sort.Options, dict(options)),
            models=Models(ModelPool(Registry(cluster=cluster), {})),
            screen=Screen(io.StringIO(), io.StringIO()),
            log=Run(),
            settings=dataclasses.replace(fake_settings(tmp_path), on=on),
        )
        return cluster_placement.placement(call, Sort(), variant)

    return find


def test_a_line_runs_here_by_default(placement):
    assert placement() is None


def test_option_precedes_environment_and_environment_precedes_registry(placement):
    section = ClusterEntry(on=str(NODE), actors=3, gpus=0.5)
    assert placement(cluster=section) == Placement(NODE, actors=3, gpus=0.5)
    assert placement(on=str(CLIENT), cluster=section) == Placement(CLIENT, actors=3, gpus=0.5)
    given = {"on": "ray", "actors": 1, "slots": 2, "cpus": 4, "gpus": 0}
    own = placement(given, on=str(CLIENT), cluster=section)
    assert own == Placement(Address("own"), actors=1, slots=2, cpus=4, gpus=0)
    assert placement({"on": "local"}, on=str(CLIENT), cluster=section) is None


def test_a_place_that_is_none_is_named_with_where_it_is_given(placement):
    for given, options in (
        ("--on: 'x'", {"options": {"on": "x"}}),
        ("HARNESS_ON: 'ray-data'", {"on": "ray-data"}),
        ("`cluster` in the registry: 'x'", {"cluster": ClusterEntry(on="x")}),
    ):
        with pytest.raises(UsageError, match=f"^{given} is not a place where a job can run"):
            placement(**options)


def test_a_variant_without_the_option_runs_here(placement):
    assert placement(on="ray", variant="one") is None


def test_options_of_a_cluster_need_one(placement):
    with pytest.raises(UsageError, match="--slots goes with --on"):
        placement({"slots": 2})


def test_missing_ray_is_named_before_any_work(tmp_path, monkeypatch):
    app = fake_app(tmp_path)
    (tmp_path / "papers.csv").write_text("abstract\nWe sort papers by their titles.\n")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else found(name)
    )
    with pytest.raises(UsageError, match=r'ray.*pip install "nanda-harness\[ray\]"') as error:
        app.dispatch(f"/annotate {tmp_path / 'papers.csv'} --on ray")
    assert error.value.exit_code == 2


def test_a_model_needs_consent_for_a_cluster(tmp_path):
    asked = []
    door = Frontend("test", confirm=lambda question: asked.append(question) or False)
    app = fake_app(tmp_path, None, Sort(), door=door)
    line = "/sort --on ray://elsewhere:1"
    with pytest.raises(NotAllowed, match="sends its input to ray://elsewhere:1"):
        app.run_called(parse(Sort(), line.removeprefix("/sort "), {}), line)
    assert asked


def test_a_skill_without_a_pipeline_refuses_one(placement):
    with pytest.raises(UsageError, match="--on ray-data does not apply here"):
        placement({"on": "ray-data"})


def test_the_cluster_of_a_pipeline(tmp_path, monkeypatch):
    monkeypatch.setattr(ClusterOptions, "takes_ray_data", True)

    def find(on, elsewhere=""):
        call = Call(
            text="",
            options=skill_options.build(Sort.Options, {"on": on, "actors": 2}),
            models=Models(ModelPool(Registry(), {})),
            screen=Screen(io.StringIO(), io.StringIO()),
            log=Run(),
            settings=dataclasses.replace(fake_settings(tmp_path), on=elsewhere),
        )
        # The job needs no placement: the pipeline of Ray Data loads the models itself.
        assert cluster_placement.placement(call, Sort(), "many") is None
        return cluster_placement.data_placement(call)

    assert find("ray-data") == Placement(Address("own"), actors=2)
    assert find("ray-data", str(NODE)) == Placement(NODE, actors=2)
    assert find("ray-data://h:1", str(NODE)) == Placement(Address("node", "h", 1), actors=2)
    with pytest.raises(UsageError, match="Ray Data does not work through Ray's client"):
        find("ray-data", str(CLIENT))
    with pytest.raises(UsageError, match="not a place where a job can run"):
        find("ray-data://h")
