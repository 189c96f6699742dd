"""Convolutions whose weights are laid out for the processor once, not anew for each picture.

oneDNN, which PyTorch computes convolutions with on a processor, wants weights in blocks that fit
the processor's registers. PyTorch rearranges them at each call: with one picture at a time that is
a third of the time of a small network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PackedConvolution(nn.Module):
    """A convolution in float32 on the processor, of no more use to training."""

    def __init__(self, convolution: nn.Conv2d, seen: torch.Size) -> None:
        """
        Args:
            convolution: To take the place of.
            seen: Shape of what comes in, ``(n, inputs, h, w)``, for which the layout is chosen. It
                serves other shapes too; without any, a layout comes that takes ten times as long.

        Raises:
            TypeError: Its padding is given by name.
        """
        super().__init__()
        if isinstance(convolution.padding, str):
            raise TypeError("A convolution with padding by name cannot be packed.")
        self._how = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        weight = convolution.weight.detach()
        # The operators that PyTorch's own compiler uses for frozen weights.
        self._weight: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            weight, *self._how, list(seen)
        )
        self._bias = None if convolution.bias is None else convolution.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` -> what the convolution would have given."""
        packed: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._how, "none", [], ""
        )
        return packed


def can_pack() -> bool:
    """Whether this build of PyTorch has what it takes."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise")
    available: bool = torch._C._has_mkldnn
    return available and all(hasattr(torch.ops.mkldnn, name) for name in names)


def pack_convolutions(network: nn.Module, example: Tensor) -> None:
    """Put a `PackedConvolution` in the place of every convolution, where that can be done.

    Args:
        network: On the processor, in float32, in evaluation mode.
        example: Of what the network will see, ``(n, 3, side, side)``, its values of no matter.
    """
    if not can_pack():
        return
    seen: dict[nn.Module, torch.Size] = {}

    def look(module: nn.Module, entering: tuple[Tensor], _leaving: Tensor) -> None:
        seen[module] = entering[0].shape

    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    handles = [each.register_forward_hook(look) for each in convolutions]
    with torch.no_grad():
        network(example)
    for handle in handles:
        handle.remove()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, PackedConvolution(child, seen[child]))
