"""A small ONNX graph builder with the operators that both converters need."""

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.convert.errors import ConversionError

Precision = Literal["fp32", "int8"]

MICROSOFT: Final = "com.microsoft"
BLOCK: Final = 32
_EXTERNAL_DATA_FROM_BYTES: Final = 1_500_000_000  # one protobuf message ends at 2 GiB


class Graph:
    """Collects nodes and weights; values are named by the node that makes them."""

    def __init__(self, name: str) -> None:
        """Start an empty graph."""
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(
        self, operator: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output and return that output's name."""
        return self.nodes(operator, inputs, [output], domain=domain, **attributes)[0]

    def nodes(
        self, operator: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs and return their names."""
        self._nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **attributes))
        return outputs

    def input(self, name: str, kind: int, shape: list[str | int]) -> str:
        """Declare a graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: list[str | int]) -> str:
        """Declare a graph output."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def linear(self, x: str, matrix: NDArray[np.float32], name: str, *, precision: Precision) -> str:
        """Return ``x @ matrix.T`` for a matrix [out, in]; int8 has a scale for each 32 of a row."""
        if precision == "fp32":
            return self.node("MatMul", [x, self.weight(f"{name}.weight", matrix.T)], name)
        rows, columns = matrix.shape
        if columns % BLOCK:
            raise ConversionError(
                f"{name} has {columns} columns, which blocks of {BLOCK} do not divide: use fp32"
            )
        blocks = matrix.reshape(rows, columns // BLOCK, BLOCK)
        scale = np.abs(blocks).max(-1) / 127
        scale[scale == 0] = 1
        quantised = (np.rint(blocks / scale[..., None]) + 128).astype(np.uint8)
        return self.node(
            "MatMulNBits",
            [
                x,
                self.weight(f"{name}.blocks", quantised),
                self.weight(f"{name}.scales", scale.astype(np.float32)),
            ],
            name,
            domain=MICROSOFT,
            K=columns,
            N=rows,
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,
        )

    def save(self, file: Path) -> None:
        """Write the model; weights past 1.5 GB go to a file beside it."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, list(self._weights.values())
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        large = sum(len(weight.raw_data) for weight in self._weights.values()) > _EXTERNAL_DATA_FROM_BYTES
        onnx.save_model(
            model, str(file), save_as_external_data=large, location=f"{file.name}.data" if large else None
        )


FLOAT: Final = int(TensorProto.FLOAT)
INT32: Final = int(TensorProto.INT32)
INT64: Final = int(TensorProto.INT64)
