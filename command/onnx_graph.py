"""A model as an ONNX graph: features in, `score` and `predicted_label` (or `projection`) out, in float32."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from eigenline.algorithms.errors import UserError

_OPSET: Final = 17
_IR_VERSION: Final = 8  # of opset 17's time: runtimes of 2022 and later read it


def write_onnx(found: Mapping[str, Any]) -> bytes:
    """Return the bytes of an .onnx file.

    Parameters
    ----------
    found
        The model's arrays, as `export.arrays_of` returns them.

    Raises
    ------
    UserError
        If the package onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise UserError("ONNX files are written by the package onnx: pip install 'eigenline[onnx]'.") from None
    nodes: list[Any] = []
    constants: list[Any] = []
    outputs: list[Any] = []

    def constant(name: str, value: Any, dtype: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def output(name: str, kind: int, *shape: int | str) -> None:
        outputs.append(helper.make_tensor_value_info(name, kind, ["records", *shape]))

    value = "features"
    if "components" in found:
        last = "weights" not in found
        product = node("MatMul", [value, constant("components", found["components"].T)], "product")
        shift = found["mean"].astype(np.float64) @ found["components"].T.astype(np.float64)
        value = node("Sub", [product, constant("projected_mean", shift)], "projection")
        if last:
            output("projection", TensorProto.FLOAT, len(found["components"]))
    if "weights" in found:
        product = node("MatMul", [value, constant("weights", found["weights"])], "weighted")
        raw = node("Add", [product, constant("bias", found["bias"])], "raw_score")
        first = constant("first", [1], np.int64)
        if found["predictor_type"] == "multiclass_classifier":
            node("Softmax", [raw], "score", axis=1)
            node("ArgMax", [raw], "predicted_label", axis=1, keepdims=0)
            output("score", TensorProto.FLOAT, len(found["bias"]))
        else:
            column = node("Squeeze", [raw, first], "score" if found["loss"] != "logistic" else "raw_column")
            if found["loss"] == "logistic":
                node("Sigmoid", [column], "score")
            output("score", TensorProto.FLOAT)
        if found["predictor_type"] == "binary_classifier":
            least = constant("threshold", found["threshold"])
            positive = node("GreaterOrEqual", ["score", least], "positive")
            node("Cast", [positive], "predicted_label", to=TensorProto.INT64)
        if found["predictor_type"] != "regressor":
            output("predicted_label", TensorProto.INT64)
    width = len(found["feature_names"])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["records", width])
    graph = helper.make_graph(nodes, "eigenline", [features], outputs, constants)
    model = helper.make_model(graph, producer_name="eigenline", opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    texts = {name: json.dumps(found[name]) for name in ("feature_names", "classes") if name in found}
    helper.set_model_props(model, texts)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
