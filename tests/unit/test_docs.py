# SPDX-License-Identifier: MIT
"""What the pages say agrees with the code: counters, sizes, command lines, files."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from xdplb.cli.main import cli
from xdplb.model import toml_file
from xdplb.model.tunables import Tunables

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
}
OPERATIONS = PAGES["docs/operations.md"]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(.*)$", re.MULTILINE)
PROMPT = re.compile(r"^(?:\w+# |ExecStart=/\S*/|ExecReload=/\S*/)?(xdplb .*)$", re.MULTILINE)
INLINE = re.compile(r"`(xdplb [^`]+)`")
NAMED = re.compile(r"`((?:bpf|xdplb|tests|tools|bench|docs)/[\w./-]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def section(page: str, title: str) -> str:
    """Cut out the text under a heading of the second level."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    """Read the backticked names in a table's first column."""
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def command_lines() -> Iterator[tuple[str, str, bool]]:
    """Yield each page's command lines, and whether the line is complete."""
    for page, text in PAGES.items():
        blocks = [body for _, body in FENCE.findall(text)]
        prose = FENCE.sub("", text)
        blocks.append("\n".join(INDENTED.findall(prose)))
        for line in dict.fromkeys(PROMPT.findall("\n".join(blocks))):
            yield page, line, True
        for line in dict.fromkeys(INLINE.findall(prose)):
            yield page, " ".join(line.split()), False


def parse(line: str, *, whole: bool) -> None:
    """Have click parse a command line, without running it. Raises: click.UsageError."""
    _, *arguments = shlex.split(line, comments=True)
    name, command, context = "xdplb", cli, None
    while True:
        try:
            context = command.make_context(name, arguments, parent=context)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
            if whole:
                raise
            return
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
        name, found, arguments = command.resolve_command(context, rest)
        assert found is not None
        command = found


def test_operations_explains_each_counter_in_the_struct_s_order():
    """Every field of struct counters has its row in operations.md, and nothing else has."""
    text = (ROOT / "bpf/counters.h").read_text()
    struct = text.partition("struct counters {")[2].partition("};")[0]

    counters = re.findall(r"__u64 (\w+);", struct)

    assert len(counters) > 10
    assert counters == first_column(section(OPERATIONS, "Counters"))


def test_operations_has_each_tunable_with_its_default():
    """The table of sizes is the dataclass."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", section(OPERATIONS, "Sizes"), re.MULTILINE)

    assert [(field.name, str(field.default)) for field in fields(Tunables)] == rows


@pytest.mark.parametrize(("page", "line", "whole"), list(command_lines()))
def test_command_lines_are_ones_that_xdplb_takes(page, line, whole):
    """Each line's command, options and values exist. A complete line lacks none."""
    parse(line, whole=whole)


@pytest.mark.parametrize("line", ["xdplb attach", "xdplb service add -q", "xdplb serve"])
def test_a_command_line_that_xdplb_does_not_take_is_found(line):
    """The test above can fail."""
    with pytest.raises(click.UsageError):
        parse(line, whole=True)


@pytest.mark.parametrize("page", PAGES)
def test_files_and_links_are_there(page):
    """Every link, and every file named from the repository's root, exists."""
    linked = [(ROOT / page).parent / target for target in LINK.findall(PAGES[page])]
    named = [ROOT / name for name in NAMED.findall(PAGES[page])]

    assert [] == [str(path) for path in (*linked, *named) if not path.exists()]


@pytest.mark.parametrize("page", PAGES)
def test_configurations_shown_are_valid(page):
    """Each block of TOML is a file that `apply` takes."""
    for language, body in FENCE.findall(PAGES[page]):
        if language == "toml":
            assert toml_file.parse(body, page).services
