"""Learning rates as a pure function of the step."""

from __future__ import annotations

import math

from hepfm.recipe.schema import Train


def learning_rate(step: int, train: Train) -> float:
    """The rate with which step ``step`` (from 1 to ``train.steps``) is taken.

    Warm-up is linear and reaches ``learning_rate`` at step ``warmup_steps``; from there the schedule falls to
    ``final_learning_rate`` at the last step (cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5).
    """
    if step <= train.warmup_steps:
        return train.learning_rate * step / train.warmup_steps
    if train.schedule == "constant":
        return train.learning_rate
    done = min(1.0, (step - train.warmup_steps) / max(1, train.steps - train.warmup_steps))
    share = 1 - done if train.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return train.final_learning_rate + share * (train.learning_rate - train.final_learning_rate)
