"""Collects nodes and weights of an ONNX graph, and writes it with the weights inside or in an external data file beside it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recipes.errors import Failure

OPSET = 17  # the first with LayerNormalization
IR_VERSION = 8
PRODUCER = "halfpipe models/recipes/hmr2"
EXTERNAL_ABOVE = 1_900_000_000  # bytes of weights; protobuf ends at 2 GiB
_ALIGNMENT = 4096  # so that a runtime can map the weights
_SMALL = 1024  # bytes; anything up to this stays in the graph


class Graph:
    """An ONNX graph under construction. `data` is the file for weights, or None to keep them inside."""

    def __init__(self, name: str, half: bool, data: Path | None):
        self.name = name
        self.float = np.float16 if half else np.float32
        self.nodes = []
        self.initializers = []
        self._known = set()
        self._data_name = data.name if data else None
        self._data = open(data, "wb") if data else None  # pylint: disable=consider-using-with  # closed by `write`

    def add(self, output: str, op: str, *inputs: str, **attributes) -> str:
        """A node with one output, by whose name it goes."""
        return self.split([output], op, *inputs, **attributes)[0]

    def split(self, outputs: list, op: str, *inputs: str, **attributes) -> list:
        """A node with several outputs."""
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def integers(self, *values: int) -> str:
        """A constant i64[K]; equal ones are shared."""
        name = "i64_" + "_".join(str(value).replace("-", "m") for value in values)
        if name not in self._known:
            self._known.add(name)
            self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def number(self, value: float, dtype=None) -> str:
        """A constant scalar of the graph's float type, or `dtype`; equal ones are shared."""
        array = np.array(value, dtype or self.float)
        name = f"f{array.itemsize * 8}_{value!r}"
        if name not in self._known:
            self._known.add(name)
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weights(self, name: str, array: np.ndarray, dtype=None) -> str:
        """Weights of the graph's float type, or `dtype`; fails where a number does not fit it."""
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(array, dtype or self.float)
        if not np.isfinite(stored).all():
            why = "has numbers that are not finite" if not np.isfinite(array).all() else "has numbers too large for float16; leave out --fp16"
            raise Failure(f"{name} {why}")
        if self._data is None or stored.nbytes <= _SMALL:
            self.initializers.append(numpy_helper.from_array(stored, name))
        else:
            self.initializers.append(self._outside(name, stored))
        return name

    def write(self, path: Path, inputs: list, outputs: list):
        """Checks the graph and writes it to `path`. `inputs` and `outputs` are (name, extents) of f32 tensors."""
        if self._data:
            self._data.close()

        def infos(ports):
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, extents) for name, extents in ports]

        graph = helper.make_graph(self.nodes, self.name, infos(inputs), infos(outputs), self.initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=PRODUCER)
        path.write_bytes(model.SerializeToString(deterministic=True))
        # by path, since the checker looks for the external data beside the file
        onnx.checker.check_model(str(path), full_check=self._data is None)

    def _outside(self, name: str, array: np.ndarray) -> TensorProto:
        self._data.write(b"\0" * (-self._data.tell() % _ALIGNMENT))
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self._data_name), ("offset", self._data.tell()), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        array.tofile(self._data)
        return tensor
