"""Things in the place of a small text file that would block or fill the memory of a reader."""

import os


def fifo(path):
    os.mkfifo(path)


def sparse(path):
    """A file of 8 GB that occupies no disk space."""
    with path.open("wb") as file:
        file.truncate(8_000_000_000)


def zeros(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


NOT_FILES = {"fifo": fifo, "sparse": sparse, "zeros": zeros, "folder": folder}
"""What creates each, by name."""


def laughs(levels=12, width=10):
    """Return YAML mappings that aliases expand to `width ** levels` values."""
    lines = ["a0: &a0 ha"]
    for level in range(1, levels):
        aliases = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines) + "\n"


DOCUMENTS = {
    "laughs": laughs(),
    "quadratic": f"a: &a {'x' * 40_000}\nb: [{'*a,' * 4000}]\n",
    "merged": "a: &a {x: &x [1]}\nb: &b {<<: [" + "*a, " * 30_000 + "]}\n",
    "itself": "a: &a [*a]\n",
    "lists": "a: " + "[" * 20_000 + "\n",
    "mappings": "a: " + "{a: " * 10_000 + "\n",
    "blocks": "".join(f"{' ' * depth}a:\n" for depth in range(300)),
    "many": "a: [" + "0," * 30_000 + "]\n",
    "directives": "%TAG !a! b\n" * 6000 + "--- {}\n",
}
"""Documents of at most 64 KB (but for `merged`) that exceed a limit of the YAML reader."""
