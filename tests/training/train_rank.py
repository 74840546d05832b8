"""One rank of a training: ``python train_rank.py REQUEST.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from hepfm.errors import HepfmError
from hepfm.training.ranks import end_process
from hepfm.training.request import TrainRequest
from hepfm.training.worker import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        train(TrainRequest.from_json(json.loads(Path(sys.argv[1]).read_text())))
    except HepfmError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        end_process(1)
    end_process(0)
