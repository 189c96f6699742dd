"""`familiar similar`: ask the index about one picture, without a queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.asked import read_asked
from cli.folders import check_file
from cli.gallery_index import refuse_without_index
from cli.terminal import Failure, results
from core.files import replacing
from core.look import DEFAULT_COUNT, MAX_COUNT, Look
from core.settings import GallerySettings, load_settings

if TYPE_CHECKING:
    from core.search import Answer


def similar(
    picture: Annotated[Path, typer.Argument(help="The picture to ask about.")],
    look: Annotated[
        Look,
        typer.Option(help="What similar means: the face, the feel of the whole picture, or both."),
    ] = Look.BOTH,
    count: Annotated[
        int, typer.Option(min=1, max=MAX_COUNT, help="Matches for each face.")
    ] = DEFAULT_COUNT,
    out: Annotated[
        Path | None, typer.Option(help="Write the collage to this file, a JPEG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the gallery's characters that a picture is like."""
    settings = load_settings()
    asked = read_asked(picture, settings.limit.picture)
    refuse_without_index(settings.gallery.data)
    if out is not None:
        _check_out(out, picture, settings.gallery)
    with terminal.waiting("Loading the models"):
        from core.caption import caption
        from core.collage import draw
        from core.index import Index
        from core.models.chosen import load_models
        from core.search import Searcher

        detector, extractor = load_models(settings.model)
        index = Index.open_current(settings.gallery.data, detector, extractor)
    answer = Searcher(detector, extractor, index).search(asked, look, count)
    failed = None
    if out is not None:
        collage = draw(answer, index.gallery(settings.gallery.gallery))
        try:
            if out.exists() and not out.is_file():  # a pipe, or a device
                out.write_bytes(collage)
            else:
                out.parent.mkdir(parents=True, exist_ok=True)
                with replacing(out) as partial:
                    partial.write_bytes(collage)
        except OSError as error:
            failed = Failure(f"The collage {out} cannot be written: {error.strerror}.")
            out = None
    if as_json:
        terminal.show_json(_as_json(answer, out))
    else:
        results.print(caption(answer))
        if out is not None:
            results.print(str(out))
    if failed is not None:
        raise failed


def _check_out(out: Path, asked: Path, settings: GallerySettings) -> None:
    """Refuse a collage in the place of a picture, before anything is loaded.

    Raises:
        Failure: It would be written over the picture, into the gallery, or over a folder, or
            nothing can be written there.
    """
    from core.index import current_manifest

    check_file(out, "--out")
    whole = Path(os.path.realpath(out))
    if whole == Path(os.path.realpath(asked)):
        raise Failure(f"{out} is the picture asked about; give --out another name.")
    for gallery in (str(settings.gallery), current_manifest(settings.data).gallery):
        if whole.is_relative_to(os.path.realpath(gallery)):
            raise Failure(
                f"{out} lies in the gallery {gallery}, which is only ever read; give --out"
                " a place outside of it."
            )


def _as_json(answer: Answer, collage: Path | None) -> dict[str, object]:
    return {
        "sha256": answer.picture.sha256,
        "look": answer.look.value,
        "faces": answer.face_count,
        "whole_picture_answers": answer.fell_back,
        "rows": [
            {
                "face": None
                if row.face is None
                else {"box": list(row.face.box), "score": row.face.score},
                "matches": [
                    {
                        "path": match.path,
                        "character": match.character,
                        "similarity": match.similarity,
                        "box": None if match.box is None else list(match.box),
                        "same": match.same,
                    }
                    for match in row.matches
                ],
            }
            for row in answer.rows
        ],
        "collage": None if collage is None else str(collage),
    }
