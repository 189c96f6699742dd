"""`familiar models`: which models there are, what they are, and which are used."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from cli import terminal
from cli.terminal import Failure, messages, results
from core.settings import load_settings

if TYPE_CHECKING:
    from core.models import Detector, Extractor

app = typer.Typer(help="Choose the models, shipped ones or your own.", no_args_is_help=True)

ENV_FILE: Final = Path(".env")
KNOWN: Final = (
    ("detector", "familiar-face", "shipped: faces in drawings"),
    (
        "detector",
        "saved-model:FOLDER",
        "a TensorFlow SavedModel with the signature of the Object Detection API",
    ),
    ("detector", "cascade:FILE.xml", "an LBP or Haar cascade of OpenCV"),
    ("extractor", "familiar-character", "shipped: characters in drawings"),
    ("extractor", "trained:FOLDER", "an extractor that was trained and put together here"),
    ("extractor", "resnet101", "torchvision's ResNet101, downloaded by torchvision"),
    ("extractor", "resnet101:FILE.pth", "the same from a file"),
    ("extractor", "ir-se50:FILE.pth", "ArcFace's IR-SE50, public PyTorch weights"),
    ("extractor", "onnx:FILE.onnx", "a face network in ONNX"),
)
_VARIABLES: Final = {
    "detector": "FAMILIAR_MODEL_DETECTOR",
    "extractor": "FAMILIAR_MODEL_EXTRACTOR",
}

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def show_list(as_json: Json = False) -> None:
    """List how models are named, and which are in use."""
    from core.models import ModelError, role_of

    model = load_settings().model
    used = {"detector": model.detector, "extractor": model.extractor}
    if as_json:
        forms = [{"role": role, "name": name, "what": what} for role, name, what in KNOWN]
        terminal.show_json({"in_use": used, "known": forms})
        return
    table = Table("role", "name", "what it is")
    for role, name, what in KNOWN:
        table.add_row(role, name, what)
    results.print(table)
    results.print(f"In use: {used['detector']} and {used['extractor']}.")
    for role, name in used.items():
        try:
            fits = role_of(name) == role
        except ModelError:
            fits = False
        if not fits:
            messages.print(f"{_VARIABLES[role]} names {name}, which is no {role}.")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name as `familiar models list` shows them.")],
    as_json: Json = False,
) -> None:
    """Load a model and say what it is."""
    with terminal.waiting("Loading the model"):
        role, model = _loaded(name)
    facts = {"name": name, "role": role} | _facts(model)
    if as_json:
        terminal.show_json(facts)
        return
    for key, value in facts.items():
        results.print(f"{key.replace('_', ' ')}: {'none' if value is None else value}")


@app.command("use")
def use(
    names: Annotated[list[str], typer.Argument(help="A detector, an extractor, or one of each.")],
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the lines for .env and write nothing.")
    ] = False,
) -> None:
    """Check that models load and see pictures, and write them into .env."""
    from core.models import with_whole_path
    from core.models.first_look import look_first

    chosen: dict[str, str] = {}
    outdated: list[str] = []
    for name in names:
        with terminal.waiting(f"Loading {name}"):
            role, model = _loaded(name, look=False)
            look_first(model)
        if role in chosen:
            raise Failure(f"There can be only one {role} in use; name one.")
        chosen[role] = with_whole_path(name)
        outdated += _index_of_others(role, model)
    lines = {_VARIABLES[role]: _quoted(name) for role, name in chosen.items()}
    if not only_print:
        write_env(ENV_FILE, lines)
    for variable, value in lines.items():
        results.print(f"{variable}={value}")
        if not only_print and os.environ.get(variable):
            messages.print(f"The environment sets {variable} too, and comes before {ENV_FILE}.")
    if not only_print:
        for sentence in outdated:
            messages.print(sentence)
        messages.print("A worker that is running keeps the models it was started with: restart it.")


def _loaded(name: str, *, look: bool = True) -> tuple[str, Detector | Extractor]:
    """A model and its role; for `look` see `core.models.chosen.load_models`."""
    from core.models import role_of
    from core.models.chosen import load_detector_of, load_extractor_of

    role = role_of(name)
    settings = load_settings().model.model_copy(update={role: name})
    load = load_detector_of if role == "detector" else load_extractor_of
    return role, load(settings, look=look)


def _facts(model: Detector | Extractor) -> dict[str, object]:
    facts: dict[str, object] = {"sha256": model.sha256}
    for attribute in (
        "threshold",
        "face_dimensions",
        "picture_dimensions",
        "weights_of_both",
        "same_threshold",
        "false_accepts",
    ):
        if hasattr(model, attribute):
            facts[attribute] = getattr(model, attribute)
    return facts


def _index_of_others(role: str, model: Detector | Extractor) -> list[str]:
    """That the index in use was made with another model, if so."""
    from core.index import current_manifest, current_version
    from core.problem import Problem

    data = load_settings().gallery.data
    try:
        if current_version(data) is None:
            return []
        made_by = getattr(current_manifest(data), role)
    except Problem:
        return []  # its own sentence comes where the index is opened
    if made_by.sha256 == model.sha256:
        return []
    problem = Problem(
        "index_other_models",
        made_by=f"{made_by.name} ({made_by.sha256[:8]})",
        loaded=f"{model.name} ({model.sha256[:8]})",
    )
    return [problem.sentence()]


def _quoted(value: str) -> str:
    """As a line of .env holds it and gives it back.

    Raises:
        Failure: No line can.
    """
    if re.search(r"\$\{|[\r\n]", value):
        raise Failure(
            f"{value!r} cannot be written into {ENV_FILE}: ${{ and line breaks would be read as"
            " something else; rename the file or its folder."
        )
    if re.fullmatch(r"[\w./:+@%-]+", value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_env(path: Path, values: dict[str, str]) -> None:
    """Set variables in a file of settings and leave all else as it is, ends of lines too.

    A line that sets one, or would if it were no comment, is replaced; others are added at the
    end. The file may hold tokens: it stays as closed to others as it was, and a new one is
    readable for its owner alone.

    Args:
        path: Made if it is missing.
        values: By variable, already quoted where that is needed.
    """
    path = path.resolve()
    lines: list[str] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            lines = file.readlines()
    end = _end_of(lines[0]) if lines else "\n"
    if lines and not _end_of(lines[-1]):
        lines[-1] += end
    for variable, value in values.items():
        for pattern in (rf"\s*(export\s+)?{variable}\s*=", rf"\s*#\s*{variable}\s*="):
            places = [number for number, line in enumerate(lines) if re.match(pattern, line)]
            if places:
                lines[places[-1]] = f"{variable}={value}{_end_of(lines[places[-1]])}"
                break
        else:
            lines.append(f"{variable}={value}{end}")
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(opened, "w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _end_of(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]
