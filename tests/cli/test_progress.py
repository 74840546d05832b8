"""The progress that people see is what the metrics file says."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from hepfm.cli.progress import Follower, _three_figures


def _line(step: int, **metrics: object) -> str:
    named = {key.replace("_", "/", 1): value for key, value in metrics.items()}
    return json.dumps({"step": step, "time": 0.0, "metrics": named}) + "\n"


def _wait_for(text: str, screen: io.StringIO) -> None:
    end = time.monotonic() + 10
    while text not in screen.getvalue():
        assert time.monotonic() < end, screen.getvalue()
        time.sleep(0.02)


def test_plain_lines_at_validations(tmp_path: Path) -> None:
    metrics, screen = tmp_path / "metrics.jsonl", io.StringIO()
    console = Console(file=screen, width=200)
    with Follower(metrics, name="run-1", steps=20, console=console), metrics.open("a") as file:
        file.write(_line(10, train_loss=0.5))
        file.write(_line(10, val_loss=0.25, val_loss_baseline=0.75))
        file.write('{"step": 11, "ti')  # half a line, as a reader may find it
        file.flush()
        _wait_for("val 0.2500", screen)
        file.write('me": 0, "metrics": {"train/loss": 0.4}}\n')
        file.write(_line(20, val_loss=0.125, train_bad_steps=2))
    text = screen.getvalue()
    assert "step 10/20  loss 0.5000  val 0.2500  (no learning 0.7500)" in text
    assert "step 20/20  loss 0.4000  val 0.1250  (no learning 0.7500)  2 steps skipped (log.txt)" in text


def test_a_resumed_run_shows_only_what_is_new(tmp_path: Path) -> None:
    metrics, screen = tmp_path / "metrics.jsonl", io.StringIO()
    metrics.write_text(_line(1, val_loss=0.9) + _line(2, val_loss=0.8))
    with Follower(metrics, name="run-1", steps=3, console=Console(file=screen, width=200)):
        aside = tmp_path / "aside"
        # Steps that are made again are cut, and made, before anybody looks: as long as before, or longer.
        aside.write_text(_line(1, val_loss=0.9) + _line(2, val_loss=0.7) + _line(3, val_loss=0.6))
        aside.replace(metrics)
        _wait_for("0.6000", screen)
    assert "0.7000" in screen.getvalue()
    assert "0.8000" not in screen.getvalue()
    assert "0.9000" not in screen.getvalue(), "what the run kept is no news"


def test_what_was_shown_is_not_shown_again_after_a_restart_of_workers(tmp_path: Path) -> None:
    metrics, screen = tmp_path / "metrics.jsonl", io.StringIO()
    with Follower(metrics, name="run-1", steps=4, console=Console(file=screen, width=200)):
        lines = [_line(1, val_loss=0.9), _line(2, val_loss=0.8), _line(3, val_loss=0.7)]
        metrics.write_text("".join(lines))
        _wait_for("0.7000", screen)
        aside = tmp_path / "aside"
        aside.write_text(lines[0] + _line(2, val_loss=0.6))  # step 1 was saved, and is kept
        aside.replace(metrics)
        _wait_for("0.6000", screen)
    assert screen.getvalue().count("step 1/4") == 1
    assert screen.getvalue().count("step 2/4") == 2, "made again, with another loss"


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.4567, "0.457"), (0.0123, "0.0123"), (7.0, "7.00"), (84.23, "84.2"), (1234.5, "1234"), (0.0, "0")],
)
def test_rates_have_three_significant_figures(rate: float, shown: str) -> None:
    assert _three_figures(rate) == shown


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    metrics, screen = tmp_path / "metrics.jsonl", io.StringIO()
    console = Console(file=screen, width=200, force_terminal=True)
    with Follower(metrics, name="run-1", steps=4, console=console):
        metrics.write_text(_line(4, train_loss=0.5, throughput_events_per_s=84.2, data_wait_fraction=0.012))
        _wait_for("4/4", screen)
    assert "84.2 events/s" in screen.getvalue()
    assert "data wait 1.2%" in screen.getvalue()


def test_values_that_are_not_numbers_do_not_end_the_display(tmp_path: Path) -> None:
    metrics, screen = tmp_path / "metrics.jsonl", io.StringIO()
    with Follower(metrics, name="run-1", steps=2, console=Console(file=screen, width=200)):
        metrics.write_text(_line(1, val_loss=None) + _line(2, val_loss=0.5))
        _wait_for("0.5000", screen)
    assert "step 1/2" in screen.getvalue()
