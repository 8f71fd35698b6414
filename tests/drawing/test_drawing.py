"""Pictures of evidence: what they hold, not how a machine's fonts make them look."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from sternway.domain.judgements import Criterion, Judgement, Verdict
from sternway.domain.trails import LOOKS_AT_MOST, Trail, TrailMaker
from sternway.drawing import figure, lines, png, svg
from sternway.drawing.scales import height, odds, top
from sternway.errors import Refused

SVG = "{http://www.w3.org/2000/svg}"


def judged(e_value: float, exposure_e_value: float, *, name: str = "errors", needed: float = 182.0) -> Judgement:
    """Make a judgement with one criterion."""
    criterion = Criterion(
        name=name,
        unit="request",
        candidate_total=100,
        candidate_bad=4,
        stable_total=900,
        stable_bad=1,
        e_value=e_value,
        needed=needed,
        exposure_e_value=exposure_e_value,
        suspects_at=20.0,
    )
    quiet = replace(criterion, name="latency-p99", e_value=1.0, exposure_e_value=1.2)
    return Judgement(verdict=Verdict.UNDECIDED, sentence="", criteria=(criterion, quiet))


def story() -> Trail:
    """Exposed, withdrawn, exposed, rolled back: a minute."""
    maker = TrailMaker("orders-17")
    maker.look(1000.0, "starting", 0.0, None)
    for second, e_value, exposure in ((2, 1.0, 1.0), (9, 1.0, 8.0), (10, 6.4, 25.0)):
        maker.look(
            1000.0 + second,
            "withdrawn" if second == 10 else "exposed",
            0.0 if second == 10 else 10.0,
            judged(e_value, exposure),
        )
    maker.look(1040.0, "exposed", 10.0, judged(6.4, 1.0))
    maker.look(1060.0, "rolled-back", 0.0, judged(5000.0, 900.0))
    maker.over(1060.0)
    return maker.trail()


def panels(trail: Trail) -> dict[str, ET.Element]:
    """Read the panels of the SVG."""
    root = ET.fromstring(svg(figure(trail)))
    return {group.attrib["data-about"]: group for group in root.iter(f"{SVG}g")}


def points(panel: ET.Element, role: str) -> list[tuple[float, float]]:
    """Read a curve."""
    (line,) = (one for one in panel.iter(f"{SVG}polyline") if one.attrib["class"] == role)
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_the_svg_has_a_panel_for_each_criterion_that_spoke_and_one_for_the_split():
    """A criterion that never spoke is named, and takes no room."""
    found = panels(story())
    assert list(found) == ["errors/request", "split", "frame"]
    assert "never spoke: latency-p99 by request" in svg(figure(story()))


def test_withdrawals_are_shaded_for_as_long_as_they_lasted():
    """From second 10 to 40 of 60, on the scale of the time axis."""
    panel = panels(story())["errors/request"]
    ground, shade = (
        next(b for b in panel.iter(f"{SVG}rect") if b.attrib["class"] == role) for role in ("ground", "withdrawn")
    )
    whole = float(ground.attrib["width"])
    assert float(shade.attrib["width"]) / whole == pytest.approx(30 / 60, abs=0.01)
    assert (float(shade.attrib["x"]) - float(ground.attrib["x"])) / whole == pytest.approx(10 / 60, abs=0.01)


def test_the_curve_crosses_the_line_that_condemns_when_the_judge_did():
    """Evidence is held until the next look: below the line until the last one, above it there."""
    panel = panels(story())["errors/request"]
    (_, line_y), *_ = points(panel, "condemnation")
    curve = points(panel, "evidence")
    assert curve[-1][1] < line_y  # y grows downwards
    assert all(y > line_y for _, y in curve[:-2])
    assert [x for x, _ in curve] == sorted(x for x, _ in curve)
    exposure, suspicion = points(panel, "exposure"), points(panel, "suspicion")
    crossing = next(x for x, y in exposure if y < suspicion[0][1])
    shade = next(b for b in panel.iter(f"{SVG}rect") if b.attrib["class"] == "withdrawn")
    assert crossing == pytest.approx(float(shade.attrib["x"]), abs=0.2)


def test_the_split_is_drawn_while_the_candidate_has_traffic_alone():
    """Ten per cent from second 2 to 10 and from 40 to 60."""
    shares = [b for b in panels(story())["split"].iter(f"{SVG}rect") if b.attrib["class"] == "share"]
    assert sum(float(b.attrib["width"]) for b in shares) / 746.0 == pytest.approx((8 + 20) / 60, abs=0.01)
    assert {b.attrib["height"] for b in shares} == {"6.0"}


def test_names_from_outside_cannot_break_the_svg():
    """A release may be called anything that a service may."""
    trail = replace(story(), release='<&"')
    assert ET.fromstring(svg(figure(trail))).find(f"{SVG}title").text == '<&": evidence over time'


def test_the_png_is_a_picture_of_the_same_size_with_the_same_colours():
    """Twice as many dots as the layout has units; shades, curves and share are there."""
    laid = figure(story())
    image = Image.open(BytesIO(png(laid)))
    assert image.size == (2 * round(laid.width), 2 * round(laid.height))
    colours = {colour for _, colour in image.convert("RGB").getcolors(1_000_000)}
    assert {(0xFD, 0xEE, 0xC2), (0x4C, 0x78, 0xA8), (0x8E, 0x2A, 0x1F)} <= colours


def test_without_pillow_a_png_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    """The base install stays small: SVG needs nothing, PNG the extra."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(Refused) as refused:
        png(figure(story()))
    assert "sternway[png]" in refused.value.hint


