"""The Modelfile: writing, parsing, and the stage `modelfile`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ollama_run import Folder

from harness.errors import (
    InputError,
)
from harness.models.pool import ModelPool, Models
from harness.models.registry import FileEntry, Registry
from skills.finetune.export.modelfile import Modelfile, modelfile_text, parse_modelfile
from skills.finetune.recipe import overridden

STOPS = ["<|im_end|>", "</annotation>"]


def value_of(text: str) -> str | None:
    return parse_modelfile(f"FROM x\nSYSTEM {text}").system


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_modelfile(text)
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain words", "plain words"),
        ("  blanks around \t", "blanks around"),
        ('"  blanks kept "', "  blanks kept "),
        ('""', ""),
        ('"""three"""', "three"),
        ('"""two\nlines"""', "two\nlines"),
        ('"two\nlines"', "two\nlines"),
        ('"""\nfirst\n\nlast\n"""\n', "\nfirst\n\nlast\n"),
        ('"""he said "hi" to me"""', 'he said "hi" to me'),
        ('"he said "hi" to me"', 'he said "hi" to me'),
        ("# no comment here", "# no comment here"),
        ("it's \\n no escape", "it's \\n no escape"),
    ],
)
def test_values_are_read_as_ollama_reads_them(written: str, read: str) -> None:
    assert value_of(written) == read


def test_a_whole_modelfile_is_read() -> None:
    text = """# a comment
from ./model.gguf

  # another one
Adapter ./lora.gguf
PARAMETER stop <|im_end|>
parameter temperature 0.1
PARAMETER stop "</annotation>"
PARAMETER num_ctx 4096
PARAMETER use_mmap FALSE
TEMPLATE \"""{{ .Prompt }}
\"""
"""
    assert parse_modelfile(text) == Modelfile(
        "./model.gguf",
        "./lora.gguf",
        {"stop": STOPS, "temperature": 0.1, "num_ctx": 4096, "use_mmap": False},
        "{{ .Prompt }}\n",
    )


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "", "no FROM line"),
        ("PARAMETER seed 1\n", "", "no FROM line"),
        ("FROM x\nFORM y\n", "line 2", "'FORM y' is not a Modelfile instruction"),
        ("FROM\n", "line 1", "'FROM' is not a Modelfile instruction"),
        ("FROM x\nFROM y\n", "line 2", "'FROM y' is not"),
        ('FROM x\nSYSTEM "open\nand on\n', "line 2", "must end with one"),
        ('FROM x\nSYSTEM """open"\n', "line 2", "must end with one"),
        ("FROM x\nPARAMETER stop\n", "line 2", "PARAMETER NAME VALUE"),
        ("FROM x\nLICENSE mine\n", "line 2", "'LICENSE mine' is not"),
    ],
)
def test_invalid_modelfile_is_refused_with_its_line(text: str, where: str, what: str) -> None:
    message = refusal(text)
    assert where in message
    assert what in message


def test_written_modelfile_text() -> None:
    parameters = {"stop": STOPS, "temperature": 0.1, "num_ctx": 4096}
    assert modelfile_text(Modelfile("./m.Q4_K_M.gguf", None, parameters), ["why\nand how"]) == (
        "# why\n# and how\nFROM ./m.Q4_K_M.gguf\n"
        'PARAMETER stop "<|im_end|>"\nPARAMETER stop "</annotation>"\n'
        "PARAMETER temperature 0.1\nPARAMETER num_ctx 4096\n"
    )


@pytest.mark.parametrize(
    "modelfile",
    [
        Modelfile("qwen2.5:7b-instruct", "./a b.gguf", {"stop": [" ", "\n", '"', "#"]}),
        Modelfile("/a folder/with blanks.gguf", None, {"stop": ["x"], "use_mmap": True}),
        Modelfile("m", None, {"temperature": 1e-07, "top_p": 1.0, "seed": -1}),
    ],
)
def test_written_modelfile_is_parsed_back(modelfile: Modelfile) -> None:
    assert parse_modelfile(modelfile_text(modelfile)) == modelfile


def test_template_and_system_message_of_a_user() -> None:
    text = (
        'FROM odd\nTEMPLATE """{{ "quoted" }}\nand on"""\nSYSTEM """say "no"\nand "yes" again"""\n'
    )
    found = parse_modelfile(text)
    assert found.template == '{{ "quoted" }}\nand on'
    assert found.system == 'say "no"\nand "yes" again'
    inside = parse_modelfile('FROM m\nSYSTEM """on one line """ can stand"""\n')
    assert inside.system == 'on one line """ can stand'


# The stage


def test_the_modelfile_is_that_of_the_file_it_names(run: Folder) -> None:
    entry = run.modelfile()
    text = run.out.modelfile.read_text("utf-8")
    assert parse_modelfile(text).base == "./ft.Q8_0.gguf"
    assert parse_modelfile(text).parameters == {
        "stop": ["<|im_end|>", "</annotation>"],
        "temperature": 0.1,
        "num_ctx": 1024,
        "num_predict": 256,
        "seed": 42,
    }
    assert "No TEMPLATE" in text
    assert "No SYSTEM" in text
    assert entry.facts["adapter"].startswith("none")


def test_modelfile_prefers_the_quantized_file(unquantized: Folder, ggufs: Path) -> None:
    text = unquantized.out.modelfile.read_text("utf-8")
    assert parse_modelfile(text).base == "./ft.f16.gguf"
    shutil.copy(ggufs / "native.gguf", unquantized.out.quantized("Q4_K_M"))
    unquantized.modelfile()
    text = unquantized.out.modelfile.read_text("utf-8")
    assert parse_modelfile(text).base == "./ft.Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5:7b-instruct"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5:0.5b-instruct"),
        ("Some/Base", None),
    ],
)
def test_adapter_modelfile_names_a_base_of_the_library(
    run: Folder, ggufs: Path, base: str, named: str | None
) -> None:
    run.recipe = overridden(run.recipe, {"base": base})
    shutil.copy(ggufs / "lora.gguf", run.out.lora)
    entry = run.modelfile()
    if named is None:
        assert "no GGUF of Some/Base is known" in entry.facts["adapter"]
        assert not run.out.adapter_modelfile.exists()
        return
    found = parse_modelfile(run.out.adapter_modelfile.read_text("utf-8"))
    assert (found.base, found.adapter) == (named, "./ft-lora.gguf")


def test_a_base_of_the_registry_is_named_by_its_path(run: Folder, ggufs: Path) -> None:
    shutil.copy(ggufs / "lora.gguf", run.out.lora)
    base = ggufs / "silent.gguf"
    run.models = Models(ModelPool(Registry(files={"small": FileEntry(path=str(base))}), {}))
    run.recipe = overridden(run.recipe, {"base": "small"})
    run.modelfile()
    assert parse_modelfile(run.out.adapter_modelfile.read_text("utf-8")).base == str(base.resolve())


def test_a_model_without_a_template_is_refused(run: Folder, ggufs: Path) -> None:
    run.take(ggufs / "no_template.gguf")
    with pytest.raises(InputError, match="has no chat template"):
        run.modelfile()
    gguf = run.out.quantized("Q8_0")
    gguf.write_bytes(b"GGUF and no more")
    with pytest.raises(InputError, match="cannot be read as GGUF"):
        run.modelfile()
    gguf.unlink()
    with pytest.raises(InputError, match="there is no GGUF of the model yet"):
        run.modelfile()
