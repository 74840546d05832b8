"""Whether Ray's head is found lost: after it was silent for a while, and not when nobody looked."""

from __future__ import annotations

import socket
import time

import pytest

from hepfm.training.ray_head import Head, HeadLostError


def test_a_head_is_lost_once_it_has_been_found_silent_for_a_while():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        head = Head(address, every_s=0.0, silent_s=0.3)
        head.check()
        assert head.answers
        head.make_sure()
    time.sleep(0.5)  # nobody looks, as while nodes are asked what they see
    head.check()
    assert not head.answers
    time.sleep(0.4)
    with pytest.raises(HeadLostError, match=address):
        head.check()
    with pytest.raises(HeadLostError, match=address):
        head.make_sure()


def test_a_head_that_comes_back_is_not_lost():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    head = Head(f"127.0.0.1:{port}", every_s=0.0, silent_s=0.3)
    head.check()
    assert not head.answers
    time.sleep(0.4)
    with socket.create_server(("127.0.0.1", port)):
        head.check()
        assert head.answers