@pytest.mark.parametrize("columns", [20, 60, 160])
def test_in_the_terminal_no_line_is_wider_than_it(columns: int):
    """But never narrower than what can be read."""
    drawn = list(lines(story(), columns=columns))
    charts = [line for line in drawn if not line.startswith(("errors", "never", "░"))]
    assert max(len(line) for line in charts) <= max(columns, 40) + 8


def test_in_the_terminal_the_lines_are_named_and_the_evidence_ends_above_what_condemns():
    """The last column of the curve stands over the row of the line."""
    drawn = list(lines(story(), columns=100))
    at = {name: next(i for i, line in enumerate(drawn) if name in line) for name in ("condemns 182", "withdraws 20")}
    last = next(i for i, line in enumerate(drawn[1:], start=1) if line.endswith("█"))
    assert last < at["condemns 182"] < at["withdraws 20"]
    assert sum("░" in line for line in drawn) >= 5


def test_where_only_ascii_can_be_shown_only_ascii_is():
    """A log file or an old terminal."""
    assert all(line.isascii() for line in lines(story(), columns=80, ascii_only=True))


def test_a_release_that_was_never_judged_is_drawn_all_the_same():
    """Nothing to show is no error."""
    assert list(lines(Trail(release="orders-1"), columns=80)) == ["nothing was judged yet"]
    assert "nothing was judged" in svg(figure(Trail(release="orders-1")))


def test_evidence_beyond_all_measure_stays_in_the_picture():
    """10^150 to 1 is drawn at the top of a scale that still shows the lines."""
    maker = TrailMaker("orders-1")
    maker.look(0.0, "exposed", 10.0, judged(1e150, 1e150))
    (track, _) = maker.trail().tracks
    assert top(track) <= 182.0 * 1000 * 100
    assert height(1e150, top(track)) == 1.0
    assert height(1e-9, top(track)) == 0.0
    assert odds(1e150) == "10^150"


def test_a_long_release_keeps_a_bounded_number_of_looks_and_every_turn():
    """A hundred thousand looks, ten withdrawals: the looks at which something began or ended stay."""
    maker = TrailMaker("orders-1")
    for second in range(100_000):
        phase = "withdrawn" if second % 10_000 > 9_900 else "exposed"
        maker.look(float(second), phase, 10.0, judged(1.0 + second, 1.0))
    trail = maker.trail()
    assert len(trail.times_s) <= LOOKS_AT_MOST
    assert {float(at) for at in range(9_901, 100_000, 10_000)} <= set(trail.times_s)
    assert trail.times_s[-1] >= 99_000
    assert len(trail.tracks[0].e_values) == len(trail.times_s) == len(trail.percents)
    assert re.fullmatch(r"(exposed withdrawn ?)+", " ".join(stretch.phase for stretch in trail.stretches))
