"""Which process of a training this is, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil
import pytest

from harness.errors import OutputError, UsageError
from skills.finetune import finetune_annotate, ranks
from skills.finetune.training import processes

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}
ACCELERATE = {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the environment of a launcher."""

    def launch(environment: Mapping[str, str], parent: str = "") -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(psutil.Process, "cmdline", lambda _: parent.split())

    return launch


def test_one_process_is_rank_0_of_1_and_agrees_with_itself() -> None:
    pytest.importorskip("torch", reason="needs the extra finetune")
    assert (ranks.rank(), ranks.local_rank(), ranks.world()) == (0, 0, 1)
    assert ranks.is_main()
    assert ranks.processes(None) == 1
    assert ranks.processes(3) == 3
    assert ranks.summed(2.5, 1) == (2.5, 1)
    assert (ranks.any_of(True), ranks.any_of(False)) == (True, False)
    assert ranks.broadcast("job") == "job"
    with ranks.leading():
        ranks.barrier()
    ranks.leave_ranks()


def test_a_rank_of_torchrun(launched: Any) -> None:
    launched(TORCHRUN)
    assert (ranks.rank(), ranks.local_rank(), ranks.world()) == (3, 1, 4)
    assert not ranks.is_main()
    assert ranks.processes(None) == ranks.on_this_machine(4) == 4
    launched({"LOCAL_WORLD_SIZE": "2"})
    assert ranks.on_this_machine(4) == 2
    with pytest.raises(UsageError, match="--processes 2 is given under a launcher of 4"):
        ranks.processes(2)
    with (
        pytest.raises(UsageError, match="has started 4 processes of this command"),
        ranks.leading(),
    ):
        pass


@pytest.mark.parametrize("option", ["--num_processes 2", "--num-processes=2"])
def test_accelerate_on_cpus(launched: Any, option: str) -> None:
    """It starts one process, whose environment does not have the number."""
    launched(ACCELERATE, f"python accelerate launch {option} --cpu finetune_annotate.py")
    assert ranks.processes(None) == 2
    with pytest.raises(UsageError, match="under a launcher of 2 processes"):
        ranks.processes(2)


def test_accelerate_with_the_number_in_its_configuration(launched: Any) -> None:
    launched(ACCELERATE, "python accelerate launch finetune_annotate.py")
    with pytest.raises(UsageError, match="accelerate launch has started only one of several"):
        ranks.processes(None)


def test_accelerate_with_fsdp_divides_the_base(launched: Any) -> None:
    assert not ranks.is_sharded(None)
    assert ranks.is_sharded("fsdp")
    launched({"ACCELERATE_USE_FSDP": "true"})
    assert ranks.is_sharded(None)


def test_the_script_trains_with_rank_0_if_it_is_another(
    launched: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched(TORCHRUN)
    monkeypatch.setattr(processes, "follow_rank_0", lambda: None)
    assert finetune_annotate.main(["no-such.jsonl"]) == 0
    assert capsys.readouterr() == ("", "")

    def fail() -> None:
        raise OutputError("disk full")

    monkeypatch.setattr(processes, "follow_rank_0", fail)
    assert finetune_annotate.main([]) == OutputError.exit_code
    assert capsys.readouterr().err == "rank 3: disk full\n"
