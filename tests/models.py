"""Another model for tests, made from the one that ships: its templates twice over, so that every score is the same and no
template of the one can be compared with one of the other.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from streamd.assembly import SHIPPED_CARD

if TYPE_CHECKING:
    from pathlib import Path


def doubled_model(folder: Path, name: str = "doubled") -> Path:
    """The card of such a model, written into a folder with its file; both take a moment."""
    card = json.loads(SHIPPED_CARD.read_text())
    data = _doubled((SHIPPED_CARD.parent / card["file"]).read_bytes(), card["dimension"])
    vector = card["golden"]["vector"]
    card |= {
        "name": name,
        "file": f"{name}.tflite",
        "sha256": hashlib.sha256(data).hexdigest(),
        "dimension": 2 * card["dimension"],
        "golden": card["golden"] | {"vector": [value / 2**0.5 for value in (*vector, *vector)]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / card["file"]).write_bytes(data)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(card))
    return path


def _doubled(file: bytes, dimension: int) -> bytes:
    """The graph with its result joined to itself: (N, D) becomes (N, 2 D)."""
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    for buffer in model.buffers:
        if buffer.size:  # it stands behind the table, which is about to grow
            buffer.data = np.frombuffer(file, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONCATENATION
    code.version = 1
    model.operatorCodes.append(code)
    last = graph.outputs[0]
    result = schema.TensorT()
    result.shape = [*graph.tensors[last].shape[:-1], 2 * dimension]
    result.shapeSignature = graph.tensors[last].shapeSignature
    if result.shapeSignature is not None:
        result.shapeSignature = [*result.shapeSignature[:-1], 2 * dimension]
    result.type, result.buffer, result.name = graph.tensors[last].type, 0, b"doubled"
    graph.tensors.append(result)
    joining = schema.OperatorT()
    joining.opcodeIndex = len(model.operatorCodes) - 1
    joining.inputs, joining.outputs = [last, last], [len(graph.tensors) - 1]
    joining.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
    joining.builtinOptions = schema.ConcatenationOptionsT()
    joining.builtinOptions.axis = 1
    graph.operators.append(joining)
    graph.outputs = [len(graph.tensors) - 1]
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(file))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
