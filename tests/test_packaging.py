"""Files that no Python imports: settings example, compose file, image, wheel, Makefile, README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from cli.main import app
from core.settings import Settings

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
                passed_on = re.fullmatch(r"\$\{([A-Z_]+):-\}", str(value))
                assert passed_on is None or passed_on[1] == variable
        used = set(re.findall(r"\$\{([A-Z_]+)", text("docker-compose.yml")))
        assert used - known.keys() == {"TORCH_INDEX"}

    def test_every_setting_reaches_a_service(self, services: dict[str, Any]) -> None:
        given = {name for service in services.values() for name in service.get("environment", {})}
        # The image itself says where the volumes are mounted.
        assert known_settings().keys() - given == {"FAMILIAR_GALLERY", "FAMILIAR_DATA"}
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


class TestImage:
    """`Dockerfile`."""

    def test_annoy_is_not_compiled_for_the_build_machine(self) -> None:
        flags = re.search(r"ANNOY_COMPILER_ARGS=(\S+)", text("Dockerfile"))
        assert flags
        assert "native" not in flags[1]
        assert {"-O3", "-DANNOYLIB_MULTITHREADED_BUILD"} <= set(flags[1].split(","))

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

    def test_continuous_integration_does_what_everybody_does(self) -> None:
        assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
        assert text(".ci/run").strip().splitlines()[-1] == "exec make test"


class TestReadme:
    """What the README promises is there."""

    def test_every_command_is_explained(self) -> None:
        named = [command.name for command in app.registered_commands]
        for group in app.registered_groups:
            assert group.typer_instance is not None
            named += [f"{group.name} {c.name}" for c in group.typer_instance.registered_commands]
        assert named
        readme = text("README.md")
        for name in named:
            assert f"familiar {name}" in readme, name

    def test_every_setting_is_named(self) -> None:
        readme = text("README.md")
        assert [name for name in known_settings() if f"`{name}`" not in readme] == []

    @pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
    def test_every_link_leads_to_a_file(self, name: str) -> None:
        links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text(name))
        missing = [link for link in links if not (REPOSITORY / link).exists()]
        assert missing == []

    def test_the_limits_are_those_of_the_settings(self) -> None:
        readme = text("README.md")
        for name, field in known_settings().items():
            if name.startswith("FAMILIAR_LIMIT_"):
                row = next(line for line in readme.splitlines() if f"`{name}`" in line)
                assert f"`{field.default}`" in row

    def test_the_log_levels_are_those_of_the_settings(self) -> None:
        levels = get_args(known_settings()["FAMILIAR_LOG_LEVEL"].annotation)
        row = next(line for line in text("README.md").splitlines() if "FAMILIAR_LOG_LEVEL" in line)
        assert all(level in row for level in levels)
