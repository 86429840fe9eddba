"""The stages `gguf` and `quantize`: conversion by llama.cpp, and reading back."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finetune_artifacts import (
    call_of,
    converted,
    converted_adapter,
    inputs_of,
    random_adapter,
    work_in,
)
from finetune_base import smollm2

from harness.errors import InputError, Interrupted, OutputError, SkillFailed
from harness.models.backends import llamacpp
from harness.models.gguf_file import open_gguf
from harness.support.bounded_files import file_sha256
from harness.support.stop_token import StopToken
from skills.finetune.export import gguf, llama_cpp, merge
from skills.finetune.model.lora_adapters import read_adapter
from skills.finetune.run_folder import Entry, StageContext

torch = pytest.importorskip("torch", reason="needs the finetune extra")
pytest.importorskip("gguf", reason="needs the finetune extra")
pytest.importorskip("peft", reason="needs the finetune extra")

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # from peft
]

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StageContext, Entry]:
    """A run whose model is merged and converted."""
    work = work_in(tmp_path_factory.mktemp("made"), base=base)
    random_adapter(base, work.run_dir.adapter)
    return work, carried(work)


def carried(work: StageContext) -> Entry:
    """Merge and convert, and return the entry of the conversion."""
    merge.merge(work)
    return gguf.convert(work)


def tensors(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    return {
        one.name: torch.tensor(one.data.astype("float32"))
        for one in GGUFReader(path).tensors
        if one.name != "token_embd.weight"
    }


def likely(paths: Mapping[str, Path]) -> dict[int, float]:
    """Return the 20 most likely first tokens after `PROMPT` with their log probabilities."""
    running = llamacpp.start(paths, 256)
    body = {"prompt": PROMPT, "n_predict": 1, "temperature": 0, "n_probs": 20}
    (choice,) = running.server.handle_completions(body)["choices"]
    return {one["id"]: one["logprob"] for one in choice["logprobs"]["content"][0]["top_logprobs"]}


def test_facts_of_the_converted_model(made: tuple[StageContext, Entry], base: Path) -> None:
    work, done = made
    found = done.facts["f16"]

    assert {*done.outputs} == {work.run_dir.f16.name, work.run_dir.lora.name}
    assert found["general.architecture"] == "llama"
    assert found["tokenizer.ggml.pre"] == "smollm"
    assert found["tokenizer.ggml.eos_token_id"] == 2
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"] == file_sha256(base / "chat_template.jinja")
    assert found["types"] == {"F16": 15, "F32": 5}
    assert found["bits_per_weight"] == pytest.approx(16, abs=0.1)
    assert not [path.name for path in work.run_dir.folder.iterdir() if path.name.startswith(".")]


def likely_in_transformers(folder: Path) -> dict[int, float]:
    """Return the log probabilities of all first tokens after `PROMPT`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = tokenizer.encode(PROMPT, add_special_tokens=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        found = model(torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1)
    return dict(enumerate(found.tolist()))


def test_converted_model_agrees_with_transformers(made: tuple[StageContext, Entry]) -> None:
    out = made[0].run_dir
    ours, theirs = likely({"gguf": out.f16}), likely_in_transformers(out.merged)

    assert [*ours.values()] == pytest.approx([theirs[one] for one in ours], abs=0.02)


def test_the_adapter_on_the_base_is_the_merged_model(
    made: tuple[StageContext, Entry], base: Path, tmp_path: Path
) -> None:
    work, _ = made
    whole = converted(base, tmp_path / "base.gguf")

    both = likely({"gguf": whole, "adapter": work.run_dir.lora})
    merged = likely({"gguf": work.run_dir.f16})

    shared = both.keys() & merged.keys()
    assert len(shared) > 15
    assert [both[one] for one in shared] == pytest.approx([merged[one] for one in shared], abs=0.02)
    alone = likely({"gguf": whole})
    assert max(abs(alone.get(one, -99) - merged[one]) for one in merged) > 0.1


def test_the_adapter_is_kept_to_the_last_bit(made: tuple[StageContext, Entry]) -> None:
    from safetensors.torch import load_file

    work, done = made
    ours, theirs = (
        tensors(work.run_dir.lora),
        load_file(work.run_dir.adapter / "adapter_model.safetensors"),
    )

    for side in ("a", "b"):
        of_peft = f"base_model.model.model.layers.1.mlp.down_proj.lora_{side.upper()}.weight"
        assert torch.equal(ours[f"blk.1.ffn_down.weight.lora_{side}"], theirs[of_peft])
    assert done.facts["lora"]["types"] == {"F32": 28}


def test_adapter_can_be_stored_in_f16(made: tuple[StageContext, Entry], base: Path) -> None:
    work, done = made
    half = work_in(work.run_dir.folder.parent, base=base, lora_type="f16")
    inputs = inputs_of(gguf.convert, work)
    assert inputs_of(gguf.convert, half) == {**inputs, "lora_type": "f16"}

    found = open_gguf(
        converted_adapter(base, work.run_dir.adapter, work.run_dir.folder / "half.gguf", "f16")
    )
    assert found.tensor_types == {"F16": 28}
    assert found.path.stat().st_size < 0.7 * done.facts["lora"]["bytes"]


def test_damaged_adapter_conversion_is_refused(
    made: tuple[StageContext, Entry],
) -> None:
    found = open_gguf(made[0].run_dir.lora)
    adapter = read_adapter(made[0].run_dir.adapter)
    gguf._check_lora(found, adapter, "llama")

    shapes = dict(list(adapter.shapes.items())[1:])
    for wrong, field in (
        (replace(adapter, alpha=16.0), r"adapter\.lora\.alpha is 8.0, and should be 16.0"),
        (replace(adapter, shapes=shapes), "the number of its matrices is 28, and should be 26"),
        (replace(adapter, r=8), "the number of its weights"),
    ):
        with pytest.raises(SkillFailed, match=field):
            gguf._check_lora(found, wrong, "llama")
    with pytest.raises(SkillFailed, match=r"general\.architecture is llama, and should be qwen2"):
        gguf._check_lora(found, adapter, "qwen2")


@pytest.mark.parametrize("key", gguf.KEYS)
def test_changed_metadata_key_is_named(made: tuple[StageContext, Entry], key: str) -> None:
    found = open_gguf(made[0].run_dir.f16)
    identity = gguf.identity_of(found)

    gguf.check_identity(found, identity)
    with pytest.raises(SkillFailed, match=f"{key} is .*, and other in the base"):
        gguf.check_identity(found, {**identity, key: "other"})


def test_merged_model_with_changed_template_is_refused(
    made: tuple[StageContext, Entry], base: Path, tmp_path: Path
) -> None:
    work = work_in(tmp_path, base=base)
    shutil.copytree(made[0].run_dir.adapter, work.run_dir.adapter)
    shutil.copytree(made[0].run_dir.merged, work.run_dir.merged)
    settings = work.run_dir.merged / "tokenizer_config.json"
    config = json.loads(settings.read_text())
    settings.write_text(json.dumps({**config, "chat_template": "{{ messages[0].content }}"}))

    with pytest.raises(SkillFailed, match=r"tokenizer\.chat_template is \w+, and \w+ in the base"):
        gguf.convert(work)
    assert not work.run_dir.f16.exists()
    assert not list(work.run_dir.folder.glob(".gguf*"))


def test_changed_end_token_is_refused(
    made: tuple[StageContext, Entry], base: Path, tmp_path: Path
) -> None:
    found = open_gguf(made[0].run_dir.f16)
    gguf.check_base(found, base)

    other = shutil.copytree(base, tmp_path / "other")
    for name in ("config.json", "generation_config.json"):
        config = json.loads((other / name).read_text())
        (other / name).write_text(json.dumps({**config, "eos_token_id": 7}))
    with pytest.raises(SkillFailed, match="eos_token_id is 2, and 7 in the base"):
        gguf.check_base(found, other)


def test_inputs_do_not_hash_an_unchanged_merged_model(
    made: tuple[StageContext, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = made
    inputs = inputs_of(gguf.convert, work)
    assert work.run_dir.is_current("gguf", inputs)

    read: list[str] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib,
        "file_digest",
        lambda file, *kind: read.append(Path(file.name).name) or digest(file, *kind),
    )
    gguf.convert(work)
    merged = {path.name for path in work.run_dir.merged.iterdir()}
    assert "model.safetensors" in merged
    assert "model.safetensors" not in read

    settings = work.run_dir.merged / "generation_config.json"
    before = settings.read_bytes()
    settings.write_bytes(before + b"\n")
    changed = inputs_of(gguf.convert, work)
    settings.write_bytes(before)
    assert {name for name in inputs if inputs[name] != changed[name]} == {"merged"}


def test_missing_merged_model_error_names_the_merge_stage(base: Path, tmp_path: Path) -> None:
    work = work_in(tmp_path, base=base)
    with pytest.raises(
        InputError, match=r"merged does not exist\. Run `/finetune merge .*out` first"
    ):
        gguf.convert(work)


def test_a_folder_of_llama_cpp_without_the_script_is_refused(
    made: tuple[StageContext, Entry], base: Path, tmp_path: Path
) -> None:
    (tmp_path / "llama").mkdir()
    work = work_in(tmp_path, base=base, llama_cpp=tmp_path / "llama")
    shutil.copytree(made[0].run_dir.merged, work.run_dir.merged)

    with pytest.raises(InputError, match=r"llama: has no convert_hf_to_gguf\.py\. --llama-cpp"):
        gguf.convert(work)


def test_conversion_is_refused_if_the_disk_is_too_small(
    made: tuple[StageContext, Entry], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_in(made[0].run_dir.folder.parent, base=base, lora_type="f16")
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        OutputError, match=r"the GGUF of the merged model needs 70\.\d MB of disk space"
    ):
        gguf.convert(work)


def checkout(folder: Path, script: str) -> llama_cpp.Converters:
    """Write a folder that resembles a checkout of llama.cpp, with a given script."""
    (folder / "gguf-py" / "gguf").mkdir(parents=True)
    (folder / "gguf-py" / "gguf" / "__init__.py").write_text("mine = True\n")
    for name in (llama_cpp.MODEL_SCRIPT, llama_cpp.LORA_SCRIPT):
        (folder / name).write_text(script)
    return llama_cpp.find_converters(folder)


def run(
    converters: llama_cpp.Converters,
    log: Path,
    cancel: StopToken | None = None,
    tick: Callable[[str], None] = lambda _: None,
) -> str:
    call = call_of(log.parent)
    call.cancel = cancel or call.cancel
    call.screen.progress = lambda _: nullcontext(tick)  # type: ignore[assignment, method-assign]
    program = converters.program(llama_cpp.MODEL_SCRIPT, log.parent, log.parent / "gguf", "f16")
    return llama_cpp.run_program(call, program, log, "converting the model")


def test_converter_imports_its_own_gguf_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_LOCAL_GGUF", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    script = "import gguf, os; print(gguf.mine, 'NO_LOCAL_GGUF' in os.environ)"
    output = run(checkout(tmp_path / "llama", script), tmp_path / "log")

    assert output == "True False\n"


def test_checkout_version_depends_on_its_code(tmp_path: Path) -> None:
    one, other = checkout(tmp_path / "1", "pass"), checkout(tmp_path / "2", "pass # more")
    assert one.version != other.version
    assert one.version == checkout(tmp_path / "3", "pass").version


def test_failed_converter_is_quoted_and_logged(tmp_path: Path) -> None:
    script = "import sys; print('a\\n' * 9000); sys.exit('KeyError: no such tensor')"
    with pytest.raises(
        SkillFailed, match="converting the model failed: a / KeyError: no"
    ) as caught:
        run(checkout(tmp_path / "llama", script), tmp_path / "log")
    assert str(tmp_path / "log") in str(caught.value)
    assert (tmp_path / "log").stat().st_size > 18_000


def test_converter_is_killed_on_cancellation(tmp_path: Path) -> None:
    script = "import time; print('Writing: 12%', flush=True); time.sleep(60); print('done')"
    cancel = StopToken()
    statuses: list[str] = []

    def tick(status: str) -> None:
        statuses.append(status)
        if status:
            cancel.set()

    with pytest.raises(Interrupted):
        run(checkout(tmp_path / "llama", script), tmp_path / "log", cancel, tick)
    assert statuses[-1] == "Writing: 12%"
    assert (tmp_path / "log").read_text() == "Writing: 12%\n"


@pytest.mark.timeout(600)
def test_smollm2_with_an_adapter_agrees_with_its_gguf(tmp_path: Path) -> None:
    from skills.finetune.model.bases import unpack

    folder = tmp_path / "smollm2"
    folder.mkdir()
    unpack(smollm2(), folder)
    work = work_in(tmp_path, base=folder)
    random_adapter(folder, work.run_dir.adapter, strength=0.02)
    carried(work)

    ours, theirs = likely({"gguf": work.run_dir.f16}), likely_in_transformers(work.run_dir.merged)
    assert [*ours.values()] == pytest.approx([theirs[one] for one in ours], abs=0.1)


pytest.importorskip("llama_cpp_py_sync", reason="needs the finetune extra")


@pytest.fixture(scope="module")
def f16(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(base, tmp_path_factory.mktemp("f16") / "f16.gguf")


def work_with(f16: Path, base: Path, folder: Path, kind: str = "Q4_K_M") -> StageContext:
    work = work_in(folder, base=base, export={"quantize": kind})
    shutil.copyfile(f16, work.run_dir.f16)
    return work


def test_tensors_are_counted_by_type_with_fallbacks(f16: Path, base: Path, tmp_path: Path) -> None:
    work = work_with(f16, base, tmp_path)

    done = gguf.quantize(work)

    assert [*done.outputs] == ["nanda-annotator.Q4_K_M.gguf"]
    # Rows of 64 and 128 weights are not multiples of 256. The tool reports 14 of the 15 matrices;
    # it does not report the embedding, which is stored in the fallback of Q6_K.
    assert done.facts["fallbacks"] == 14
    assert done.facts["types"] == {"Q5_0": 12, "F32": 5, "Q8_0": 3}
    assert 8 < done.facts["bits_per_weight"] < 8.6
    assert "14 of 20 tensor(s)" in (work.run_dir.folder / "quantize.log").read_text()
    assert not list(work.run_dir.folder.glob(".quantize*"))


def test_a_type_that_all_rows_can_have_needs_no_fallback(
    f16: Path, base: Path, tmp_path: Path
) -> None:
    facts = gguf.quantize(work_with(f16, base, tmp_path, "Q8_0")).facts

    assert facts["fallbacks"] == 0
    assert facts["types"] == {"Q8_0": 15, "F32": 5}
    assert facts["bits_per_weight"] == pytest.approx(8.5, abs=0.01)


def test_what_is_quantized_is_still_the_same_model_and_answers(
    f16: Path, base: Path, tmp_path: Path
) -> None:
    work = work_with(f16, base, tmp_path)
    (name,) = gguf.quantize(work).outputs
    target = work.run_dir.folder / name

    assert gguf.identity_of(open_gguf(target)) == gguf.identity_of(open_gguf(f16))
    running = llamacpp.start({"gguf": target}, 256)
    reply = running.server.handle_completions({"prompt": "The", "n_predict": 4, "temperature": 0})
    assert reply["usage"]["completion_tokens"] == 4


def test_result_of_another_type_is_an_error(f16: Path) -> None:
    found = open_gguf(f16)
    with pytest.raises(SkillFailed, match="its type is F16, not Q4_K_M"):
        gguf._check_type(found, "Q4_K_M")


def test_unreadable_source_leaves_no_files(f16: Path, base: Path, tmp_path: Path) -> None:
    work = work_with(f16, base, tmp_path)
    with work.run_dir.f16.open("r+b") as file:
        file.truncate(work.run_dir.f16.stat().st_size // 2)

    with pytest.raises((SkillFailed, InputError)):
        gguf.quantize(work)
    assert not work.run_dir.quantized("Q4_K_M").exists()
    assert not list(work.run_dir.folder.glob(".quantize*"))


def test_aborting_library_does_not_end_the_run(
    f16: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aborting = tmp_path / "aborting.py"
    aborting.write_text("import os; os.write(2, b'GGML_ASSERT(false) failed\\n'); os.abort()\n")
    monkeypatch.setattr(llama_cpp, "QUANTIZER", (aborting,))

    with pytest.raises(SkillFailed, match=r"quantizing to Q4_K_M failed: GGML_ASSERT\(false\)"):
        gguf.quantize(work_with(f16, base, tmp_path))


def test_the_process_imports_nothing_from_the_working_directory(
    f16: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cffi.py").write_text("raise SystemExit('this is not cffi')\n")
    monkeypatch.chdir(tmp_path)

    assert gguf.quantize(work_with(f16, base, tmp_path)).facts["fallbacks"] == 14


def test_missing_f16_gguf_error_names_the_gguf_stage(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"f16\.gguf does not exist\. Run `/finetune gguf .*` first"
    ):
        gguf.quantize(work_in(tmp_path, base=base))


def test_inputs_follow_the_file_and_the_type(f16: Path, base: Path, tmp_path: Path) -> None:
    work = work_with(f16, base, tmp_path)
    first = inputs_of(gguf.quantize, work)
    assert inputs_of(gguf.quantize, work_in(tmp_path, base=base)) == first

    other = inputs_of(gguf.quantize, work_in(tmp_path, base=base, export={"quantize": "Q8_0"}))
    assert {name for name in first if first[name] != other[name]} == {"quantize"}

    with work.run_dir.f16.open("ab") as file:
        file.write(b"\0")
    assert inputs_of(gguf.quantize, work)["f16"] != first["f16"]


def test_a_disk_too_small_is_refused(
    f16: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_with(f16, base, tmp_path)
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        OutputError, match=r"the Q4_K_M GGUF needs 4\.\d MB of disk space, and 1 kB are"
    ):
        gguf.quantize(work)
