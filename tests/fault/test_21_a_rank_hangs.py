"""A rank that hangs: the others end after the time-out and name it; the log has its stacks."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from hepfm.tracking.runs import create_run
from hepfm.training.watch import Watch

pytestmark = pytest.mark.timeout(600)


class Store(dict):
    """The calls of torch's store that a watch makes, in this process."""

    set = dict.__setitem__

    def multi_get(self, keys):
        return [self[key].encode() for key in keys]


def test_the_rank_that_did_not_come_is_named(make_run, train_on_two):
    run, request = make_run(train__steps=3)
    codes, output = train_on_two(replace(request, timeout_s=30.0), HEPFM_FAILPOINT="after-step@1:1:hang")
    assert 0 not in codes, output
    content, log = run.json(), run.log_path.read_text()
    assert content["status"] == "failed"
    assert content["reason"].startswith("Rank 1 of 2 did not come to an exchange within 0.5 min.")
    assert "cluster.timeout_minutes" in content["reason"]
    assert "rank 0 has waited" in log
    assert "for rank [1]" in log
    stacks = log.rsplit("rank 1 has not moved", 1)[1]  # before, an import may have been slow on both
    assert "failpoints.py" in stacks
    assert "worker.py" in stacks
    assert "rank 0 has not moved" not in stacks
    assert "rank 1 hangs after the others have given up; it ends" in stacks


def test_ranks_that_move_are_not_suspected(tmp_path):
    store = Store()
    run = create_run(tmp_path, "tiny", "")
    with Watch(0, 2, 1.0, store, run) as first, Watch(1, 2, 1.0, store, run) as second:
        for _ in range(30):
            first.arrive()
            second.arrive()
            first._done.wait(0.05)
    assert first.verdict() is None
    assert second.verdict() is None
    assert not run.log_path.exists()


def test_a_rank_that_is_slow_ends_only_where_others_wait_for_it_for_longer_than_the_timeout(
    tmp_path, monkeypatch
):
    ended = []
    monkeypatch.setattr("hepfm.training.watch.os._exit", lambda code: ended.append((code, time.monotonic())))
    store = Store()
    run = create_run(tmp_path, "tiny", "")
    with Watch(0, 2, 0.5, store, run) as first, Watch(1, 2, 0.5, store, run):
        time.sleep(1.5)  # a long validation, on both
        assert not ended
        first.arrive()
        came = time.monotonic()
        time.sleep(0.4)  # the first waits, and has not given up yet
        assert not ended
        time.sleep(0.6)
    assert ended
    assert ended[0][1] - came > 0.5
