"""The contract of a head: its figures, probes in its network's place, right answers and plots."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepfm.api import Answered, Plotted, Probed, Ragged
from hepfm.data.tensors import to_numpy
from hepfm.display.html import write_html

if TYPE_CHECKING:
    from hepfm.testing.head import Subject


def statistics_add_up(subject: Subject) -> None:
    """Statistics are float64 and finite, one row for each event, the same whatever batch it is in.

    Their sums give finite figures, and those of no event none that is not finite. Sums of 1 give all names.
    """
    samples = [subject.samples[0], subject.empty(905), *subject.samples[1:]]
    together = subject.statistics(samples)
    assert together, "there are no statistics, so there will be no figures"
    for name, values in together.items():
        assert values.dtype == np.float64, f"statistic '{name}' is {values.dtype}"
        assert len(values) == len(samples), f"statistic '{name}' has {len(values)} rows of {len(samples)}"
        assert np.isfinite(values).all(), f"statistic '{name}' is not finite"
        alone = np.concatenate([subject.statistics([sample])[name] for sample in samples])
        np.testing.assert_allclose(alone, values, rtol=1e-5, atol=1e-5, err_msg=f"statistic '{name}' alone")
    for name, values in subject.statistics(()).items():
        wanted = (0, *together[name].shape[1:])
        assert values.shape == wanted, f"statistic '{name}' of no event is {values.shape}, not {wanted}"
    for rows in (slice(None), slice(0)):
        figures = subject.module.figures({name: values[rows].sum(0) for name, values in together.items()})
        wrong = {name: value for name, value in figures.items() if not np.isfinite(value)}
        assert not wrong, f"figures {wrong} are not finite: leave them out where they are not defined"
        assert figures or rows.stop == 0, "there are no figures"
        named = subject.module.figures({name: np.ones(values.shape[1:]) for name, values in together.items()})
        unknown = figures.keys() - named.keys()
        assert not unknown, (
            f"figures {unknown} are not told of statistics that are all 1: names are from there"
        )


def probes_fit(subject: Subject) -> None:
    """Where scikit-learn may take the network's place, each row has a target, and outputs predict."""
    head = subject.module
    if not isinstance(head, Probed):
        return
    (need,) = head.needs  # type: ignore[attr-defined]  # it is a head, too
    samples = [subject.empty(906), *subject.samples]
    found = getattr(subject.features(samples), need)
    rows = len(found if need == "pooled" else found.x)
    targets = head.targets(subject.batch(samples))
    assert len(targets) == len(samples), f"targets of {len(targets)} events of {len(samples)}"
    if head.answers == "classes":
        assert targets.values.dtype == torch.int64, f"classes are {targets.values.dtype}"
        last = head.outputs - 1
        assert bool(((targets.values >= -1) & (targets.values <= last)).all()), f"not all in -1 to {last}"
    shape = (rows,) if head.answers == "classes" else (rows, head.outputs)
    assert tuple(targets.values.shape) == shape, f"targets are {tuple(targets.values.shape)}, not {shape}"
    outputs = torch.randn(rows, head.outputs, generator=torch.Generator().manual_seed(0))
    predicted = subject.module.predict(head.from_outputs(Ragged(outputs, targets.offsets)))
    assert set(predicted) == set(subject.module.predictions), f"parts {sorted(predicted)} are predicted"


def truth_follows_predictions(subject: Subject) -> None:
    """Where the head tells right answers, these are columns of its predictions, of each event.

    Of points, there is one for each.
    """
    head = subject.module
    if not isinstance(head, Answered):
        return
    samples = [subject.samples[0], subject.empty(907), *subject.samples[1:]]
    predicted = subject.predicted(samples)
    for part, tables in head.truth(to_numpy(subject.batch(samples))).items():
        for name, table in tables.items():
            where = f"truth of part {part}, table {name}"
            known = head.predictions[part].tables.get(name, {})  # type: ignore[attr-defined]
            assert known, f"{where} is not predicted"
            assert len(table) == len(samples), f"{where} has {len(table)} events of {len(samples)}"
            if name == subject.schema[part].primary:
                assert table.offsets.tolist() == predicted[part][name].offsets.tolist(), (
                    f"{where} has other rows"
                )
            for column, values in table.columns.items():
                assert column in known, f"{where}, column {column} is not predicted"
                shape = (int(table.offsets[-1]), *known[column].shape)
                assert values.shape == shape, f"{where}, column {column} is {values.shape}, not {shape}"


def plots_are_drawn(subject: Subject) -> None:
    """Where the head describes plots, they can be drawn: of events, and of none."""
    if not isinstance(subject.module, Plotted):
        return
    statistics = subject.statistics(subject.samples)
    with TemporaryDirectory() as folder:
        for rows in (slice(None), slice(0)):
            panels = subject.module.plots({name: values[rows].sum(0) for name, values in statistics.items()})
            assert panels, "it describes none"
            write_html(panels, Path(folder, "plots.html"))


JUDGING = (
    statistics_add_up,
    probes_fit,
    truth_follows_predictions,
    plots_are_drawn,
)
