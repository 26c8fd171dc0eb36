"""ONNX Runtime's MatMulNBits with our own 4-bit codes: a third party's product to compare results and speed with."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch

from quantizers.linear import QuantLinear

INT8 = 4
"""`accuracy_level` that lets activations be quantized to int8, per block of the weight."""
EXACT = 1
"""`accuracy_level` of float32 activations."""


def why_unavailable() -> str | None:
    """None if it can be run here, else the reason."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    return f"not installed: {', '.join(missing)}; install qvla-bench[dev]" if missing else None


def matmul_nbits(layer: QuantLinear, accuracy_level: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A step float32[M, I] -> float32[M, O] with the codes of a layer of 4 bits in groups, without its bias.

    One thread. The group is a power of two, 16 or more, and there are no zero points.
    """
    import onnxruntime
    from onnx import TensorProto, helper

    outputs, inputs, group = layer.out_features, layer.in_features, layer.group_size
    codes = (layer.integer_rows().to(torch.int16) + 8).to(torch.uint8).reshape(outputs, inputs // group, group)
    # Their bytes hold neighbours, the first one low; 8 is what they take off where there are no zero points.
    data = (codes[..., 0::2] | codes[..., 1::2] << 4).contiguous()
    scale = layer.scale.flatten().numpy()
    weights = [helper.make_tensor("b", TensorProto.UINT8, data.shape, data.numpy().tobytes(), raw=True),
               helper.make_tensor("s", TensorProto.FLOAT, scale.shape, scale.tobytes(), raw=True)]
    node = helper.make_node("MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", K=inputs, N=outputs, bits=4,
                            block_size=group, accuracy_level=accuracy_level)
    graph = helper.make_graph(
        [node], "linear", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["m", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", outputs])], weights)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21),
                                                                   helper.make_opsetid("com.microsoft", 1)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
