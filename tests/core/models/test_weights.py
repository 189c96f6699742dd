"""Published weights: all tensors of a network, and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from core.models import ModelError
from core.models.weights import fill, identity_of, read_tensors


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    return {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in network().state_dict().items()
    }


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_was_saved_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(state(), path) if suffix == ".safetensors" else torch.save(state(), path)
    filled = network()
    fill(filled, read_tensors(path), "the network", str(path))
    for name, value in state().items():
        assert torch.equal(filled.state_dict()[name], value)


def test_counts_of_batches_may_be_missing() -> None:
    fill(
        network(),
        {name: value for name, value in state().items() if value.is_floating_point()},
        "the network",
        "a file",
    )


@pytest.mark.parametrize("count", [torch.tensor(7), torch.zeros((), device="meta")])
def test_counts_of_batches_stay_the_networks_own(count: torch.Tensor) -> None:
    filled = network()
    fill(filled, state() | {"1.num_batches_tracked": count}, "the network", "a file")
    assert filled[1].num_batches_tracked.item() == 0
    assert torch.equal(filled[1].weight, state()["1.weight"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda it: it.pop("1.weight"), "missing: 1.weight."),
        (lambda it: it.update(extra=torch.zeros(1)), "unknown: extra."),
        (
            lambda it: it.update({"2.weight": torch.zeros(2, 5)}),
            r"of another shape: 2.weight \(2, 5\) for \(2, 4\).",
        ),
        (
            lambda it: it.update({"0.bias": torch.full((4,), torch.nan)}),
            "not of finite numbers: 0.bias.",
        ),
        (
            lambda it: it.update({"0.bias": torch.zeros(4, dtype=torch.int8)}),
            "not of finite numbers: 0.bias.",
        ),
        (
            lambda it: it.update({"0.bias": torch.full((4,), 1e300, dtype=torch.float64)}),
            "not of finite numbers: 0.bias.",
        ),
        *(
            (lambda it, turned=turned: it.update({"0.bias": turned(torch.ones(4))}),
             "not of finite numbers: 0.bias.")
            for turned in (
                lambda it: it.to(torch.float8_e4m3fn),
                torch.Tensor.to_sparse,
                lambda it: it.to("meta"),
            )
        ),
        (lambda it: it.clear(), "missing: 0.bias, 0.weight, 1.bias and 5 more."),
        (
            lambda it: (it.pop("0.bias"), it.update(extra=torch.zeros(1))),
            "missing: 0.bias; unknown: extra.",
        ),
    ],
    ids=[
        "missing", "surplus", "shape", "nan", "integers", "too large", "float8", "sparse", "meta",
        "empty", "both",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, told: str) -> None:
    tensors = state()
    change(tensors)
    filled = network()
    before = {name: value.clone() for name, value in filled.state_dict().items()}
    with pytest.raises(ModelError, match=f"a file does not hold the weights of X; {told}"):
        fill(filled, tensors, "X", "a file")
    assert all(torch.equal(filled.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.zeros(2)], "does not hold weights by name"),
        ({"state": {"inner": torch.zeros(2)}}, "does not hold weights by name"),
        (Path("a"), "not a file of weights"),
    ],
    ids=["list", "nested", "code"],
)
def test_anything_but_named_tensors_is_refused(tmp_path: Path, content: object, told: str) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(ModelError, match=told):
        read_tensors(tmp_path / "file.pth")


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensors(tmp_path / name)
    (tmp_path / name).write_text("no weights")
    with pytest.raises(ModelError, match="not a file of weights"):
        read_tensors(tmp_path / name)


LEGACY = b"".join(pickle.dumps(part, 2) for part in (MAGIC_NUMBER, PROTOCOL_VERSION, {}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello world",
        b"a story",
        b"s.",
        b"t.",
        b"u.",
        b"Read me",
        b"jam",
        b"N.",
        b"X\x01\x00\x00\x00\xff.",
        b"\x80\x02}]]s.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))\x89NtR.",
        LEGACY + b"\x80\x02K\x01Q.",
        b"PK\x03\x04 and no archive",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"<!DOCTYPE html>\n<html></html>\n",
    ],
)
def test_whatever_torch_makes_of_another_file_it_is_said_to_hold_no_weights(
    tmp_path: Path, content: bytes
) -> None:
    """Most bytes mean something to a reader of pickles, and each of these another error."""
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"file\.pth is not a file of weights"):
        read_tensors(tmp_path / "file.pth")


def test_the_identity_follows_the_numbers_alone() -> None:
    one, other = network(), network()
    other[1].num_batches_tracked += 1
    assert identity_of(one) == identity_of(other)
    assert len(identity_of(one)) == 64
    with torch.no_grad():
        other[2].bias[0] += 1
    assert identity_of(one) != identity_of(other)
