"""`familiar train assemble`: trained networks become one extractor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.folders import check_folder, check_result, refuse_inside, refuse_splits, tell_unread
from cli.memory import enough_memory
from cli.terminal import messages, results

_LESS_JOINED = "end what else uses it, or give fewer pictures"


def assemble(
    face: Annotated[Path, typer.Argument(help="Result of a training on faces.")],
    picture: Annotated[
        Path, typer.Argument(help="Result of a training on pictures, or an extractor's folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new extractor; made if missing.")],
    characters: Annotated[
        Path,
        typer.Option(
            help="<character>/<face crop>, or Pascal VOC files with names: characters that no"
            " network was trained on, to choose the likeness on from which two are the same."
        ),
    ],
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="Result of a further training on faces, joined with the first; may be given again."
        ),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            help="Face crops of other characters, which the face networks' vectors are evened out"
            " on and made shorter by; may be given again."
        ),
    ] = None,
    false_accepts: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of different characters that may pass it."),
    ] = 0.01,
    colours: Annotated[
        Path | None,
        typer.Option(
            help="Pictures, more than 32, that a colour part beside the picture network is fitted"
            " to; not where PICTURE is an extractor's folder."
        ),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option(help="Whether the face networks see each face's mirror image, too.")
    ] = True,
    divided: Annotated[
        bool,
        typer.Option(
            help="Whether several face networks divide these looks among them: the first sees the"
            " face, the others its mirror image, in half of the time."
        ),
    ] = True,
) -> None:
    """Put a face network and a picture network into one extractor's folder."""
    read = (face, characters, *(beside or []), *(unlabelled or []), *([colours] if colours else []))
    for each in (*read, picture):
        check_folder(each)
    # An extractor's folder may get another face network beside its own picture network.
    refuse_inside(read if _is_extractor(picture) else (*read, picture), out)
    check_result(out, "--out")
    refuse_splits((), (characters,))
    from core.train.assemble import (
        Choices,
        assemble,
        colours_of,
        examples_in,
        load_characters,
        projection_of,
        trained_on_pictures,
    )
    from core.train.trained import learned_among

    faces = [face, *(beside or [])]
    unread: list[str] = []
    with enough_memory(_LESS_JOINED):
        choices = Choices(mirrored=mirrored, divided=divided)
        if colours is not None:
            side = trained_on_pictures(picture).side
            choices = replace(choices, colours=colours_of(colours, side, unread.append))
        if unlabelled:
            projection = projection_of(faces, unlabelled, choices, left_out=unread.append)
            choices = replace(choices, projection=projection)
        named = load_characters(characters, choices.framing, unread.append)
        crops = examples_in(unlabelled) if unlabelled else named.pixels
        pictures = examples_in([colours or characters], "squeeze")
        learned = learned_among(named.pixels, faces)
        threshold = assemble(
            face,
            picture,
            out,
            choices,
            beside=faces[1:],
            characters=named,
            crops=crops,
            pictures=pictures,
            false_accepts=false_accepts,
        )
    tell_unread(unread)
    if learned:
        messages.print(
            f"One of the networks was trained on {learned:,} of the {len(named.labels):,} pictures"
            f" of {characters}, or on copies of them, so that the threshold is too low; give"
            " characters that none was trained on."
        )
    results.print(
        f"The extractor is in {out}; two faces are the same character from a likeness of"
        f" {threshold:.3f} on."
    )


def _is_extractor(folder: Path) -> bool:
    from core.models.extractor import CONFIGURATION

    return (folder / CONFIGURATION).exists()
