"""The stage `quantize`: types, fallbacks, and reading back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from finetune_artifacts import converted, inputs_of, work_in

from harness.errors import InputError, OutputError, SkillFailed
from harness.models.backends import llama_engine
from harness.models.gguf_file import open_gguf
from skills.finetune.export import gguf, llama_cpp
from skills.finetune.run_folder import StageContext

pytest.importorskip("torch", reason="needs the finetune extra")
pytest.importorskip("gguf", reason="needs the finetune extra")
pytest.importorskip("llama_cpp_py_sync", reason="needs the finetune extra")

pytestmark = pytest.mark.train


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
    # Rows of 64 and 128 weights are not multiples of 256: all 15 but the embedding are reported,
    # and the embedding is stored in the fallback of Q6_K.
    assert done.facts["fallbacks"] == 14
    assert done.facts["types"] == {"Q5_0": 12, "F32": 5, "Q8_0": 3}
    assert 8 < done.facts["bits_per_weight"] < 8.6
    assert "14 of 20 tensor(s)" in (work.run_dir.folder / "quantize.log").read_text()
    assert not list(work.run_dir.folder.glob(".quantize-*"))


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
    running = llama_engine.start({"gguf": target}, 256)
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
    assert not list(work.run_dir.folder.glob(".quantize-*"))


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
        InputError, match=r"f16\.gguf: does not exist\. `/finetune gguf .*` writes it"
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
