"""The pages of training runs and curations."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from curate_workspace import PANEL, Workspace, votes_for
from page_elements import Elements
from served_app import served

from skills.corpus.db.connection import open_corpus
from skills.curate import panel


def test_a_training_run_has_its_losses_and_stages(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "corpus.db"):
        pass
    run = tmp_path / "finetune_output"
    run.mkdir()
    entry = {"inputs": {}, "outputs": {}, "facts": {"rows": 1200}, "seconds": 12.5, "created": "x"}
    manifest = {"format": 1, "run": {"data": "<i>.jsonl"}, "stages": {"prepare": entry}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    lines = [{"step": n, "loss": 2.0 / n} for n in (1, 2, 4)]
    lines.append({"step": 4, "dev_loss": 0.75})
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "{")
    (tmp_path / "manifest.json").write_text("[]")
    with served(tmp_path / "corpus.db") as app, app.client() as client:
        listed = client.get("/compare").text
        link = 'href="(/compare/runs/[0-9a-f]+)" dir="auto">finetune_output'
        [address] = re.findall(link, listed)
        text = client.get(address).text
        points = re.search('class="training" points="([^"]+)"', text)
        assert points is not None
        # The scale of losses of 0.5 to 2 is in steps of 0.5.
        assert points[1].split() == ["160,0", "320,133.3", "640,200"]
        assert re.findall('text-anchor="end">([0-9.]+)<', text) == ["0.5", "1.0", "1.5", "2.0", "4"]
        assert Elements(text.encode()).tables["Loss on the dev rows"][1] == ["4", "0.750"]
        assert "<dt>rows</dt><dd>1,200</dd>" in text
        assert "&lt;i&gt;.jsonl" in text
        assert client.get("/compare/runs/..%2f..%2fetc").status_code == 404


def test_odd_values_in_a_manifest_are_left_out(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "corpus.db"):
        pass
    run = tmp_path / "odd"
    run.mkdir()
    odd = {"seconds": "x", "facts": None, "outputs": [], "created": 1}
    stages = {"prepare": odd, "select": {"seconds": math.inf}, "train": {"seconds": 5}}
    (run / "manifest.json").write_text(
        json.dumps({"run": None, "stages": stages, "key": 1, "folder": None})
    )
    (tmp_path / "manifest.json").write_text(json.dumps({"stages": {"prepare": 1}}))
    with served(tmp_path / "corpus.db") as app, app.client() as client:
        listed = client.get("/compare").text
        assert f'dir="auto">{tmp_path.name}<' not in listed
        [address] = re.findall('href="(/compare/runs/[0-9a-f]+)" dir="auto">odd', listed)
        rows = Elements(client.get(address).content).tables["Time of each stage"][1:]
        assert [row[:2] for row in rows] == [["prepare", ""], ["select", ""], ["train", "5 s"]]


def test_two_training_runs_are_compared_step_by_step(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "corpus.db"):
        pass
    for name, rate, losses in (("slow", 1e-4, (2.5, 1.5)), ("fast", 1e-3, (2.5, 1.25))):
        folder = tmp_path / name
        folder.mkdir()
        dev = {"outputs": {"prepared/dev.jsonl": {"sha256": "ab"}}, "seconds": 5400}
        manifest = {"run": {"rate": rate, "batch": 8}, "stages": {"prepare": dev}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        lines = [{"step": 10 * n, "dev_loss": loss} for n, loss in enumerate(losses, 1)]
        lines.append({"step": 30, "dev_loss": float("nan")})
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with served(tmp_path / "corpus.db") as app, app.client() as client:
        link = 'href="/compare/runs/([0-9a-f]+)" dir="auto">(fast|slow)'
        keys = {name: key for key, name in re.findall(link, client.get("/compare").text)}
        address = f"/compare/runs/{keys['slow']}?against={keys['fast']}"
        elements = Elements(client.get(address).content)
        assert elements.tables["Loss on the dev rows"] == [
            ["Step", "slow", "fast", "Difference"],
            ["10", "2.500", "2.500", "+0.000"],
            ["20", "1.500", "1.250", "+0.250"],
        ]
        assert elements.tables["Settings that differ"][1:] == [["rate", "0.0001", "0.001"]]
        assert elements.tables["Time of each stage"][1][:3] == [
            "prepare",
            "1 h 30 min",
            "1 h 30 min",
        ]
        assert "a difference of +0.250." in elements.texts[".verdict"][0]
        assert "different dev rows" not in elements.shown
        assert " ".join(elements.texts[".soft"]).count(", dev rows") == 2  # in the legend
        manifest["stages"]["prepare"]["outputs"] = {}
        (tmp_path / "fast" / "manifest.json").write_text(json.dumps(manifest))
        assert "The runs have different dev rows." in client.get(address).text
        assert client.get(f"/compare/runs/{keys['slow']}?against=nothing").status_code == 200


def test_a_curation_has_its_verdicts_votes_and_probes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    workspace = Workspace(tmp_path)
    workspace.rows(1, 2, 3)
    workspace.app.dispatch("/corpus add agent.csv")
    for number, passing in ((1, 5), (2, 1), (3, 4)):
        votes_for(workspace.judge, number, passing=passing)
    workspace.curate()
    with served(workspace.corpus) as app, app.client() as client:
        [address] = re.findall(r'href="(/compare/curations/\d+)"', client.get("/compare").text)
        [table] = Elements(client.get(f"{address}?show=rejected").content).tables.values()
        head, row = table
        assert row[1] == "rejected"
        assert [row[head.index(name)] for name in PANEL.names] == ["4.00", *["2.00"] * 4]
        text = client.get(address).text
        assert re.search(r'<a href="/papers/\d+">2401', text)
        assert "agent.csv: 3 annotations: 2 kept, 1 rejected" in text
        number = address.rpartition("/")[2]
        assert f'href="{address}">Verdicts' in client.get(f"/jobs/{number}").text
        [row] = Elements(client.get("/jobs").content).tables.popitem()[1][1:]
        assert row[-3] == row[-1] > "3"  # all are done, including probes
        kept = Elements(client.get(f"{address}?show=kept").content).tables
        assert [len(rows) for rows in kept.values()] == [3]
        probes = client.get(f"{address}?show=probe").text
        assert probes.count("<tr>") > 1
        assert client.get("/compare/curations/999").status_code == 404
