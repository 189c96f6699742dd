"""What a network's convolutions compute in: single precision, or bfloat16 where that is faster."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.models.backbones import EmbeddingNetwork, ResidualBlock


def bfloat16_is_fast(device: str) -> bool:
    """Whether convolutions in bfloat16 have their own instructions on this torch device."""
    if device.startswith("cuda"):
        # Cards from before 2020 compute it too, step by step, and take longer than in float32.
        # `torch.cuda.is_bf16_supported` would tell of the first card, whichever is asked about.
        return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def fold_norms(network: nn.Module) -> None:
    """Work the running statistics of each batch normalisation into the convolution before it.

    The network gives the same vectors afterwards, with half as many passes over its maps, and is
    of no more use to training.

    Args:
        network: In evaluation mode. In each of its modules a convolution stands right before the
            normalisation of its output; normalisations that stand otherwise are left alone.
    """
    for parent in list(network.modules()):
        before = ("", parent)
        for name, child in list(parent.named_children()):
            if isinstance(before[1], nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
                fused = nn.utils.fusion.fuse_conv_bn_eval(before[1], child)
                setattr(parent, before[0], fused)
                setattr(parent, name, nn.Identity())
            before = (name, child)


def convolve_in_bfloat16(network: nn.Module, *, by_rounding: bool = False) -> None:
    """Let the residual part of every `EmbeddingNetwork` in it compute in bfloat16 from now on.

    Nearly all of the time is spent there. The colour parts and the last linear layer, which cost
    little and whose small differences count, stay in single precision.

    Args:
        network: In evaluation mode, its norms folded.
        by_rounding: Multiply in single precision, and round what enters, the weights and what
            each layer gives: the same but for the order of sums, on devices without instructions
            for it, where bfloat16 itself takes a hundred times as long.
    """
    for module in network.modules():
        if isinstance(module, EmbeddingNetwork):
            module.stem.bfloat16()
            module.stages.bfloat16()
            module.stem.register_forward_pre_hook(_in_bfloat16)
            if by_rounding:
                _round(module)


def _in_bfloat16(_module: nn.Module, pixels: tuple[Tensor]) -> tuple[Tensor]:
    return (pixels[0].bfloat16(),)


def _round(network: EmbeddingNetwork) -> None:
    for part in (network.stem, network.stages):
        part.float()
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d | nn.AvgPool2d | ResidualBlock):
                layer.register_forward_hook(_rounded)
    network.stem.register_forward_pre_hook(_in_float32)


def _in_float32(_module: nn.Module, pixels: tuple[Tensor]) -> tuple[Tensor]:
    return (pixels[0].float(),)


def _rounded(_module: nn.Module, _entering: tuple[Tensor], leaving: Tensor) -> Tensor:
    return leaving.bfloat16().float()
