"""A SavedModel is a program: one from elsewhere is only run where all that it does is compute.

Its operations are told before it is loaded, when some are run already, and again after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.models import ModelError

_IN_MEMORY = frozenset(
    {
        "Assert",
        "Case",
        "DestroyResourceOp",
        "If",
        "StatefulPartitionedCall",
        "VarHandleOp",
        "VarIsInitializedOp",
        "While",
    }
)
_IN_MEMORY_KINDS = (
    "Assign",
    "HashTable",
    "LookupTable",
    "MutableHashTable",
    "Random",
    "ReadVariable",
    "ResourceGather",
    "Stack",
    "TensorArray",
    "TruncatedNormal",
    "Variable",
)
"""Of the operations that TensorFlow calls stateful, those whose state is in memory, and how the
names of further ones begin. All others touch files, the network or Python."""
_REACHING_OUT = frozenset(
    {
        "Abort",
        "Copy",
        "CopyHost",
        "DebugIdentity",
        "DebugNanCount",
        "DebugNumericSummary",
        "DecodeProtoV2",
        "EncodeProto",
        "GenerateVocabRemapping",
        "ImmutableConst",
        "InitializeTableFromTextFile",
        "MatchingFiles",
        "MlirPassthroughOp",
        "PyFuncStateless",
        "ReadFile",
        "ReaderRead",
        "ReaderReadUpTo",
        "XlaCustomCall",
        "XlaCustomCallV2",
    }
)
"""Operations that reach out without being called stateful: they name a file, an address or code
that is not in the graph, or end the process. Data sets do so, too."""
_SAVING = frozenset({"DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2"})
"""What every SavedModel has for its own variables, and nobody asks for who only loads it: that is
done by TensorFlow itself."""
_LOADING = frozenset({"DisableCopyOnRead"})
"""Of these, what is run while it is loaded all the same."""
_AT_FIRST = ("__saved_model_init_op", "saved_model_main_op", "legacy_init_op")
"""What TensorFlow 1 calls that which is run as soon as a model is loaded."""


def refuse_reaching_out(path: Path) -> None:
    """Refuse a SavedModel that would do more than compute.

    Raises:
        ModelError: It would, or the file is no SavedModel.
    """
    from google.protobuf.message import DecodeError

    from core.models.tensorflow_runtime import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"The detector's file {path} is missing.") from error
    except DecodeError as error:
        raise ModelError(f"{path} is no SavedModel.") from error
    refuse(path, (form.graph_def for form in saved.meta_graphs), _SAVING)
    for form in saved.meta_graphs:
        refuse(path, [_callable(form)], _LOADING)


def _callable(form: Any) -> Any:
    """The part of a ``MetaGraphDef`` that can be run without saving the model again.

    That are the functions of its objects, of which some are run while it is loaded, what
    TensorFlow 1 runs then, and all functions that these call.
    """
    graph = form.graph_def
    first = {name for key in _AT_FIRST for name in form.collection_def[key].node_list.value}
    for key in _AT_FIRST:
        first.update(each.name for each in form.signature_def[key].outputs.values())
    nodes = _needed(first, {node.name: node for node in graph.node}, lambda node: node.input)
    called = set(form.object_graph_def.concrete_functions)
    called.update(name for node in nodes for name in _functions(node))
    functions = _needed(
        called,
        {function.signature.name: function for function in graph.library.function},
        lambda function: (name for node in function.node_def for name in _functions(node)),
    )
    part = type(graph)(node=nodes)
    part.library.function.extend(functions)
    return part


def _needed(
    names: Iterable[str], there: Mapping[str, Any], needs: Callable[[Any], Iterable[str]]
) -> list[Any]:
    """What is named, and all that it needs. A name may be that of an output: ``name:0``."""
    left = list(names)
    found: dict[str, Any] = {}
    while left:
        name = left.pop().removeprefix("^").partition(":")[0]
        if name in there and name not in found:
            found[name] = there[name]
            left += needs(there[name])
    return list(found.values())


def _functions(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    yield node.op
    for attribute in node.attr.values():
        for function in (attribute.func, *attribute.list.func):
            yield function.name


def refuse(path: Path, graphs: Iterable[Any], allowed: frozenset[str] = frozenset()) -> None:
    """Refuse graphs that would do more than compute.

    Args:
        path: Of the file that they come from.
        graphs: TensorFlow's ``GraphDef``.
        allowed: Operations that may be there all the same.

    Raises:
        ModelError: They would.
    """
    from core.models.tensorflow_runtime import is_stateful

    used: set[str] = set()
    for graph in graphs:
        used.update(node.op for node in graph.node)
        used.update(node.op for function in graph.library.function for node in function.node_def)
    found = sorted(
        name
        for name in used - allowed
        if name in _REACHING_OUT
        or "Dataset" in name
        or (is_stateful(name) and name not in _IN_MEMORY and not name.startswith(_IN_MEMORY_KINDS))
    )
    if found:
        raise ModelError(
            f"{path} is not loaded: it would run code or touch files ({', '.join(found)})."
        )
