# SPDX-License-Identifier: MIT
"""`xdplb bench`'s plots and progress. Nothing is sent here."""

import itertools
import re
import sys
import time

import pytest

from xdplb.cli import progress
from xdplb.errors import MissingPart, XdplbError
from xdplb.traffic import plot, sampler
from xdplb.traffic.machine_load import Observed
from xdplb.traffic.sampler import Sample, Sampler

CORES = [{"busy": 90.0, "softirq": 80.0}, {"busy": 10.0, "softirq": 0.0}]


def looked(director: dict[str, int] | None) -> Sampler:
    """Three samples of half a second, each with 500 packets sent, by two queues."""
    found = Sampler("none", 1.5, dict, None, keep=True)
    for number in range(1, 4):
        load = Observed(0.5, CORES, {}, director)
        found.samples.append(Sample(number / 2, {"queue 0": 400, "queue 1": 100}, load))
    return found


def words(svg: str) -> list[str]:
    """What an SVG says, whose glyphs are paths: each text is in a comment."""
    return re.findall(r"<!-- (.*?) -->", svg)


@pytest.mark.parametrize(
    ("ending", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml")], ids=["PNG", "SVG"]
)
def test_a_plot_is_written_by_its_ending(tmp_path, ending, begin):
    """The whole file is there, and no other beside it."""
    file = tmp_path / f"plot{ending}"

    plot.require(file)
    plot.draw(file, "pktgen", [plot.Run("pktgen", looked({"forwarded": 500}))])

    assert file.read_bytes().startswith(begin)
    assert [file] == list(tmp_path.iterdir())


def test_a_plot_says_what_was_sent_what_became_of_it_and_by_which_cores(tmp_path):
    """Title, axes with units, and a name for each line."""
    file = tmp_path / "plot.svg"

    run = plot.Run("pktgen", looked({"forwarded": 450, "drop_no_real": 50, "pass_not_ip": 0}))
    plot.draw(file, "pktgen: UDP by ens33, frames of 64 B", [run])

    said = words(file.read_text())
    assert any(re.fullmatch(r"pktgen: UDP by ens33, frames of 64 B, \d{4}-.*", w) for w in said)
    assert {"packets/s", "% of time", "seconds since the start"} <= set(said)
    assert {"queue 0", "queue 1", "forwarded", "drop_no_real", "core 1: softirq"} <= set(said)
    assert "pass_not_ip" not in said


def test_a_plot_without_a_director_has_two_parts(tmp_path):
    """There are no counters to show where none is attached."""
    file = tmp_path / "plot.svg"

    plot.draw(file, "pktgen", [plot.Run("pktgen", looked(None))])

    assert not any("director" in word for word in words(file.read_text()))


def test_rates_are_per_second():
    """400 packets in half a second are 800/s; the middle of the first sample is at 0.25 s."""
    spans = plot._spans([plot.Run("", looked(None))])

    line, other = plot._rates(spans, [each.sample.sent for each in spans])

    assert ([0.25, 0.75, 1.25], [800.0] * 3) == (line.seconds, line.values)
    assert [200.0] * 3 == other.values


def test_many_names_share_a_line():
    """No more lines than colours: the smallest are one."""
    spans = plot._spans([plot.Run("", looked(None))])
    counts = [{f"counter {n}": 100 - n for n in range(20)}] * 3

    lines = plot._rates(spans, counts)

    assert [*(f"counter {n}" for n in range(6)), "14 others"] == [line.name for line in lines]
    assert 2 * sum(100 - n for n in range(20)) == sum(line.values[0] for line in lines)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent/plot.png", "No such file or directory"), ("plot.png", "is a directory")],
)
def test_a_file_that_cannot_be_written_is_told_before(tmp_path, name, reason):
    """With exit code 1: the command line is well-formed."""
    (tmp_path / "plot.png").mkdir()

    with pytest.raises(XdplbError, match=reason) as told:
        plot.require(tmp_path / name)

    assert 1 == told.value.exit_code


def test_a_missing_matplotlib_is_told_before(tmp_path, monkeypatch):
    """With the package; the file is not made."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingPart, match="apt-get install python3-matplotlib"):
        plot.require(tmp_path / "plot.png")

    assert [] == list(tmp_path.iterdir())


def test_a_plot_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    """It is written beside it first."""
    file = tmp_path / "plot.svg"
    file.write_text("old")

    def fill(new, **_):
        new.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, new, **more: fill(new))

    with pytest.raises(XdplbError, match="No space left"):
        plot.draw(file, "pktgen", [plot.Run("pktgen", looked(None))])

    assert "old" == file.read_text()
    assert [file] == list(tmp_path.iterdir())


def test_a_sampler_tells_and_keeps(monkeypatch):
    """Packets since its start: those that a sender sent before are not the run's."""
    monkeypatch.setattr(sampler, "_TELL_S", 0.1)
    counter = itertools.count(1000, 10)
    told = []
    with Sampler(
        "none", 1, lambda: {"ens33": next(counter)}, lambda *each: told.append(each), keep=True
    ) as look:
        time.sleep(0.5)

    assert told[0][0] >= 0.1
    assert 0 < told[0][1]["ens33"] < 500
    assert len(look.samples) > 3
    assert all(sample.sent["ens33"] in (10, 20, 30) for sample in look.samples)
    assert [0 < each.end_s <= 0.6 for each in look.samples] == [True] * len(look.samples)


def test_nobody_looks_where_nothing_is_told_or_kept():
    """On a pipe, and without a plot, no core is taken."""

    def count():
        raise AssertionError

    with Sampler("none", 1, count, None, keep=False) as look:
        time.sleep(0.1)

    assert [] == look.samples


def test_progress_is_for_terminals(monkeypatch, capsys):
    """A pipe hears nothing."""
    with progress.progress(10) as tell:
        pass

    assert tell is None
    assert "" == capsys.readouterr().err


def test_progress_is_one_line(monkeypatch, capsys):
    """It is rewritten, and erased at the end."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress(10) as tell:
        tell(2.0, {"queue 0": 1000, "queue 1": 3000})

    lines = capsys.readouterr().err.split("\r")
    assert ["", "2 s of 10 s, 4,000 packets, 2,000/s", ""] == [
        line.removeprefix("\033[K") for line in lines
    ]
