"""What `millrace watch hashtags` shows: the chart, what moved, the words about it, and the pictures."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from millrace.control.desired import write_desired
from millrace.control.live import LiveView, live_key
from millrace.control.status import write_status
from millrace.store import MemoryStore, StoreUnavailable
from millrace.supervision import Rules
from millrace.watch import picture, show
from millrace.watch.bars import HASHTAGS, USERS, Bar, Chart, NotATop
from millrace.watch.condition import Condition
from millrace.watch.show import Pictures, Watch
from millrace.watch.terminal import BarChart
from tests.unit.control.samples import NOW, desired, status

LIVE = Condition("live", "", True)
COUNTS = {"#seoul": 97, "#서울": 61, "#rain": 40, "#é": 1}
NAME = "trending_hashtags"


def content(counts: dict[str, int] = COUNTS, end: str | None = "2026-03-01T22:30:00.000Z", **more):
    top = [{"tag": tag, "count": count} for tag, count in counts.items()]
    return {"as_of": end, "window": "20s", "slide": "2s", "window_end": end, "top": top} | more


def printed(chart: Chart | None, condition: Condition = LIVE, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(BarChart(chart, condition))
    return console.file.getvalue().rstrip("\n").split("\n")


class Stage:
    """A store with a stream in it, as `millrace watch` sees it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.now = NOW
        self.watch = Watch(self.store, NAME, HASHTAGS, "millrace", "millrace feed run posts_demo", Rules())

    def driver(self, state: str = "running", **changes) -> None:
        write_status(self.store, status(state, stream=NAME, **changes).status)

    def view(self, **changes) -> None:
        live = LiveView(
            stream=NAME, driver_epoch=3, batch=1, written_at=self.store.now, content=content(**changes)
        )
        self.store.put(live_key(NAME), live.model_dump_json().encode())


def test_a_chart_says_what_moved_since_the_one_before():
    first = HASHTAGS.chart(content())
    assert (first.title, first.span) == ("Trending hashtags", "20s up to 2026-03-01 22:30:00 UTC")
    assert {bar.move for bar in first.bars} == {"same"}
    second = HASHTAGS.chart(content({"#서울": 70, "#snow": 50, "#rain": 40, "#seoul": 3}), first)
    assert second.bars == (
        Bar("#서울", 70, "up"),
        Bar("#snow", 50, "new"),
        Bar("#rain", 40, "same"),
        Bar("#seoul", 3, "down"),
    )


def test_users_are_a_chart_too():
    rows = [{"source": "demo", "user_id": "ann", "requests": 3, "total": 9, "mood": 0.1}]
    chart = USERS.chart({"window": "1min", "window_end": "2026-03-01T22:30:00.500Z", "most_active": rows})
    assert (chart.title, chart.bars) == ("Most active users", (Bar("ann", 3),))
    assert chart.span == "1min up to 2026-03-01 22:30:00.500 UTC"


@pytest.mark.parametrize(
    "wrong", [{"top": [{"tag": "#a"}]}, {"top": None}, {"top": [{"tag": "#a", "count": "many"}]}]
)
def test_a_view_of_something_else_is_told(wrong):
    with pytest.raises(NotATop, match="not one of trending_hashtags"):
        HASHTAGS.chart(content(**wrong))


@pytest.mark.parametrize("width", [30, 50, 80, 300])
def test_in_a_terminal_bars_are_as_long_as_their_counts_and_lines_as_wide_as_it(width):
    title, *lines, last = printed(HASHTAGS.chart(content()), width=width)
    assert title.startswith("Trending hashtags")
    if width < 60:
        lines = lines[1:]  # the title takes two
    assert len(lines) == 10  # always room for ten
    assert last == "● live"
    assert max(map(cell_len, lines)) <= width
    bars = {line.split()[0]: line.count("█") for line in lines[:4]}
    assert list(bars) == list(COUNTS)
    assert bars["#서울"] == int(bars["#seoul"] * 61 / 97) or bars["#서울"] == round(bars["#seoul"] * 61 / 97)
    assert set(lines[3]) & set("▏▎▍▌▋▊▉█")  # the smallest is to be seen
    assert [line.split()[-1] for line in lines[:4]] == ["97", "61", "40", "1"]


def test_what_would_disturb_a_terminal_is_not_printed():
    lines = printed(HASHTAGS.chart(content({"#\x1b[31mred\n": 2, "#[bold]x[/bold]": 1})))
    assert "#\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}" in lines[1]
    assert "#[bold]x[/bold]" in lines[2]


