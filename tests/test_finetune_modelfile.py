"""The Modelfile: what is written is read back, and what cannot be written is refused."""

from __future__ import annotations

import pytest

from harness.errors import InputError
from skills.finetune.modelfile import Modelfile, parse, write

STOPS = ("<|im_end|>", "</annotation>")


def value_of(text: str) -> str | None:
    return parse(f"FROM x\nSYSTEM {text}").system


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value).count("\n") == 0
    return str(caught.value)


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
        ('"""one\r\ntwo"""', "one\r\ntwo"),
        ("# no comment here", "# no comment here"),
        ("it's \\n no escape", "it's \\n no escape"),
        ("a\x00b\x1bc", "abc"),
        ("Zürich\N{NO-BREAK SPACE}\N{LINE SEPARATOR}x", "Zürichx"),
    ],
)
def test_values_are_read_as_ollama_reads_them(written: str, read: str) -> None:
    assert value_of(written) == read


def test_a_whole_modelfile_is_read() -> None:
    text = """\ufeff# a comment
from ./model.gguf

  # another one
Adapter ./lora.gguf
PARAMETER stop <|im_end|>
parameter temperature 0.1
PARAMETER stop "</annotation>"
PARAMETER num_ctx 4096
PARAMETER mirostat 1
PARAMETER use_mmap FALSE
MESSAGE user "Hi
there"
LICENSE Apache-2.0
TEMPLATE \"""{{ .Prompt }}
\"""
"""
    assert parse(text) == Modelfile(
        "./model.gguf",
        "./lora.gguf",
        {"stop": STOPS, "temperature": 0.1, "num_ctx": 4096, "use_mmap": False},
        "{{ .Prompt }}\n",
        None,
        (("MESSAGE user", "Hi\nthere"), ("LICENSE", "Apache-2.0")),
    )


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "", "no FROM line"),
        ("PARAMETER seed 1\n", "", "no FROM line"),
        ("FROM x\nFORM y\n", "line 2", "'FORM' is no instruction"),
        ("FROM\n", "line 1", "'FROM' is no instruction"),
        ("FROM x\nFROM y\n", "line 2", "a second FROM"),
        ('FROM x\nSYSTEM "open\nand on\n', "line 2", "the quote that begins here has no end"),
        ('FROM x\nSYSTEM """open"\n', "line 2", "the quote that begins here has no end"),
        ("FROM x\nPARAMETER heat 1\n", "line 2", "there is no parameter 'heat'"),
        ("FROM x\nPARAMETER num_ctx much\n", "line 2", "num_ctx cannot be 'much'"),
        ("FROM x\nPARAMETER use_mmap maybe\n", "line 2", "use_mmap cannot be 'maybe'"),
        ("FROM x\nPARAMETER  stop x\n", "line 2", "after one blank"),
        ("FROM x\nPARAMETER stop\n", "line 2", "after one blank"),
        ("FROM x\nMESSAGE robot hello\n", "line 2", "MESSAGE needs a role"),
    ],
)
def test_a_modelfile_with_a_fault_is_refused_by_its_line(text: str, where: str, what: str) -> None:
    said = refusal(text)
    assert where in said
    assert what in said


def test_what_is_written_is_the_lesson_s_modelfile() -> None:
    parameters = {"stop": STOPS, "temperature": 0.1, "num_ctx": 4096}
    assert write(Modelfile("./m.Q4_K_M.gguf", None, parameters), ["why\nand how"]) == (
        "# why\n# and how\nFROM ./m.Q4_K_M.gguf\n"
        'PARAMETER stop "<|im_end|>"\nPARAMETER stop "</annotation>"\n'
        "PARAMETER temperature 0.1\nPARAMETER num_ctx 4096\n"
    )


@pytest.mark.parametrize(
    "modelfile",
    [
        Modelfile("qwen2.5:7b-instruct", "./a b.gguf", {"stop": (" ", "\n", '"', "#")}),
        Modelfile("/a folder/with blanks.gguf", None, {"stop": ("x",), "use_mmap": True}),
        Modelfile("m", system='on one line """ can stand'),
        Modelfile(" odd", None, {}, '{{ "quoted" }}\nand on', 'say "no"\nand "yes" again'),
        Modelfile(
            "m",
            others=(
                ("LICENSE", "two\nlines"),
                ("MESSAGE user", "Hi\nthere"),
                ("REQUIRES", "0.30.0"),
            ),
        ),
        Modelfile("m", None, {"temperature": 1e-07, "top_p": 1.0, "seed": -1}),
    ],
)
def test_what_is_written_is_read_back(modelfile: Modelfile) -> None:
    assert parse(write(modelfile)) == modelfile


@pytest.mark.parametrize("text", ["bell\x07", 'x"\ny"""\nz', "x\u2028y"])
def test_a_text_that_no_quotes_can_hold_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot be written in a Modelfile"):
        write(Modelfile("m", system=text))


def test_a_parameter_that_ollama_does_not_know_is_not_written() -> None:
    with pytest.raises(InputError, match="there is no parameter 'heat'"):
        write(Modelfile("m", None, {"heat": 1}))
    with pytest.raises(InputError, match="read as something else"):
        write(Modelfile("m", None, {"stop": "</annotation>"}))
