"""What an extractor's training learns from and minimises, and which network it trains, by name."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What the network looks at.

    Attributes:
        FACES: Crops of faces by character.
        PICTURES: Whole pictures by series or the like.
    """

    FACES = "faces"
    PICTURES = "pictures"


class Loss(StrEnum):
    """What is minimised.

    Attributes:
        FAMILIAR: The angular margin and the contrastive loss of the shipped networks.
        ARCFACE: The angular margin alone.
        TRIPLET: Batch-hard triplets (arXiv:1703.07737).
        TRIPLET_SEMIHARD: FaceNet's triplets (arXiv:1503.03832).
        ATTRIBUTES: The colours of hair and eyes as they are estimated from faces, or the labels of
            whole pictures.
    """

    FAMILIAR = "familiar"
    ARCFACE = "arcface"
    TRIPLET = "triplet"
    TRIPLET_SEMIHARD = "triplet-semihard"
    ATTRIBUTES = "attributes"


class Backbone(StrEnum):
    """Which network is trained.

    Attributes:
        FAMILIAR: The shipped extractor's, of any shape.
        IR_SE50: ArcFace's, at 112 pixels.
    """

    FAMILIAR = "familiar"
    IR_SE50 = "ir-se50"
