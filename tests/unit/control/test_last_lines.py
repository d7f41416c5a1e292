from __future__ import annotations

from millrace.control.last_lines import LONGEST_LINE, MOST_LINES, TAIL_BYTES, last_lines

STARTING = "2026-03-01T12:00:00Z millrace host: starting bikes: python -m spark_apps.bikes"


def test_a_log_that_is_not_here_has_no_lines(tmp_path):
    assert last_lines(tmp_path / "stream-bikes.log") == []


def test_the_last_lines_are_bounded_in_number_and_length(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"line {number} {'x' * 5000}\n" for number in range(100)) + "\n\n")
    lines = last_lines(path)
    assert lines[-1].startswith("line 99 xxx")
    assert max(map(len, lines)) == LONGEST_LINE + 2
    path.write_text("".join(f"line {number}\n" for number in range(100)))
    assert last_lines(path) == [f"line {number}" for number in range(100 - MOST_LINES, 100)]


def test_a_long_log_is_read_from_its_end_and_not_from_the_middle_of_a_line(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"\xc3\xa4" * TAIL_BYTES + b"\nthe end\n")
    assert last_lines(path) == ["the end"]


def test_of_a_driver_that_was_started_again_the_lines_before_are_shown(tmp_path):
    path = tmp_path / "log"
    path.write_text(f"{STARTING}\nold\n{STARTING}\nboom\nthe end\n{STARTING}\nnew\n")
    assert last_lines(path)[-1] == "new"
    assert last_lines(path, started_again=True) == [STARTING, "old", STARTING, "boom", "the end"]


def test_colours_and_secrets_are_left_out(tmp_path):
    path = tmp_path / "log"
    path.write_text("\x1b[31mkey is hunter2\x1b[0m\n")
    assert last_lines(path, hide=["hunter2", ""]) == ["key is ***"]
