"""All settings, from the environment and from `.env`; each is explained in `.env.example`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.picture import DEFAULT_LIMITS, Limits
from core.problem import Problem


class SettingsProblem(Problem):
    """A setting has a value that cannot be used."""


def _config(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(
        env_prefix=prefix, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )


AdminIds = Annotated[frozenset[int], NoDecode]


def _admin_ids(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return frozenset(int(part) for part in value.split(",") if part.strip())
        except ValueError:
            # Python's own text repeats the value, which may be a token in the wrong line.
            raise ValueError("user ids are whole numbers, separated by commas") from None
    return value


def _scheme(value: str) -> str:
    try:
        return urlsplit(value).scheme
    except ValueError:
        raise ValueError("this is no address") from None


def _api_address(value: str | None) -> str | None:
    if value is None:
        return None
    if _scheme(value) not in {"http", "https"}:
        raise ValueError("an API's address begins with http:// or https://")
    return value.rstrip("/")


def _gateway_address(value: str | None) -> str | None:
    if value is None:
        return None
    if _scheme(value) not in {"http", "https", "ws", "wss"}:
        raise ValueError("a gateway's address begins with http://, https://, ws:// or wss://")
    return value.rstrip("/")


class QueueSettings(BaseSettings):
    """Where jobs and uploads wait.

    Attributes:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``; None: `familiar up` starts its own.
    """

    model_config = _config("")

    redis_url: str | None = None


class GallerySettings(BaseSettings):
    """The community's pictures and what is made from them.

    Attributes:
        gallery: Folder of ``<character>/<picture>``, only ever read.
        data: Folder for the catalogue, the index versions, thumbnails and the terminal's answers.
    """

    model_config = _config("FAMILIAR_")

    gallery: Path = Path("gallery")
    data: Path = Path("data")


class ModelSettings(BaseSettings):
    """Which models are used, and how.

    Attributes:
        detector: A name that `core.models.load_detector` knows, such as ``familiar-face`` or
            ``saved-model:/path/to/folder``.
        extractor: A name that `core.models.load_extractor` knows, such as ``familiar-character``
            or ``ir-se50:/path/to/file.pth``.
        device: A torch device for the extractor: ``cpu``, ``cuda``; ``auto`` takes a GPU if any.
        threads: CPU threads for each model; 0 leaves the choice to the libraries.
        precision: What convolutions compute in. ``auto`` is ``int8`` on the processor; on a GPU
            the extractor's is ``bfloat16`` where it has its own instructions for it, else
            ``float32``. Models without networks in ``int8``, and other people's, compute in
            ``float32``.
    """

    model_config = _config("FAMILIAR_MODEL_")

    detector: str = "familiar-face"
    extractor: str = "familiar-character"
    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"


class LimitSettings(BaseSettings):
    """What a person may ask, and for how long it is kept.

    Attributes:
        upload_mib: Largest picture accepted, in MiB. A gallery has limits of its own.
        megapixels: Most pixels in a picture, in millions.
        requests_per_minute: For each person.
        upload_minutes: An uploaded picture is forgotten after so many minutes.
        answer_minutes: A request not answered within so many minutes is given up.
    """

    model_config = _config("FAMILIAR_LIMIT_")

    upload_mib: int = Field(default=20, ge=1, le=100)
    megapixels: int = Field(default=50, ge=1, le=80)
    requests_per_minute: int = Field(default=10, ge=1)
    upload_minutes: int = Field(default=30, ge=1)
    answer_minutes: int = Field(default=10, ge=1, le=14)

    @property
    def picture(self) -> Limits:
        """The same limits as `core.picture` takes them."""
        return Limits(
            file_bytes=self.upload_mib * 2**20,
            pixels=self.megapixels * 1_000_000,
            side=DEFAULT_LIMITS.side,
        )


class DiscordSettings(BaseSettings):
    """The Discord bot.

    Attributes:
        token: The bot's token; None: there is no Discord bot.
        admins: User ids that may `/reindex`; empty: nobody.
        api_url: Another server that speaks Discord's REST API, up to and including ``/api/v10``.
        gateway_url: Another server's gateway (websocket).
    """

    model_config = _config("FAMILIAR_DISCORD_")

    token: SecretStr | None = None
    admins: AdminIds = frozenset()
    api_url: str | None = None
    gateway_url: str | None = None

    _ids = field_validator("admins", mode="before")(_admin_ids)
    _api = field_validator("api_url")(_api_address)
    _gateway = field_validator("gateway_url")(_gateway_address)


class TelegramSettings(BaseSettings):
    """The Telegram bot.

    Attributes:
        token: The bot's token; None: there is no Telegram bot.
        admins: User ids that may `/reindex`; empty: nobody.
        api_url: Another Bot API server's root, such as ``http://localhost:8081``.
    """

    model_config = _config("FAMILIAR_TELEGRAM_")

    token: SecretStr | None = None
    admins: AdminIds = frozenset()
    api_url: str | None = None

    _ids = field_validator("admins", mode="before")(_admin_ids)
    _api = field_validator("api_url")(_api_address)


class LogSettings(BaseSettings):
    """How much is logged: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``."""

    model_config = _config("FAMILIAR_LOG_")

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseModel):
    """Every section, read once at start."""

    queue: QueueSettings
    gallery: GallerySettings
    model: ModelSettings
    limit: LimitSettings
    discord: DiscordSettings
    telegram: TelegramSettings
    log: LogSettings


def load_settings() -> Settings:
    """Read every section from the environment and `.env`.

    Raises:
        SettingsProblem: A value cannot be used; names the variable, never its value. Or `.env` is
            not UTF-8.
    """
    sections: dict[str, BaseSettings] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if not (isinstance(section, type) and issubclass(section, BaseSettings)):
            raise TypeError(f"{name} is no section of settings")
        try:
            sections[name] = section()
        except UnicodeDecodeError:
            raise SettingsProblem(
                "setting_invalid",
                variable=section.model_config.get("env_file"),
                reason="the file is not UTF-8; save it as UTF-8",
            ) from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            prefix = section.model_config.get("env_prefix", "")
            variable = (prefix + "_".join(str(part) for part in first["loc"])).upper()
            raise SettingsProblem(
                "setting_invalid",
                variable=variable,
                reason=first["msg"].removeprefix("Value error, "),
            ) from None
    return Settings(**sections)  # type: ignore[arg-type]
