"""Many events are read all, in order, and never so many large ones at once that memory would not bear them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hepfm.api import Batch
from hepfm.readers import batches as module
from hepfm.readers.batches import batches


class Counted:
    """A reader of events that are nothing but their cost."""

    def __init__(self, costs):
        self.costs, self.asked = np.array(costs, np.int64), []

    def read(self, indices, *, labels=True):
        self.asked.append(list(indices))
        ids = np.array(list(indices), np.int64)
        return Batch(event_ids=ids, cost=self.costs[ids], parts={})


@given(st.lists(st.integers(0, 2**24), max_size=700), st.data())
def test_all_are_read_once_in_order_and_not_too_many_rows(costs, data):
    reader = Counted(costs)
    wanted = data.draw(st.lists(st.sampled_from(range(len(costs))), max_size=700)) if costs else []
    found = [int(i) for batch in batches(reader, wanted) for i in batch.event_ids]
    assert found == wanted
    largest = 0
    for indices in reader.asked:
        assert len(indices) <= module._EVENTS
        assert len(indices) == 1 or len(indices) * largest <= module._ROWS
        largest = max([largest, *reader.costs[indices].tolist()])


def test_small_events_are_soon_read_by_the_hundred():
    reader = Counted([10] * 5000)
    assert sum(map(len, batches(reader, range(5000)))) == 5000
    assert len(reader.asked) < 30
