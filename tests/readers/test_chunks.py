"""The cache gives what a read gives, keeps what was used last, and stays within its bytes."""

from __future__ import annotations

import pickle

import numpy as np

from hepfm.readers.chunks import ChunkCache
from hepfm.readers.pack import pack, take
from hepfm.readers.store import StoreReader
from hepfm.readers.writer import StoreWriter


def test_the_last_used_are_kept_within_the_bytes():
    cache, reads = ChunkCache(max_bytes=100), []

    def get(key, size=40):
        found = cache.get(key, lambda: reads.append(key) or np.full(size, key, np.uint8))
        assert (found == key).all()

    for key in (1, 2, 1, 3, 1, 2):
        get(key)
    assert reads == [1, 2, 3, 2], "3 pushed out 2, which was used longest ago"
    get(9, size=500)
    get(9, size=500)
    assert reads[4:] == [9]
    assert pickle.loads(pickle.dumps(cache))._bytes == 0


def test_events_across_small_chunks_are_whole(tmp_path, events, parts, same, monkeypatch):
    monkeypatch.setattr("hepfm.readers.writer._CHUNK_BYTES", 64)
    batch = pack(events(30), parts)
    with StoreWriter(tmp_path / "s.h5", parts, {}, compression="zstd", block_events=16) as writer:
        writer.write(batch)
    rows = np.random.default_rng(0).permutation(30)
    same(StoreReader(tmp_path / "s.h5").read(rows), take(batch, rows))
