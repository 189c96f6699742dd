"""The face detector's network: a small residual backbone, a feature pyramid, anchor-free heads.

Every cell of four maps (strides 4, 8, 16, 32) says how likely it is that a face is there, and how
far the four sides of its box are from the cell's centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.models.tensorflow_runtime import Module, tf

STRIDES = (4, 8, 16, 32)
_EPSILON = 1e-3
_MOMENTUM = 0.97
# A cell is a face about once in a hundred: starting there keeps the first steps from being spent
# on learning nothing but that faces are rare (Lin et al., 2017, "Focal Loss", 3.3).
_PRIOR = 0.01
_MOST_BOXES = 100
_LEAST_SCORE = 0.01
_LARGEST_OVERLAP = 0.45


class Convolution(Module):
    """Convolution, batch normalisation, rectifier; in the precision of what comes in."""

    def __init__(
        self,
        generator: np.random.Generator,
        entering: int,
        leaving: int,
        size: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__()
        deviation = (2.0 / (size * size * entering)) ** 0.5
        kernel = generator.normal(0.0, deviation, (size, size, entering, leaving))
        self.kernel = tf.Variable(kernel.astype(np.float32), name="kernel")
        self.scale = tf.Variable(tf.ones(leaving), name="scale")
        self.offset = tf.Variable(tf.zeros(leaving), name="offset")
        self.mean = tf.Variable(tf.zeros(leaving), trainable=False, name="mean")
        self.variance = tf.Variable(tf.ones(leaving), trainable=False, name="variance")
        self.stride = stride
        self.folded: tuple[NDArray[np.float16], NDArray[np.float32]] | None = None

    def fold(self) -> None:
        """From now on be the constant that the weights make; of no more use to training."""
        kernel, bias = self._normalised()
        self.folded = (kernel.numpy().astype(np.float16), bias.numpy())

    def _normalised(self) -> tuple[Any, Any]:
        """Kernel and bias with the running statistics worked in: one operation, not two."""
        factor = self.scale * tf.math.rsqrt(self.variance + _EPSILON)
        return self.kernel * factor, self.offset - self.mean * factor

    def __call__(self, x: Any, training: bool) -> Any:
        if not training:
            kernel, bias = self.folded or self._normalised()
            x = tf.nn.conv2d(x, tf.cast(kernel, x.dtype), self.stride, "SAME")
            return tf.nn.relu(tf.nn.bias_add(x, tf.cast(bias, x.dtype)))
        x = tf.nn.conv2d(x, tf.cast(self.kernel, x.dtype), self.stride, "SAME")
        x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, self.scale, self.offset, epsilon=_EPSILON, is_training=True
        )
        self.mean.assign_add((1 - _MOMENTUM) * (mean - self.mean))
        self.variance.assign_add((1 - _MOMENTUM) * (variance - self.variance))
        return tf.nn.relu(x)

    def of_both(self, coarse: Any, fine: Any, training: bool) -> Any:
        """What a 1x1 convolution makes of a coarse map enlarged by two and joined with a fine one.

        Outside of training the coarse map is enlarged when its share of the sums has been taken,
        with a quarter of the multiplications.
        """
        if training:
            return self(tf.concat([_doubled(coarse), fine], -1), training)
        kernel, bias = self.folded or self._normalised()
        channels = coarse.shape[-1]
        of_coarse, of_fine = (
            tf.nn.conv2d(x, tf.cast(part, x.dtype), 1, "SAME")
            for x, part in ((coarse, kernel[:, :, :channels]), (fine, kernel[:, :, channels:]))
        )
        of_fine = tf.nn.bias_add(of_fine, tf.cast(bias, of_fine.dtype))
        return tf.nn.relu(_doubled(of_coarse) + of_fine)


class Stage(Module):
    """Residual blocks on half of the channels, joined with the other half (Wang et al., 2019)."""

    def __init__(
        self,
        generator: np.random.Generator,
        entering: int,
        leaving: int,
        blocks: int,
        residual: bool = True,
    ) -> None:
        super().__init__()
        half = leaving // 2
        self.split = Convolution(generator, entering, leaving, 1)
        self.blocks = [
            (Convolution(generator, half, half), Convolution(generator, half, half))
            for _ in range(blocks)
        ]
        self.join = Convolution(generator, (2 + blocks) * half, leaving, 1)
        self.residual = residual

    def __call__(self, x: Any, training: bool) -> Any:
        return self._blocks(self.split(x, training), training)

    def of_both(self, coarse: Any, fine: Any, training: bool) -> Any:
        """The same of a coarse map enlarged by two and joined with a fine one."""
        return self._blocks(self.split.of_both(coarse, fine, training), training)

    def _blocks(self, x: Any, training: bool) -> Any:
        parts = list(tf.split(x, 2, axis=-1))
        for first, second in self.blocks:
            y = second(first(parts[-1], training), training)
            parts.append(parts[-1] + y if self.residual else y)
        return self.join(tf.concat(parts, axis=-1), training)


class Prediction(Module):
    """The last layer of a head: a 1x1 convolution with a bias, always in single precision."""

    def __init__(
        self, generator: np.random.Generator, entering: int, leaving: int, bias: float
    ) -> None:
        super().__init__()
        kernel = generator.normal(0.0, 0.01, (1, 1, entering, leaving))
        self.kernel = tf.Variable(kernel.astype(np.float32), name="kernel")
        self.bias = tf.Variable(tf.fill([leaving], bias), name="bias")
        self.folded: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def fold(self) -> None:
        """From now on be a constant."""
        self.folded = (self.kernel.numpy(), self.bias.numpy())

    def __call__(self, x: Any) -> Any:
        kernel, bias = self.folded or (self.kernel, self.bias)
        return tf.nn.bias_add(tf.nn.conv2d(tf.cast(x, tf.float32), kernel, 1, "SAME"), bias)


FIRST_LAYERS = ("stem", "down2", "stage2")
"""Of a backbone, those up to stride 4: what is general in a network that was trained before."""


class Backbone(Module):
    """Pictures -> maps of stride 4, 8 and 16.

    Args:
        generator: Of the starting weights.
        width: Channels of the finest map; the others follow. A multiple of 16.
    """

    def __init__(self, generator: np.random.Generator, width: int) -> None:
        super().__init__()
        g, w = generator, width
        self.stem = Convolution(g, 3, w, stride=2)
        self.down2 = Convolution(g, w, 2 * w, stride=2)
        self.stage2 = Stage(g, 2 * w, 2 * w, 1)
        self.down3 = Convolution(g, 2 * w, 4 * w, stride=2)
        self.stage3 = Stage(g, 4 * w, 4 * w, 2)
        self.down4 = Convolution(g, 4 * w, 8 * w, stride=2)
        self.stage4 = Stage(g, 8 * w, 8 * w, 2)

    def maps(self, pictures: Any, training: bool, precision: Any) -> tuple[Any, Any, Any]:
        """Look at pictures.

        Args:
            pictures: ``(n, height, width, 3)``, 0..255.
            training: Normalise by the batch and update the running statistics.
            precision: What the convolutions compute in.
        """
        x = tf.cast(tf.cast(pictures, tf.float32) / 127.5 - 1.0, precision)
        x = self.stage2(self.down2(self.stem(x, training), training), training)
        c3 = self.stage3(self.down3(x, training), training)
        return x, c3, self.stage4(self.down4(c3, training), training)


_Network = TypeVar("_Network", bound=Backbone)


class DetectorNetwork(Backbone):
    """Pictures -> logits and boxes of every cell.

    Args:
        width: Channels of the finest backbone map; the others follow. A multiple of 16.
        seed: Of the starting weights.
    """

    def __init__(self, width: int = 32, seed: int = 0) -> None:
        g = np.random.default_rng(seed)
        super().__init__(g, width)
        w = width
        neck = 3 * w
        self.width = width
        self.down5 = Convolution(g, 8 * w, 8 * w, stride=2)
        self.stage5 = Stage(g, 8 * w, 8 * w, 1)
        self.pool_in = Convolution(g, 8 * w, 4 * w, 1)
        self.pool_out = Convolution(g, 16 * w, 4 * w, 1)
        self.up4 = Stage(g, 12 * w, 4 * w, 1, residual=False)
        self.up3 = Stage(g, 8 * w, neck, 1, residual=False)
        self.up2 = Stage(g, neck + 2 * w, w, 1, residual=False)
        self.down_again4 = Convolution(g, neck, neck, stride=2)
        self.out4 = Stage(g, neck + 4 * w, 4 * w, 1, residual=False)
        self.down_again5 = Convolution(g, 4 * w, 4 * w, stride=2)
        self.out5 = Stage(g, 8 * w, 4 * w, 1, residual=False)
        bias = float(np.log(_PRIOR / (1 - _PRIOR)))
        self.heads = [
            (
                Convolution(g, entering, tower),
                Prediction(g, tower, 1, bias),
                Convolution(g, entering, tower),
                Prediction(g, tower, 4, 0.0),
            )
            for entering, tower in ((w, w), (neck, 2 * w), (4 * w, 2 * w), (4 * w, 2 * w))
        ]

    def folded(self) -> DetectorNetwork:
        """A copy whose weights are constants: it only looks, and needs half the space on disk."""
        return constant(DetectorNetwork(self.width), self)

    def __call__(
        self, pictures: Any, training: bool = False, precision: Any = tf.float32
    ) -> tuple[Any, Any]:
        """Look at pictures whose sides are multiples of 32.

        Args:
            pictures: ``(n, height, width, 3)``, 0..255.
            training: Normalise by the batch and update the running statistics.
            precision: What the convolutions compute in.

        Returns:
            Logits ``(n, cells)`` and boxes ``(n, cells, 4)``, ``[x0, y0, x1, y1]`` in pixels;
            the cells of stride 4 first, row by row.
        """
        return self.answers(self.towers(pictures, training, precision))

    def towers(
        self, pictures: Any, training: bool = False, precision: Any = tf.float32
    ) -> list[Any]:
        """All but the last layers: eight maps, of each stride one for logits and one for boxes."""
        c2, c3, c4 = self.maps(pictures, training, precision)
        c5 = self.stage5(self.down5(c4, training), training)
        pools = [self.pool_in(c5, training)]
        for _ in range(3):
            pools.append(tf.nn.max_pool2d(pools[-1], 5, 1, "SAME"))
        p5 = self.pool_out(tf.concat(pools, -1), training)
        p4 = self.up4.of_both(p5, c4, training)
        p3 = self.up3.of_both(p4, c3, training)
        p2 = self.up2.of_both(p3, c2, training)
        n4 = self.out4(tf.concat([self.down_again4(p3, training), p4], -1), training)
        n5 = self.out5(tf.concat([self.down_again5(n4, training), p5], -1), training)
        return [
            tower(level, training)
            for level, (tower_l, _, tower_b, _) in zip((p2, p3, n4, n5), self.heads, strict=True)
            for tower in (tower_l, tower_b)
        ]

    def answers(self, towers: Sequence[Any]) -> tuple[Any, Any]:
        """What the last layers make of `towers`; see `__call__`."""
        logits = []
        boxes = []
        for tower_l, tower_b, stride, (_, logit, _, distance) in zip(
            towers[::2], towers[1::2], STRIDES, self.heads, strict=True
        ):
            shape = tf.shape(tower_b)
            centres = cell_centres(shape[1], shape[2], stride)
            raw = distance(tower_b)
            # In strides and exponential: a face twice as large is the same step away everywhere.
            reach = tf.exp(tf.clip_by_value(raw, -4.0, 4.0)) * (2.0 * stride)
            reach = tf.reshape(reach, [shape[0], -1, 4])
            boxes.append(tf.concat([centres - reach[..., :2], centres + reach[..., 2:]], axis=-1))
            logits.append(tf.reshape(logit(tower_l), [shape[0], -1]))
        return tf.concat(logits, 1), tf.concat(boxes, 1)


def constant(copy: _Network, network: _Network) -> _Network:
    """Make `copy` the constants that a network of the same form has come to be.

    Args:
        copy: A new network, whose own weights are lost.
        network: Stays as it is.

    Returns:
        `copy`.
    """
    ours = named_variables(network)
    for name, variable in named_variables(copy).items():
        variable.assign(ours[name])
    for module in copy.submodules:
        if isinstance(module, Convolution | Prediction):
            module.fold()
    return copy


def cell_centres(rows: Any, columns: Any, stride: int) -> Any:
    """Centres of a map's cells, ``(rows * columns, 2)`` ``[x, y]`` in pixels, row by row."""
    y = (tf.range(rows, dtype=tf.float32) + 0.5) * float(stride)
    x = (tf.range(columns, dtype=tf.float32) + 0.5) * float(stride)
    grid_y, grid_x = tf.meshgrid(y, x, indexing="ij")
    return tf.stack([tf.reshape(grid_x, [-1]), tf.reshape(grid_y, [-1])], axis=-1)


