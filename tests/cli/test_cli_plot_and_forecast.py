"""`--plot`: on the terminal, as a file, in JSON, with a platform and without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from running_platform import FILES, Served
from typer.testing import CliRunner, Result

from sternway.cli import plotting
from sternway.cli.foreseeing import KNOWN_FROM
from sternway.cli.plotting import TERMINAL, WithPlot
from sternway.domain.releases import Phase
from sternway.domain.trails import Stretch, Track, Trail
from sternway.errors import InvalidInput

Run = Callable[..., Result]
TRAIL = Trail(
    release="orders-1",
    times_s=(0.0, 5.0, 9.0),
    percents=(10.0, 0.0, 0.0),
    tracks=(
        Track(
            name="errors",
            unit="request",
            needed=182.0,
            e_values=(1.0, 40.0, 400.0),
            suspects_at=(20.0, 20.0, 20.0),
            exposure_e_values=(1.0, 30.0, 1.0),
        ),
    ),
    stretches=(Stretch(phase="exposed", start_s=0.0, end_s=5.0), Stretch(phase="withdrawn", start_s=5.0, end_s=None)),
)


@pytest.mark.parametrize(
    ("arguments", "plot"),
    [
        (["orders-1"], None),
        (["orders-1", "--plot"], TERMINAL),
        (["--plot", "orders-1"], TERMINAL),
        (["orders-1", "--plot", "a.svg"], "a.svg"),
        (["--plot", "b.PNG", "orders-1"], "b.PNG"),
        (["orders-1", "--plot", "a.txt"], "a.txt"),
        (["orders-1", "--plot", "--loud"], TERMINAL),
    ],
    ids=["without", "at the end", "before the release", "a file", "a file first", "a wrong file", "before an option"],
)
def test_plot_may_stand_alone_or_before_a_file(arguments: list[str], plot: str | None):
    """What has an ending is a file, also one that will be refused; everything else belongs to somebody else."""
    app = typer.Typer()

    @app.command(cls=WithPlot)
    def show(
        release: str,
        plot: Annotated[str | None, typer.Option("--plot")] = None,
        loud: Annotated[bool, typer.Option()] = False,
    ) -> None:
        typer.echo(json.dumps([release, plot, loud]))

    told = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert told == ["orders-1", plot, "--loud" in arguments]


def test_a_file_is_written_by_its_ending(tmp_path: Path):
    """SVG is text, PNG is not."""
    plotting.plot(TRAIL, str(tmp_path / "a.svg"))
    plotting.plot(TRAIL, str(tmp_path / "a.PNG"))
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["a.pdf", "missing/a.svg"], ids=["another kind", "no such folder"])
def test_a_file_that_cannot_be_written_is_refused_with_what_to_do(tmp_path: Path, name: str):
    """Named, with a fix; never a traceback."""
    with pytest.raises(InvalidInput) as refused:
        plotting.plot(TRAIL, str(tmp_path / name))
    (problem,) = refused.value.problems
    assert problem.file.endswith(name)
    assert problem.fix


def test_a_release_of_a_running_platform_is_plotted(served: Served, sternway: Run, tmp_path: Path):
    """Below the story; as JSON beside it; as a file without anything more on the terminal."""
    served.call(served.platform.commit("1.1.0", bad=0.3))
    served.call(served.platform.until(Phase.ROLLED_BACK))
    text = sternway("release", "show", "orders-1", "--plot")
    assert text.exit_code == 0
    assert "Evidence over time" in text.stdout
    assert "share of traffic" in text.stdout
    told = json.loads(sternway("release", "show", "orders-1", "--plot", "-o", "json").stdout)
    assert told["trail"]["release"] == told["release"]["name"] == "orders-1"
    assert told["trail"]["stretches"][0]["phase"] == "starting"
    written = sternway("release", "show", "orders-1", "--plot", str(tmp_path / "a.svg"))
    assert written.exit_code == 0
    assert "Evidence over time" not in written.stdout
    assert "orders-1: evidence over time" in (tmp_path / "a.svg").read_text()


def test_check_takes_the_traffic_from_the_platform_that_runs_there(served: Served, sternway: Run, folder: Path):
    """No --rps is needed beside a platform: its rate, and how stable answers, are what it sees."""
    served.call(served.platform.run(15))
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (told,) = json.loads(sternway("check", str(folder), "-o", "json").stdout)["forecasts"]
    status = json.loads(sternway("status", "-o", "json").stdout)["services"][0]
    assert told["source"] == "as the platform sees now"
    assert told["rate_per_s"] == pytest.approx(status["rate_per_s"], rel=0.05)
    assert told["assumed"] == (status["stable_answers"] < KNOWN_FROM)
