"""`familiar index`: bring the index in line with the gallery, and look at what is indexed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.folders import tell_unreadable
from cli.terminal import Failure, results
from core.problem import Problem
from core.settings import load_settings

app = typer.Typer(help="Build the index of a gallery, or look at it.", no_args_is_help=True)


@app.command("build")
def build(
    gallery: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of <character>/<picture>; FAMILIAR_GALLERY where it is left out."
        ),
    ] = None,
) -> None:
    """Index a gallery. Run again, it embeds only what changed."""
    settings = load_settings()
    folder = gallery if gallery is not None else settings.gallery.gallery
    # Said before the models take their seconds to load.
    if not os.path.isdir(folder):
        if gallery is not None:
            raise Failure(f"The gallery folder {gallery} does not exist or cannot be read.")
        raise Problem("gallery_missing", path=folder)
    with terminal.waiting("Loading the models"):
        from core.gallery import build_index
        from core.models.chosen import load_models

        detector, extractor = load_models(settings.model)
    with terminal.progress("Indexing", "pictures") as advance:
        report = build_index(folder, settings.gallery.data, detector, extractor, advance)
    results.print(
        f"Indexed {report.pictures:,} pictures with {report.faces:,} faces"
        f" ({report.without_face:,} without a face), version {report.version}."
    )
    results.print(
        f"{len(report.added):,} added, {len(report.removed):,} removed,"
        f" {report.embedded:,} embedded anew."
    )
    tell_unreadable(report.unreadable)


@app.command("status")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is indexed, by which models, and since when."""
    from core.index import current_manifest

    data = load_settings().gallery.data
    refuse_without_index(data)
    manifest = current_manifest(data)
    if as_json:
        terminal.show_json(manifest.model_dump(mode="json", exclude={"files"}))
        return
    search = "exact" if not manifest.trees else f"Annoy, {manifest.trees} trees"
    lines = {
        "Gallery": manifest.gallery,
        "Version": f"{manifest.version}, published {manifest.created:%Y-%m-%d %H:%M} UTC",
        "Pictures": f"{manifest.pictures:,}, of which {manifest.without_face:,} without a face",
        "Faces": f"{manifest.faces:,}",
        "Models": f"{manifest.detector.name} and {manifest.extractor.name}",
        "Search": search,
    }
    for name, value in lines.items():
        results.print(f"{name + ':':<10} {value}")


def refuse_without_index(data: Path) -> None:
    """Look whether there is an index, before anything is loaded.

    Raises:
        Failure: There is none in the data folder; says which folder that is.
    """
    from core.index import current_version

    if current_version(data) is None:
        raise Failure(
            "Nothing is indexed yet. Run `familiar index build`, which writes the index into"
            f" {data.absolute()}; if there is one elsewhere, go to the folder of its .env, or set"
            " FAMILIAR_DATA."
        )