class Cells(NamedTuple):
    """Where a network's answers stand.

    Attributes:
        centres: ``(cells, 2)`` ``[x, y]`` in pixels.
        strides: ``(cells,)``, in pixels.
    """

    centres: Any
    strides: Any


def cells_of(side: int) -> Cells:
    """Every cell of a square picture, in the order of the network's answers."""
    maps = [(cell_centres(side // s, side // s, s), s) for s in STRIDES]
    strides = [tf.fill([tf.shape(c)[0]], float(s)) for c, s in maps]
    return Cells(tf.concat([c for c, _ in maps], 0), tf.concat(strides, 0))


def named_variables(network: Module) -> dict[str, tf.Variable]:
    """Every weight and running statistic by its place in the network, in a fixed order."""
    flattened = network._flatten(predicate=lambda v: isinstance(v, tf.Variable), with_path=True)
    return {".".join(str(p) for p in path): variable for path, variable in flattened}


def suppressed(logits: Any, boxes: Any) -> tuple[Any, Any, Any, Any]:
    """Keep one box for each face.

    Args:
        logits: ``(n, cells)``.
        boxes: ``(n, cells, 4)``, ``[x0, y0, x1, y1]``.

    Returns:
        Boxes ``(n, 100, 4)`` ``[y0, x0, y1, x1]``, scores ``(n, 100)``, classes ``(n, 100)`` and
        how many of them count ``(n,)``.
    """
    turned = tf.gather(boxes, [1, 0, 3, 2], axis=-1)[:, :, None, :]
    kept = tf.image.combined_non_max_suppression(
        turned,
        tf.sigmoid(logits)[..., None],
        max_output_size_per_class=_MOST_BOXES,
        max_total_size=_MOST_BOXES,
        iou_threshold=_LARGEST_OVERLAP,
        score_threshold=_LEAST_SCORE,
        clip_boxes=False,
    )
    return kept.nmsed_boxes, kept.nmsed_scores, kept.nmsed_classes, kept.valid_detections


def _doubled(x: Any) -> Any:
    """Nearest-neighbour enlargement by two; it asks for no shape, as ONNX needs it
    (`core.train.onnx_of_tensorflow`)."""
    return tf.nn.depth_to_space(tf.concat([x] * 4, -1), 2)
