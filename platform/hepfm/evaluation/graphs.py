"""Backbone and head as graphs that run without hepfm, by torch.export and by ONNX.

What turns events into tokens looks up neighbours, as many as there are: that is no graph. So the graphs begin
at tokens, and number of tokens and events are free.
"""

from __future__ import annotations

import io
import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hepfm.api import Features, Tokens
from hepfm.errors import RecipeError
from hepfm.evaluation.exported import columns

GraphFormat = Literal["torch-export", "onnx"]
SUFFIX: Mapping[GraphFormat, str] = {"torch-export": "pt2", "onnx": "onnx"}

Graph = Callable[[dict[str, Tensor]], list[Tensor]]
"""A graph that was read back from its file: named inputs to outputs, in order."""

_FIXED = re.compile(r"\['(\w+)'\]\.size\(\)\[0\] as dynamic but your code specialized")
"""How torch says that a graph would serve one number of rows alone."""

_FIELDS = ("x", "positions", "offsets", "part", "reach")


class BackboneGraph(nn.Module):
    """A backbone as a function of tensors: `Tokens` to the layers that are read, side by side."""

    def __init__(self, backbone: nn.Module, layers: Sequence[int]) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, tuple(layers)

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor]:
        """``(T, len(layers) * D)`` of what `tensors_of` gives."""
        encoded = self.backbone.forward(Tokens(**inputs), layers=self.layers)  # training's hook counts tokens
        return (encoded.x,)


class HeadGraph(nn.Module):
    """A head as a function of tensors, of features to the columns that it predicts."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """See `features_of` and `hepfm.evaluation.exported.columns`."""
        return tuple(columns(self.head.predict(self.head(features_from(inputs)))).values())


def tensors_of(tokens: Tokens, prefix: str = "") -> dict[str, Tensor]:
    """Tokens as named tensors; their reach where they have one."""
    values = {name: getattr(tokens, name) for name in _FIELDS}
    return {prefix + name: value for name, value in values.items() if value is not None}


def features_of(features: Features, needs: Sequence[str]) -> dict[str, Tensor]:
    """What a head needs of features, as named tensors: ``points_x``, ``points_offsets``, ..., ``pooled``."""
    found: dict[str, Tensor] = {}
    for need in needs:
        value = getattr(features, need)
        found |= {"pooled": value} if need == "pooled" else tensors_of(value, f"{need}_")
    return found


def features_from(tensors: Mapping[str, Tensor]) -> Features:
    """The features that `features_of` took apart."""
    rows = {
        need: Tokens(**{n: tensors[f"{need}_{n}"] for n in _FIELDS if f"{need}_{n}" in tensors})
        for need in ("tokens", "points")
        if f"{need}_x" in tensors
    }
    pooled = tensors.get("pooled")
    events = pooled.shape[0] if pooled is not None else next(iter(rows.values())).offsets.shape[0] - 1
    return Features(tokens=rows.get("tokens"), points=rows.get("points"), pooled=pooled, events=events)


def write_graph(
    module: nn.Module, what: str, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path
) -> None:
    """Writes a module as a graph, in the format that the file's suffix says.

    Args:
        module: A function of the inputs.
        what: It is, for the message.
        inputs: Of real events; the first axis of each one is free in the graph.
        outputs: Names of what it returns.
        path: ``*.pt2`` or ``*.onnx``.

    Raises:
        RecipeError: It does something that a graph of this format cannot.
    """
    free = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    kind = "torch.export" if path.suffix == ".pt2" else "ONNX"
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(module.eval(), (dict(inputs),), dynamic_shapes=(free,))
            if path.suffix == ".pt2":
                torch.export.save(program, path)
            else:
                onnx = torch.onnx.export(
                    program,
                    dynamo=True,
                    verbose=False,
                    input_names=list(inputs),
                    output_names=list(outputs),
                )
                assert onnx is not None
                onnx.save(path)
        except Exception as error:  # of many classes, none of them documented
            raise RecipeError(
                f"{what} cannot be written for {kind}: {_cause(error)}.",
                where=_place(error),
                fix="export it with --to safetensors, or use a component that is a graph of tensors alone",
            ) from error


def read_graph(path: Path) -> Graph:
    """A graph of a file, with the library that will run it."""
    if path.suffix == ".pt2":
        with _quiet():
            program = torch.export.load(path).module()

        def run(inputs: dict[str, Tensor]) -> list[Tensor]:
            try:
                with torch.no_grad():
                    return list(program(inputs))
            except AssertionError as error:  # a size that torch did not want to leave free
                raise RecipeError(
                    f"The graph does not take these events: {error}.",
                    where=path.name,
                    fix="give it other numbers of events or rows",
                ) from error

        return run
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = [each.name for each in session.get_inputs()]

    def run_onnx(inputs: dict[str, Tensor]) -> list[Tensor]:
        found = session.run(None, {name: inputs[name].numpy() for name in known})
        return [torch.from_numpy(values) for values in found]

    return run_onnx


def check_onnx() -> None:
    """`RecipeError` where the packages that write and run ONNX are not installed."""
    missing = []
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise RecipeError(
            f"ONNX needs packages that are not installed: {', '.join(missing)}.",
            where="--to onnx",
            fix="pip install 'hepfm[onnx]', or export with --to torch-export",
        )


def _cause(error: BaseException) -> str:
    """In a sentence; torch's own begins a page."""
    texts = []
    at: BaseException | None = error
    while at is not None:
        texts.append(str(at).strip())
        at = at.__cause__ or at.__context__
    if fixed := sorted({name for text in texts for name in re.findall(_FIXED, text)}):
        return f"it takes the number of rows of {', '.join(fixed)} for a constant"
    named = [found for text in texts for found in re.findall(r"\baten(?:\.|::)\w+", text)]
    first = texts[0].splitlines()[0].rstrip(".") if texts[0] else type(error).__name__
    return f"{named[0]} is not known there" if named and "ONNX" in texts[0] else first


def _place(error: BaseException) -> str:
    """The line of the component, not of torch, that was being followed."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename]
    own = [f for f in own if Path(f.filename) != Path(__file__)]
    if not own:
        return ""
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says, and shows of its graphs, to those who write exporters."""
    silent = io.StringIO()
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(silent), redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