def test_a_png_has_a_bar_for_each_count_and_code_points_for_what_no_font_has():
    chart = HASHTAGS.chart(content({"#seoul": 100, "#a$b$": 50, "#\N{EGYPTIAN HIEROGLYPH A001}": 25}))
    body, missing = picture.png(chart)
    image = Image.open(io.BytesIO(body)).convert("RGB")
    assert image.size == (1440, 810)
    of_color = {
        color: sum(image.getpixel((x, y)) == color for x in range(1440))
        for color, y in [((0x1D, 0x4E, 0xD8), 175), ((0x93, 0xB4, 0xF5), 237)]
    }
    first, second = of_color.values()
    assert first == pytest.approx(0.59 * 1440, abs=4)
    assert second == pytest.approx(first / 2, abs=3)
    assert missing <= {"\N{EGYPTIAN HIEROGLYPH A001}"}


def test_a_page_holds_the_picture_with_its_text_as_text_and_nothing_from_elsewhere():
    chart = HASHTAGS.chart(content({"#<b>&": 3, "#서울": 2, "#$x$": 1}))
    page = picture.html(chart, again_after=2)
    assert '<meta http-equiv="refresh" content="2">' in page
    assert "refresh" not in picture.html(chart)
    svg = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    texts = ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Trending hashtags", chart.span, "#<b>&", "#서울", "#$x$", "3", "2", "1"} <= set(texts)
    assert "src=" not in page
    assert 'href="http' not in page
    assert picture.html(chart) == picture.html(chart)


def test_an_empty_window_has_a_picture_too():
    chart = HASHTAGS.chart(content({}))
    assert Image.open(io.BytesIO(picture.png(chart)[0])).size == (1440, 810)
    assert "nothing in this window" in picture.html(chart)


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "top.png"
    picture.write(path, b"old")
    picture.write(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("top.png", b"new")]


def test_from_nothing_to_live_to_old_to_down_it_says_what_is_the_matter_and_what_to_do():
    stage = Stage()
    condition, changed = stage.watch.look()
    assert (condition.state, condition.usable, changed) == ("down", False, False)
    assert "has never run: unpause the DAG stream__trending_hashtags" in condition.words
    stage.driver("starting", started_at=NOW)
    assert stage.watch.look()[0] == Condition("waiting", f"{NAME} is starting", False)
    stage.driver()
    condition, _ = stage.watch.look()
    assert (condition.state, condition.usable) == ("waiting", False)
    assert "does `millrace status` show its feed? `millrace feed run posts_demo` runs it" in condition.words
    stage.view(end=None, counts={})
    assert stage.watch.look()[0].state == "waiting"
    stage.view()
    assert stage.watch.look() == (LIVE, True)
    assert stage.watch.look() == (LIVE, False)
    stage.store.now += timedelta(seconds=16)
    stage.driver()
    condition, changed = stage.watch.look()
    assert (condition.state, condition.usable, changed) == ("quiet", True, False)
    assert condition.words.startswith("nothing has come for 16 s, this is how it was then: does")
    stage.store.now += timedelta(minutes=10)
    condition, _ = stage.watch.look()
    assert (condition.state, condition.usable) == ("down", True)
    assert "trending_hashtags is silent" in condition.words
    assert "`millrace logs trending_hashtags`" in condition.words
    write_desired(stage.store, NAME, desired("stopped"), replacing=None)
    stage.driver("stopped")
    assert "trending_hashtags is stopped" in stage.watch.look()[0].words


def test_what_moved_is_told_until_it_moves_again():
    stage = Stage()
    stage.driver()
    stage.view(counts={"#a": 2, "#b": 1})
    stage.watch.look()
    stage.view(counts={"#b": 3, "#a": 2})
    assert stage.watch.look()[1]
    stage.view(counts={"#b": 3, "#a": 2}, as_of="2026-03-01T22:30:01.000Z")
    assert not stage.watch.look()[1]
    assert [bar.move for bar in stage.watch.chart.bars] == ["up", "down"]


def test_shown_once_it_writes_the_pictures_or_says_that_there_is_nothing(tmp_path, capsys):
    stage = Stage()
    pictures = Pictures(png=tmp_path / "top.png", html=tmp_path / "top.html")
    assert not show.show(stage.watch, pictures, interval=1, once=True)
    assert "has never run" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    stage.driver()
    stage.view()
    assert show.show(stage.watch, pictures, interval=1, once=True)
    assert "#seoul" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["top.html", "top.png"]


def test_while_the_store_does_not_answer_the_last_chart_stays(tmp_path, capsys, monkeypatch):
    stage = Stage()
    stage.driver()
    stage.view()
    looks = []

    def away(_: str):
        raise StoreUnavailable("GET live: refused")

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            monkeypatch.setattr(stage.store, "get", away)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(show, "sleep", sleep)
    monkeypatch.setattr(show, "Console", lambda **kwargs: Console(force_terminal=True, width=100, **kwargs))
    with pytest.raises(KeyboardInterrupt):
        show.show(stage.watch, Pictures(html=tmp_path / "top.html"), interval=0.5, once=False)
    assert looks == [0.5, 0.5, 0.5]
    out = capsys.readouterr().out
    assert "the object store does not answer (GET live: refused)" in out
    assert out.count("#seoul") >= 3
    assert (tmp_path / "top.html").exists()
