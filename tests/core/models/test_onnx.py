"""Face networks in ONNX files, each drawn up here."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement

from core.face import Pixels
from core.models import ModelError, load_extractor
from core.models.onnx_session import open_session


def write(
    path: Path,
    shape: list[int | str],
    operations: list[onnx.NodeProto] | None = None,
    kind: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("vectors",),
) -> Path:
    """A network that says the mean of each channel of each picture."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    graph = helper.make_graph(
        operations
        or [helper.make_node("ReduceMean", ["data", "axes"], ["vectors"], keepdims=0, name="mean")],
        "means",
        [helper.make_tensor_value_info("data", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [helper.make_tensor("axes", TensorProto.INT64, [2], axes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    path.write_bytes(model.SerializeToString())
    return path


def red(side: int, count: int = 1) -> Pixels:
    faces = np.zeros((count, side, side, 3), np.uint8)
    faces[..., 0] = 255
    return faces


@pytest.mark.parametrize(
    "shape",
    [[1, 3, 32, 32], ["n", 3, 32, 32], ["n", 32, 32, 3], [4, 3, 32, 32]],
    ids=["one at a time", "any number", "channels last", "always four"],
)
def test_a_network_says_itself_how_it_wants_to_be_fed(tmp_path: Path, shape: list) -> None:
    extractor = load_extractor(f"onnx:{write(tmp_path / 'net.onnx', shape)}")
    assert (extractor.name, extractor.face_dimensions) == ("onnx", 3)
    assert extractor.prepare_face(red(50)[0], None).shape == (32, 32, 3)
    assert extractor.same_threshold is None
    vectors = extractor.embed_faces(np.concatenate([red(32, 5), 255 - red(32)]))
    expected = np.array([[1, -1, -1]] * 5 + [[-1, 1, 1]]) / np.sqrt(3)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_weights_in_further_files_are_refused_wherever_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be no part of its hash."""
    product = helper.make_node("MatMul", ["means", "weights"], ["vectors"])
    means = helper.make_node("ReduceMean", ["data", "axes"], ["means"], keepdims=0)
    path = write(tmp_path / "net.onnx", ["n", 3, 32, 32], [means, product])
    network = onnx.load(path)
    network.graph.initializer.append(
        numpy_helper.from_array(np.ones((3, 4), np.float32), "weights")
    )
    onnx.save_model(network, path)
    assert load_extractor(str(path)).face_dimensions == 4
    onnx.save_model(
        network, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="keeps weights in further files; save it as one file"):
        load_extractor(str(path))


def test_no_version_of_onnxruntime_is_allowed_that_reads_any_file_a_network_names() -> None:
    """As far as 1.23 they read absolute paths and those that lead out of the folder."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    requirements = map(Requirement, project["dependencies"])
    (allowed,) = (each.specifier for each in requirements if each.name == "onnxruntime")
    assert not [minor for minor in range(24) if allowed.contains(f"1.{minor}.99")]
    assert allowed.contains(version("onnxruntime"))


@pytest.mark.parametrize("location", ["{folder}/weights.bin", "../{name}/weights.bin"])
def test_no_file_that_a_network_names_is_read(tmp_path: Path, location: str) -> None:
    """From wherever it would be looked for."""
    location = location.format(folder=tmp_path, name=tmp_path.name)
    product = helper.make_node("MatMul", ["means", "weights"], ["vectors"])
    means = helper.make_node("ReduceMean", ["data", "axes"], ["means"], keepdims=0)
    path = write(tmp_path / "net.onnx", ["n", 3, 32, 32], [means, product])
    network = onnx.load(path)
    weights = numpy_helper.from_array(np.ones((3, 4), np.float32), "weights")
    (tmp_path / "weights.bin").write_bytes(weights.raw_data)
    onnx.external_data_helper.set_external_data(weights, location)
    weights.ClearField("raw_data")
    network.graph.initializer.append(weights)
    path.write_bytes(network.SerializeToString())
    with pytest.raises(ModelError):
        load_extractor(str(path))


def test_a_network_that_takes_one_alone_has_to_say_so(tmp_path: Path) -> None:
    reshape = helper.make_node("Reshape", ["means", "shape"], ["vectors"])
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[1, 3])
    means = helper.make_node("ReduceMean", ["data", "axes"], ["means"], keepdims=0)
    path = write(tmp_path / "net.onnx", ["n", 3, 32, 32], [means, shape, reshape])
    with pytest.raises(ModelError, match="cannot be run on 2; export it with a batch of 1"):
        load_extractor(str(path))
    assert load_extractor(str(write(path, [1, 3, 32, 32], [means, shape, reshape])))


def test_a_batch_of_none_counts_as_open(tmp_path: Path) -> None:
    """onnxruntime holds it to be fixed: at its first look it refuses any picture."""
    with pytest.raises(ModelError, match="cannot be run on 2; export it with a batch of 1"):
        load_extractor(str(write(tmp_path / "net.onnx", [0, 3, 32, 32])))


@pytest.mark.parametrize("batch", ["n", 4])
@pytest.mark.parametrize("count", ["two each", "one alone"])
def test_a_network_that_gives_another_number_of_vectors_is_refused(
    tmp_path: Path, batch: int | str, count: str
) -> None:
    means = helper.make_node("ReduceMean", ["data", "axes"], ["means"], keepdims=0)
    twice = helper.make_node("Concat", ["means", "means"], ["vectors"], axis=0)
    first = helper.make_node("Constant", [], ["first"], value_ints=[0])
    one = helper.make_node("Gather", ["means", "first"], ["vectors"], axis=0)
    last = [twice] if count == "two each" else [first, one]
    path = write(tmp_path / "net.onnx", [batch, 3, 32, 32], [means, *last])
    with pytest.raises(ModelError, match="does not give one vector a picture"):
        load_extractor(str(path))


def test_what_it_does_not_say_stands_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", ["n", 3, "height", "width"])
    with pytest.raises(ModelError, match=r"leaves the size .* open; write net\.json beside it"):
        load_extractor(str(path))
    described = {
        "side": 48,
        "mean": [255, 51, 0],
        "deviation": [255, 51, 102],
        "channels": "bgr",
        "same_threshold": 0.4,
    }
    (tmp_path / "net.json").write_text(json.dumps(described))
    extractor = load_extractor(str(path))
    assert extractor.prepare_face(red(50)[0], None).shape == (48, 48, 3)
    assert extractor.same_threshold == 0.4
    # Blue, green and red, each with what is stated of it.
    expected = np.array([[-1, -1, 2.5]]) / np.sqrt(8.25)
    np.testing.assert_allclose(extractor.embed_faces(red(48)), expected, atol=1e-6)

    (tmp_path / "net.json").write_text(json.dumps(described | {"channels": "rgb"}))
    assert load_extractor(str(path)).sha256 != extractor.sha256


def test_of_several_outputs_the_vectors_have_to_be_named(tmp_path: Path) -> None:
    means = helper.make_node("ReduceMean", ["data", "axes"], ["vectors"], keepdims=0)
    other = helper.make_node("Neg", ["vectors"], ["opposite"])
    path = write(
        tmp_path / "net.onnx", ["n", 3, 32, 32], [means, other], outputs=("opposite", "vectors")
    )
    with pytest.raises(ModelError, match=r"outputs: opposite, vectors; say in net\.json beside"):
        load_extractor(str(path))
    found = {}
    for name in ("opposite", "vectors"):
        (tmp_path / "net.json").write_text(json.dumps({"output": name}))
        extractor = load_extractor(str(path))
        found[extractor.sha256] = extractor.embed_faces(red(32))[0]
    np.testing.assert_allclose(
        np.stack(list(found.values())), np.array([[-1, 1, 1], [1, -1, -1]]) / 3**0.5, atol=1e-5
    )
    (tmp_path / "net.json").write_text('{"output": "labels"}')
    with pytest.raises(ModelError, match=r"gives no output 'labels', as .* opposite, vectors;"):
        load_extractor(str(path))


def test_the_name_of_the_only_output_is_no_part_of_the_hash_where_it_is_not_stated(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "net.onnx", ["n", 3, 32, 32])
    before = load_extractor(str(path)).sha256
    (tmp_path / "net.json").write_text('{"output": null}')
    assert load_extractor(str(path)).sha256 == before


@pytest.mark.parametrize(
    ("shape", "kind", "told"),
    [
        (["n", 3], TensorProto.FLOAT, "does not take one batch of pictures"),
        (["n", 3, 32, 32], TensorProto.DOUBLE, "does not take one batch of pictures"),
        (["n", 1, 32, 32], TensorProto.FLOAT, "does not take pictures of three colours"),
        (["n", 3, 32, 64], TensorProto.FLOAT, "not 32 and 64 pixels"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, shape: list, kind: int, told: str) -> None:
    same = [helper.make_node("Identity", ["data"], ["vectors"])]
    path = write(tmp_path / "net.onnx", shape, same, kind)
    with pytest.raises(ModelError, match=told):
        load_extractor(str(path))


def test_a_network_that_gives_no_vectors_is_refused(tmp_path: Path) -> None:
    same = [helper.make_node("Identity", ["data"], ["vectors"])]
    path = write(tmp_path / "net.onnx", [1, 3, 32, 32], same)
    with pytest.raises(ModelError, match="does not give one vector a picture"):
        load_extractor(str(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"deviation": [127.5, 0, 127.5]}', r"deviation\.1: Input should be greater than 0"),
        ('{"mean": [NaN, 0, 0]}', r"mean\.0: Input should be a finite number"),
        ('{"mean": [1e400, 0, 0]}', r"mean\.0: Input should be a finite number"),
    ],
)
def test_a_description_that_leaves_no_numbers_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    path = write(tmp_path / "net.onnx", [1, 3, 32, 32])
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(ModelError, match=told):
        load_extractor(str(path))


def test_a_network_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    means = helper.make_node("ReduceMean", ["data", "axes"], ["means"], keepdims=0)
    logarithm = helper.make_node("Log", ["means"], ["vectors"])
    path = write(tmp_path / "net.onnx", [1, 3, 32, 32], [means, logarithm])
    with pytest.raises(ModelError, match=r"not of finite numbers; see whether .* in net\.json"):
        load_extractor(str(path))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(ModelError, match="cannot be read"):
        load_extractor(str(path))
    path.write_text("no network")
    with pytest.raises(ModelError, match="not an ONNX file"):
        load_extractor(str(path))
    write(path, [1, 3, 32, 32])
    for text in ("", "{}}", '{"side": 4}', '{"sides": 112}'):
        (tmp_path / "net.json").write_text(text)
        with pytest.raises(ModelError, match=r"net\.json cannot be used"):
            load_extractor(str(path))


def test_the_number_of_threads_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    session = onnxruntime.InferenceSession

    def noted(content, options, **how):
        told.append(options.intra_op_num_threads)
        return session(content, options, **how)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    load_extractor(f"onnx:{write(tmp_path / 'net.onnx', ['n', 3, 32, 32])}", threads=3)
    assert told == [3]


class NotedSession:
    """Takes the place of onnxruntime's, and keeps how it was asked for."""

    def __init__(self, content, options, providers):
        self.providers = providers


@pytest.mark.parametrize(
    ("device", "gpu"), [("cpu", None), ("cuda", "0"), ("cuda:0", "0"), ("cuda:1", "1")]
)
def test_a_gpu_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, gpu: str | None
) -> None:
    processor = ("CPUExecutionProvider", {})
    named = [] if gpu is None else [("CUDAExecutionProvider", {"device_id": gpu})]
    there = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "InferenceSession", NotedSession)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert open_session(b"", "net", device=device).providers == [processor]
    there.insert(0, "CUDAExecutionProvider")
    assert open_session(b"", "net", device=device).providers == [*named, processor]
