"""`familiar data`: crops of heads and groups of them, splits without leaks, balanced folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.folders import tell_unreadable
from cli.terminal import Failure, messages, results
from core.folder import reason
from core.problem import Problem, Refusal
from core.settings import load_settings

if TYPE_CHECKING:
    from core.train.dataset import WhyLeftOut

app = typer.Typer(help="Make folders of pictures ready for training.", no_args_is_help=True)

Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same result.")
]
NewFolder = Annotated[
    Path, typer.Option(help="The folder to write, which is empty or not there yet.")
]


@app.command("crop")
def crop(
    folder: Annotated[Path, typer.Argument(help="Searched for pictures at any depth.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The folder to write; made if it is missing. What its crops.csv lists is replaced,"
            " and no other file; where that was cut from another folder, nothing is."
        ),
    ],
    detector: Annotated[
        str | None,
        typer.Option(help="Another detector than the one in use, or lbpcascade with --cascade."),
    ] = None,
    cascade: Annotated[
        Path | None, typer.Option(help="The XML file of an LBP or Haar cascade of OpenCV.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2,
            help="Shown around a face, as a share of its longer side; left out: as much as an"
            " extractor of `train assemble` sees.",
        ),
    ] = None,
    lift: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="By how much of that side the crop is moved upwards; left out: as that extractor"
            " does.",
        ),
    ] = None,
    smallest: Annotated[
        int, typer.Option(min=1, help="Crops of a smaller side are left out, in pixels.")
    ] = 1,
) -> None:
    """Cut out every face: <name>_<n>.jpg, and crops.csv that maps each to its picture."""
    if detector == "lbpcascade" and cascade is None:
        raise Failure("The detector lbpcascade needs its file: --cascade FILE.xml.")
    if cascade is not None and detector not in {None, "lbpcascade", "cascade"}:
        raise Failure(f"--cascade does not go with the detector {detector}; leave one out.")
    settings = load_settings()
    with terminal.waiting("Loading the detector"):
        from core.framing import HEADS, Framing
        from core.models.chosen import load_detector_of
        from core.train.crops import write_crops

        name = detector or settings.model.detector
        named = {"detector": name if cascade is None else f"cascade:{cascade}"}
        loaded = load_detector_of(settings.model.model_copy(update=named))
    with terminal.progress("Cropping", "pictures") as advance:
        written = write_crops(
            folder,
            out,
            loaded,
            framing=Framing(
                HEADS.margin if margin is None else margin,
                HEADS.lift if lift is None else lift,
            ),
            smallest=smallest,
            progress=advance,
        )
    tell_unreadable(written.unreadable)
    if written.removed:
        messages.print(
            f"{written.removed:,} crops of an earlier run, which were not cut again, were removed."
        )
    results.print(f"Cut {written.crops:,} faces out of {written.pictures:,} pictures: {out}")


@app.command("group")
def group(
    folder: Annotated[Path, typer.Argument(help="Folder of <series>/<head>, as crop writes it.")],
    out: NewFolder,
    extractor: Annotated[
        str | None, typer.Option(help="Another extractor than the one in use.")
    ] = None,
    like: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Mean cosine from which two groups are one."),
    ] = None,
    smallest: Annotated[
        int | None, typer.Option(min=1, help="Groups of fewer pictures are left out.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="A series that is left out, such as one with characters that results are reported"
            " on; may be given again."
        ),
    ] = None,
) -> None:
    """Copy heads that seem to show one character into a folder of their own."""
    settings = load_settings()
    with terminal.waiting("Loading the extractor"):
        from core.models.chosen import load_extractor_of
        from core.train.groups import SMALLEST, write_groups

        named = {"extractor": extractor or settings.model.extractor}
        loaded = load_extractor_of(settings.model.model_copy(update=named))
    with terminal.progress("Reading", "pictures") as advance:
        done = write_groups(
            folder,
            out,
            loaded,
            like=like,
            smallest=SMALLEST if smallest is None else smallest,
            without=without or (),
            progress=advance,
        )
    tell_unreadable(done.unreadable)
    results.print(
        f"{done.grouped:,} of {done.pictures:,} pictures in {done.groups:,} groups: {out}"
    )


@app.command("split")
def split(
    folder: Annotated[Path, typer.Argument(help="Folder of <character>/<picture>.")],
    out: NewFolder,
    by: Annotated[
        str, typer.Option(help="What stays on one side as a whole: picture or character.")
    ] = "character",
    validation: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share to measure on.")
    ] = 0.2,
    near: Annotated[
        int | None,
        typer.Option(min=0, max=20, help="Bits of 64 by which near duplicates may differ."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Copy a folder into train and val; duplicates are never on both sides."""
    from core.train.copies import NEAR
    from core.train.dataset import Unit, split_folder

    if by not in set(Unit):
        raise Failure("--by is picture or character.")
    with _telling() as left_out, terminal.progress("Reading", "pictures") as advance:
        done = split_folder(
            folder,
            out,
            Unit(by),
            validation=validation,
            near=NEAR if near is None else near,
            seed=seed,
            progress=advance,
            left_out=left_out,
        )
    results.print(
        f"{len(done.train):,} pictures to train on, {len(done.validation):,} to measure on;"
        f" {done.duplicates:,} have a duplicate on their own side: {out}"
    )


@app.command("balance")
def balance(
    folder: Annotated[Path, typer.Argument(help="Folder of <character>/<picture>, after a split.")],
    out: NewFolder,
    per_character: Annotated[int, typer.Option(min=1, help="Pictures of each character.")],
    seed: Seed = 0,
) -> None:
    """Copy a folder so that each character has as many pictures; copies say so in their names."""
    from core.train.dataset import balance_folder

    with _telling() as left_out, terminal.progress("Reading", "pictures") as advance:
        done = balance_folder(
            folder, out, per_character, seed=seed, progress=advance, left_out=left_out
        )
    results.print(
        f"{done.characters:,} characters with {per_character:,} pictures each, of which"
        f" {done.copies:,} are copies; {done.left_out:,} pictures left out: {out}"
    )


@contextmanager
def _telling() -> Iterator[WhyLeftOut]:
    """Told of files that are left out, it says so at the end, also where the folder is refused."""
    unreadable: list[tuple[str, str]] = []
    try:
        yield lambda path, why: unreadable.append((path, reason(why)))
    except (Refusal, Problem):
        tell_unreadable(unreadable)
        raise
    tell_unreadable(unreadable)
