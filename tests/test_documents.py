"""What the README and the other documents promise is there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, get_args

import discord
import pytest
import typer
import yaml

from cli.main import app
from core.picture import SUFFIXES
from tests.repository import OWN_VALUES, REPOSITORY, known_settings, text


@cache
def terminal_commands() -> dict[str, set[str]]:
    """Every command by its full name, such as ``index build``, with its options."""
    found = {}

    def look(command: Any, name: str) -> None:
        if hasattr(command, "commands"):
            for word, below in command.commands.items():
                look(below, f"{name} {word}".strip())
        else:
            found[name] = {it for one in command.params for it in (*one.opts, *one.secondary_opts)}

    look(whole_command(), "")
    return found


def table(readme: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the first table below a heading."""
    below = readme.split(f"\n## {heading}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[0].splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


class TestReadme:
    """What the README promises is there."""

    COMMAND = re.compile(r"`familiar ((?:[a-z-]+ ?)+)")
    OPTION = re.compile(r"--[a-z][a-z-]*")

    @classmethod
    def command_of(cls, said: str) -> str:
        """The command that words after ``familiar`` name; what follows it are arguments."""
        commands = terminal_commands()
        words = said.split()
        names = [" ".join(words[:count]) for count in (1, 2)]
        return next((name for name in names if name in commands), said)

    def test_the_table_has_every_command_and_no_other(self) -> None:
        said = [name for cells in table(text("README.md"), "Commands") for name in cells[:1]]
        named = {self.command_of(words) for cell in said for words in self.COMMAND.findall(cell)}
        assert named == terminal_commands().keys()

    def test_every_option_in_the_table_is_one_of_its_command(self) -> None:
        commands = terminal_commands()
        checked = 0
        for name, does in table(text("README.md"), "Commands"):
            for command in {self.command_of(words) for words in self.COMMAND.findall(name)}:
                options = set(self.OPTION.findall(f"{name} {does}"))
                assert options <= commands[command], command
                checked += len(options)
        assert checked > 20

    def test_every_command_in_the_table_can_be_typed_so(self) -> None:
        said = [name for name, _ in table(text("README.md"), "Commands")]
        typed = [words for cell in said for words in re.findall(r"`familiar (.+?)`", cell)]
        assert len(typed) >= len(terminal_commands())
        for words in typed:
            parse(words)

    def test_the_table_has_every_setting_with_its_default(self) -> None:
        rows = {name.strip("`"): said for name, said, _ in table(text("README.md"), "Settings")}
        assert rows.keys() == known_settings().keys()
        for name, field in known_settings().items():
            if field.default == frozenset():
                assert rows[name] == "nobody", name
            elif field.default is not None:
                assert rows[name] == f"`{field.default}`", name
            elif name.endswith(("_API_URL", "_GATEWAY_URL")):
                assert rows[name].upper() == name.split("_")[1], name
            else:
                assert rows[name] == "", name

    def test_the_log_levels_are_those_of_the_settings(self) -> None:
        levels = get_args(known_settings()["FAMILIAR_LOG_LEVEL"].annotation)
        row = next(line for line in text("README.md").splitlines() if "FAMILIAR_LOG_LEVEL" in line)
        assert all(level in row for level in levels)

    def test_the_pictures_that_are_read_are_those_of_a_gallery(self) -> None:
        sentence = re.search(
            r"suffixes that are read: (.+?)\. Pictures of", text("README.md"), re.DOTALL
        )
        assert sentence
        assert set(re.findall(r"`(\.\w+)`", sentence[1])) == SUFFIXES

    def test_the_invitation_asks_for_the_permissions_that_are_named(self) -> None:
        readme = text("README.md")
        named = re.search(r"the bot permissions (.+?)\. Open", readme, re.DOTALL)
        number = re.search(r"&permissions=(\d+)", readme)
        assert named
        assert number
        words = re.findall(r"\*\*(.+?)\*\*", " ".join(named[1].split()))
        assert len(words) == 5
        flags = {name.lower().replace(" ", "_"): True for name in words}
        # The page has a plural here, the library the singular of the interface.
        flags["view_channel"] = flags.pop("view_channels")
        assert int(number[1]) == discord.Permissions(**flags).value

    def test_what_compose_fixes_is_named_where_compose_is_explained(self) -> None:
        section = re.search(r"\n### [^\n]*Compose\n(.+?)\n## ", text("README.md"), re.DOTALL)
        assert section
        named = set(re.findall(r"`([A-Z_]+)`", section[1])) & known_settings().keys()
        assert named == {"FAMILIAR_DATA"} | {variable for _, variable in OWN_VALUES}

    def test_compose_runs_commands_in_services_that_are_up(self) -> None:
        services = yaml.safe_load(text("docker-compose.yml"))["services"]
        said = re.findall(r"docker compose ((?:--profile \w+ )*)exec ([\w-]+)", text("README.md"))
        assert {service for _, service in said} == {"worker", "worker-gpu"}
        for profiles, service in said:
            assert set(services[service].get("profiles", [])) == set(profiles.split()[1::2])


DOCUMENTS = sorted(
    str(path.relative_to(REPOSITORY))
    for pattern in ("*.md", "docs/**/*.md", "core/models/*/README.md")
    for path in REPOSITORY.glob(pattern)
)


@cache
def whole_command() -> Any:
    """`familiar` itself."""
    return typer.main.get_command(app)


def parse(words: str) -> None:
    """Read the words after ``familiar`` as the command does, which then is not run.

    Raises:
        Exception: It would end with exit code 2, such as where a required option is missing.
    """
    arguments = shlex.split(re.sub(r"[][]", "", words))
    # Where a number is wanted, the documents may say N.
    arguments = ["1" if argument == "N" else argument for argument in arguments]
    command = whole_command()
    while hasattr(command, "commands"):
        assert arguments, words
        assert arguments[0] in command.commands, words
        command = command.commands[arguments.pop(0)]
    command.make_context(words, arguments)


def blocks(document: str) -> tuple[str, list[str]]:
    """What a document says outside of blocks of code, and the lines in these, continued ones
    joined."""
    code: list[str] = []

    def take(block: re.Match[str]) -> str:
        code.extend(block[0].replace("\\\n", " ").splitlines())
        return "\n"

    fenced = r"^ *```.*?^ *```$"
    indented = r"(?<=\n) {4}\S.*\n(?: {4}.*\n)*"
    rest = re.sub(fenced, take, document, flags=re.MULTILINE | re.DOTALL)
    return re.sub(indented, take, rest), code


def spans(document: str) -> list[str]:
    """What a document shows as code within its sentences, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", blocks(document)[0])]


class TestDocuments:
    """What is to be typed can be typed, in every document; and links lead to something."""

    COMMAND = re.compile(r"(?:^|[\s/])familiar ([a-z].*)")

    @classmethod
    def typed(cls, document: str) -> list[str]:
        """Commands in blocks of code, without ``familiar``."""
        found = map(cls.COMMAND.search, blocks(document)[1])
        return [words[1].partition(" #")[0] for words in found if words]

    @classmethod
    def named(cls, document: str) -> list[str]:
        """Commands within sentences: whole ones, or nothing but a name and some options."""
        return [words[1] for words in map(cls.COMMAND.search, spans(document)) if words]

    def test_commands_are_found(self) -> None:
        assert len(DOCUMENTS) > 8
        assert len(self.typed(text("README.md"))) == 5
        assert len(self.named(text("README.md"))) > 30
        assert len(self.typed(text("core/models/familiar-face/README.md"))) == 5
        assert len(self.named(text("CHANGELOG.md"))) > 30

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_every_command_in_a_block_can_be_typed_so(self, name: str) -> None:
        for words in self.typed(text(name)):
            parse(words)

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_every_command_in_a_sentence_is_one_with_these_options(self, name: str) -> None:
        commands = terminal_commands()
        groups = {command.split()[0] for command in commands if " " in command}
        for words in self.named(text(name)):
            command = TestReadme.command_of(words)
            if command in groups:
                continue
            assert set(TestReadme.OPTION.findall(words)) <= commands[command], words
            arguments = words.removeprefix(command).split()
            if arguments and not arguments[0].startswith(("-", "...")):
                parse(words)

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_what_make_is_told_is_a_target(self, name: str) -> None:
        phony = re.search(r"^\.PHONY: (.+)$", text("Makefile"), re.MULTILINE)
        assert phony
        said = [*spans(text(name)), *blocks(text(name))[1]]
        targets = {words[1] for words in map(re.compile(r"^make ([a-z]+)").match, said) if words}
        assert targets <= set(phony[1].split())

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_every_link_leads_to_a_file_and_a_heading(self, name: str) -> None:
        here = REPOSITORY / name
        missing = []
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)", text(name)):
            path, _, heading = link.partition("#")
            file = here.parent / path if path else here
            if not file.exists() or (heading and heading not in headings(file)):
                missing.append(link)
        assert missing == []


def headings(document: Path) -> set[str]:
    """What a link to a heading says, as GitHub makes it of the heading."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
