"""``hepfm status`` and ``hepfm job list``: each run once, and what had to be started again of it."""

from __future__ import annotations

from pathlib import Path

from hepfm.cli.job import _print_table, _row
from hepfm.cli.status import _lines
from hepfm.jobs.state import JobState


def found(jobs, runs):
    return {"out": "runs", "services": [], "ray": None, "jobs": jobs, "programs": [], "runs": runs}


def job(**changes):
    about = {"name": "first", "status": "running", "step": 3, "steps": 90, "retries": 0, "restarts": None}
    return about | changes


def test_a_run_that_is_a_job_is_shown_once():
    runs = [{"name": name, "status": "running"} for name in ("first", "by hand")]
    runs += [{"name": "second", "status": "created"}, {"name": "third", "status": "done"}]
    jobs = [job(), job(name="second", status="pending", step=None)]
    lines = _lines(found(jobs, runs), Path("runs"))[1:]
    assert lines == [
        "Job     running first   step 3 of 90",
        "Job     pending second   step 0 of 90",
        "Run     running by hand",
        "Runs    1 done",
    ]


def test_runs_that_saw_truth_are_told():
    runs = [
        {"name": name, "status": "running", "saw_truth": name != "clean"}
        for name in ("first", "shown", "clean")
    ]
    runs += [{"name": f"old-{i}", "status": "done", "saw_truth": i == 0} for i in range(3)]
    assert _lines(found([job()], runs), Path("runs"))[1:] == [
        "Job     running first   step 3 of 90, saw truth",
        "Run     running shown   saw truth",
        "Run     running clean",
        "Runs    3 done; 1 of them saw truth",
    ]


def test_what_was_started_again_is_told():
    (line,) = _lines(found([job(retries=1, restarts=2)], []), Path("runs"))[1:]
    assert line.endswith("step 3 of 90, training started again 1 time, workers started again 2 times")


def test_the_list_of_jobs_has_restarts_where_there_were_some(capsys):
    state = JobState("first", "first", "RUNNING", "", "", "", 0.0, None, step=3, steps=90)
    _print_table([_row(state)])
    assert "restarts" not in capsys.readouterr().out
    again = JobState(**(vars(state) | {"name": "again", "restarts": 2}))
    _print_table([_row(state), _row(again)])
    head, _, first, second = filter(str.strip, capsys.readouterr().out.splitlines())
    assert head.split()[-1] == "restarts"
    assert first.split()[-1] == "ago"
    assert second.split()[-1] == "2"
