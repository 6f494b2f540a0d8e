"""An ONNX graph that is written down node by node, its checked model, and the file of it: what all converters share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET, IR_VERSION = 13, 8  # old enough for every ONNX Runtime the package allows; a graph that needs a newer operator says so

Shapes = Mapping[str, tuple[int | str, ...]]
"""Name of an input or output -> its sizes; a text stands for a size that is free."""


@dataclass(slots=True, kw_only=True)
class Graph:
    """An ONNX graph while it grows; every method adds nodes and returns the name of their result."""

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """The result of one node; `output` only where a reader looks for that name."""
        name = output or f"{kind.lower()}{len(self.nodes)}"
        self.add_all(kind, *inputs, outputs=(name,), **attributes)
        return name

    def add_all(self, kind: str, *inputs: str, outputs: Sequence[str], **attributes: Any) -> None:
        """One node with several results."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), **attributes))

    def constant(self, value: npt.NDArray[Any]) -> str:
        """A weight, or another fixed input of a node."""
        from onnx import numpy_helper

        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def model(self, title: str, inputs: Shapes, outputs: Shapes, *, opset: int = OPSET) -> Any:
        """The checked `onnx.ModelProto`; all inputs and outputs are float32."""
        from onnx import TensorProto, checker, helper

        ends = (
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in side.items()] for side in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, title, *ends, self.tensors)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="auto-annotator", ir_version=IR_VERSION)
        checker.check_model(model, full_check=True)  # sizes too
        return model


def write_model(model: Any, target: Path) -> None:
    """Write a model; the target appears whole or not at all, and the same model gives the same bytes."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(model.SerializeToString(deterministic=True))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
