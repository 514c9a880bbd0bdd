"""The network graph inside a Linear Learner artifact, in the JSON that MXNet 1.3 wrote."""

from __future__ import annotations

import json
from typing import Any, Final

# The head turns the raw score into what the service answers. Only the first two are known from public artifacts.
# Chosen: softmax for both multiclass losses (the score is the softmax in either case); for hinge and the remaining
# regression losses the linear head, whose output is the raw score, which is what the service answers there.
_HEADS: Final = {
    "logistic": ("LogisticRegressionOutput", "logisticregressionoutput"),
    "squared_loss": ("LinearRegressionOutput", "linearregressionoutput"),
    "softmax_loss": ("SoftmaxOutput", "softmaxoutput"),
}


def write_symbol(
    feature_dim: int,
    num_outputs: int,
    loss: str,
    predictor_type: str,
    bias_lr_mult: str = "10.0",
    number: int = 32,
) -> bytes:
    """Write ``dot(data, fc0_weight) + fc0_bias`` and its output head, byte for byte as the service does.

    Parameters
    ----------
    feature_dim, num_outputs
        Shape of the weights.
    loss, predictor_type
        By AWS's names; they choose the output head.
    bias_lr_mult
        Multiplier of the bias's learning rate, as text.
    number
        Suffix of the operators' names. The service counts it up within a process, so readers must not care.
    """
    multiclass = predictor_type == "multiclass_classifier"
    operator, head_name = _HEADS.get("softmax_loss" if multiclass else loss, _HEADS["squared_loss"])
    weight_shape = {"__shape__": f"({feature_dim}, {num_outputs})"}
    bias_attributes = {"__lr_mult__": bias_lr_mult, "__shape__": f"(1, {num_outputs})"}
    nodes = [
        _node("null", "data"),
        _node("null", "fc0_weight", attributes=weight_shape),
        _node("dot", f"dot{number}", inputs=[[0, 0, 0], [1, 0, 0]]),
        _node("null", "fc0_bias", attributes=bias_attributes),
        _node("broadcast_add", f"broadcast_plus{number}", inputs=[[2, 0, 0], [3, 0, 0]]),
        _node("null", "out_label"),
        _node(operator, f"{head_name}{number}", inputs=[[4, 0, 0], [5, 0, 0]]),
    ]
    return (
        '{\n  "nodes": [\n' + ", \n".join(nodes) + "\n  ], \n"
        '  "arg_nodes": [0, 1, 3, 5], \n'
        '  "node_row_ptr": [0, 1, 2, 3, 4, 5, 6, 7], \n'
        '  "heads": [[6, 0, 0]], \n'
        '  "attrs": {"mxnet_version": ["int", 10301]}\n}'
    ).encode()


def _node(
    operator: str, name: str, *, attributes: dict[str, str] | None = None, inputs: list[list[int]] | None = None
) -> str:
    # MXNet puts a mapping of one entry on one line, a longer one on several, and a blank after each comma.
    lines: list[str] = [f'"op": {json.dumps(operator)}', f'"name": {json.dumps(name)}']
    if attributes is not None:
        entries = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in attributes.items()]
        body = entries[0] if len(entries) == 1 else "\n        " + ", \n        ".join(entries) + "\n      "
        lines.append(f'"attrs": {{{body}}}')
    nested: Any = inputs or []
    lines.append(f'"inputs": {json.dumps(nested)}')
    return "    {\n      " + ", \n      ".join(lines) + "\n    }"
