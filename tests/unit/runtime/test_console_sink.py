"""What a person sees of a micro-batch."""

from __future__ import annotations

import pytest

from spark_apps.runtime.console_sink import Console


def test_values_in_a_line_and_rows_as_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = [{"word": "[red]", "count": 3}, {"word": "b", "count": 1}]
    Console().show({"lines": 2, "top_words": rows, "nothing": []}, batch=4)
    text = capsys.readouterr().out
    assert text.splitlines()[0].split() == ["batch", "4", "lines", "2"]
    assert "top words" in text
    assert "[red]" in text, "what is shown is text, not markup"
    assert text.index("[red]") < text.rindex("b ")
