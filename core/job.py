"""What a bot sends a worker: small, JSON, and complete."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.look import DEFAULT_COUNT, MAX_COUNT, Look
from core.texts import FALLBACK

JobId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,80}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DiscordDestination(_Frozen):
    """Where on Discord an answer goes.

    Attributes:
        application_id: The bot's application.
        interaction_token: Edits the interaction's messages for 15 minutes; None where the bot was
            mentioned.
        channel_id: Where the message stands, and where a late answer is posted.
        message_id: The placeholder where the bot posted it itself: the reply to a mention, or a
            follow-up to an interaction. None: the interaction's own response.
        reply_to: The message that asked, for a late answer to reply to.
        private: Only the asker sees the answer; it never falls back to the open channel.
        file_bytes: The largest file that may be posted there, in bytes.
    """

    platform: Literal["discord"] = "discord"
    application_id: int
    interaction_token: str | None = Field(default=None, repr=False)
    channel_id: int
    message_id: int | None = None
    reply_to: int | None = None
    private: bool = False
    file_bytes: int = 10 * 2**20


class TelegramDestination(_Frozen):
    """Where on Telegram an answer goes.

    Attributes:
        chat_id: The chat.
        message_id: The placeholder in it.
        reply_to: The message that asked.
        topic_id: The chat's topic in which they stand; None: in none.
    """

    platform: Literal["telegram"] = "telegram"
    chat_id: int
    message_id: int
    reply_to: int | None = None
    topic_id: int | None = None


class FileDestination(_Frozen):
    """The answer is written into the data folder, under the job's own id: for the terminal."""

    platform: Literal["file"] = "file"


Destination = Annotated[
    DiscordDestination | TelegramDestination | FileDestination, Field(discriminator="platform")
]


class _Job(_Frozen):
    """One request of one person.

    Attributes:
        id: The same for every delivery of the same platform event.
        destination: Where the answer goes.
        language: What the person reads, an ISO 639-1 code.
        asked_at: When the bot saw the request, in seconds since the epoch.
        deadline: When an answer is of no use any more, in seconds since the epoch.
    """

    id: JobId
    destination: Destination
    language: str = FALLBACK
    asked_at: float = Field(default_factory=time.time)
    deadline: float


class SimilarJob(_Job):
    """Answer an uploaded picture with its nearest characters.

    Attributes:
        upload: The picture's bytes wait in the upload store under their SHA-256.
        look: What *similar* means.
        count: Matches for each face, 1..9.
        spoiler: The picture is covered until somebody wants to see it; so is the answer to it,
            which shows it again.
    """

    upload: Sha256
    look: Look = Look.BOTH
    count: int = Field(default=DEFAULT_COUNT, ge=1, le=MAX_COUNT)
    spoiler: bool = False


class ReindexJob(_Job):
    """Bring the index in line with the gallery, and report the progress."""
