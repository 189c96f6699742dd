"""From a picture to its matches: the one path that worker, terminal and benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass

from core.face import Face
from core.job import Look
from core.picture import Picture


@dataclass(frozen=True, slots=True)
class Match:
    """A picture of the gallery that is like the one asked about.

    Attributes:
        path: Within the gallery, ``/``-separated.
        character: The gallery's name for who it shows; None in a flat gallery.
        similarity: Weighted cosine under the look that was asked for, -1..1.
        box: The gallery picture's face that matched, in pixels of that picture; None where the
            whole picture matched.
    """

    path: str
    character: str | None
    similarity: float
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One asked-about face and its matches, nearest first. `face` None: the whole picture."""

    face: Face | None
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one picture is like.

    Attributes:
        picture: The picture asked about.
        look: The look asked for.
        face_count: Faces found in the picture, of which the three largest have rows.
        rows: A row a face; one row without a face where none was found or the look is `feel`.
    """

    picture: Picture
    look: Look
    face_count: int
    rows: tuple[Row, ...]

    @property
    def fell_back(self) -> bool:
        """Faces were asked for, none was found, and the whole picture answers instead."""
        return self.look is not Look.FEEL and self.face_count == 0
