"""Answers on Telegram: the placeholder is edited, https://core.telegram.org/bots/api."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import httpx
from PIL import Image

from core.job import TelegramDestination
from core.settings import TelegramSettings
from worker.delivery import LONGEST_PATIENCE, DeliveryFailed, object_of

log = logging.getLogger(__name__)

PUBLIC_API: Final = "https://api.telegram.org"
TEXT_UNITS: Final = 4096
CAPTION_UNITS: Final = 1024
PHOTO_BYTES: Final = 10_000_000
PHOTO_SIDES: Final = 10_000
"""Most pixels of a photo's width and height together."""
PHOTO_RATIO: Final = 20
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 8.0
CALL_SECONDS: Final = 60.0
WORKING_SECONDS: Final = 3.0

_SUFFIXES: Final = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}

# What the server says where the message holds already what it is told to hold.
_NOT_MODIFIED: Final = "message is not modified"
# Where the message carries a picture by now, so that there is only a caption to change.
_NO_TEXT: Final = "there is no text in the message to edit"
# Where the server would not take these bytes as a photo, though the limits are kept.
_NO_PHOTO: Final = re.compile(r"PHOTO_|IMAGE_PROCESS_FAILED|too big for a photo")

Form: TypeAlias = Literal["photo", "document"]


class _Refused(Exception):
    """The server answered, and trying the same again is useless."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"Telegram refused: {code} {description}")
        self.description = description


class TelegramDelivery:
    """Edits the placeholder that the bot has posted, and posts nothing else.

    A placeholder that is gone was deleted by a person, who does not want the answer: it is given
    up. A new message instead could not be repeated harmlessly, so that a job which runs twice
    would answer twice.
    """

    def __init__(
        self, destination: TelegramDestination, settings: TelegramSettings, client: httpx.Client
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            destination: The chat and the placeholder in it.
            settings: The bot's token, and the server it belongs to.
            client: Carries the requests; shared between deliveries.

        Raises:
            DeliveryFailed: There is no token.
        """
        if settings.token is None:
            raise DeliveryFailed("There is no token for the Telegram bot.", final=True)
        self._methods = f"{settings.api_url or PUBLIC_API}/bot{settings.token.get_secret_value()}"
        self._message = {
            "chat_id": str(destination.chat_id),
            "message_id": str(destination.message_id),
        }
        self._topic = (
            {} if destination.topic_id is None else {"message_thread_id": str(destination.topic_id)}
        )
        self._client = client

    def working(self) -> None:
        """Show *sending a photo* below the chat's title, in the topic where there is one; for five
        seconds, says Telegram."""
        data = {"chat_id": self._message["chat_id"], **self._topic, "action": "upload_photo"}
        try:
            self._post("sendChatAction", data, None, WORKING_SECONDS)
        except httpx.HTTPError as error:
            log.debug("No chat action: %s", type(error).__name__)

    def say(self, sentence: str, *, deadline: float) -> None:
        """Replace the message's text, or the caption where it shows a picture already."""
        text = shortened(sentence, TEXT_UNITS)
        try:
            self._edit("editMessageText", {"text": text}, None, deadline)
        except _Refused as refused:
            if _NO_TEXT not in refused.description:
                raise DeliveryFailed(str(refused), final=True) from None
            caption = {"caption": shortened(text, CAPTION_UNITS)}
            try:
                self._edit("editMessageCaption", caption, None, deadline)
            except _Refused as again:
                raise DeliveryFailed(str(again), final=True) from None

    def answer(
        self, collage: bytes, caption: str, *, deadline: float, spoiler: bool = False
    ) -> None:
        """Replace the message by the collage: as a photo, or as a file where no photo may be
        so large or so long. With `spoiler` never as a file, because Telegram covers none."""
        kind, suffix = form_of(collage)
        if kind == "document" and spoiler:
            raise DeliveryFailed("No photo may be so large, and no file be covered.", final=True)
        file = (f"similar.{suffix}", collage)
        try:
            self._edit_media(kind, file, caption, deadline, spoiler=spoiler)
        except _Refused as refused:
            if kind == "document" or spoiler or not _NO_PHOTO.search(refused.description):
                raise DeliveryFailed(str(refused), final=True) from None
            log.warning("Sent as a file: %s", refused)
            try:
                self._edit_media("document", file, caption, deadline)
            except _Refused as again:
                raise DeliveryFailed(str(again), final=True) from None

    def _edit_media(
        self,
        kind: Form,
        file: tuple[str, bytes],
        caption: str,
        deadline: float,
        *,
        spoiler: bool = False,
    ) -> None:
        media: dict[str, object] = {
            "type": kind,
            "media": "attach://collage",
            "caption": shortened(caption, CAPTION_UNITS),
        }
        if kind == "document":
            media["disable_content_type_detection"] = True
        if spoiler:
            media["has_spoiler"] = True
        data = {"media": json.dumps(media)}
        self._edit("editMessageMedia", data, {"collage": file}, deadline)

    def _edit(
        self,
        method: str,
        data: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes]] | None,
        deadline: float,
    ) -> None:
        """Call `method` on the placeholder until the server has taken it.

        Raises:
            _Refused: It never will.
            DeliveryFailed: It has not before the deadline, wants to hear nothing for longer, or
                something else answered in its place.
        """
        pause = FIRST_PAUSE
        reason = "the deadline was over"
        asked: float | None = None
        while (remaining := deadline - time.time()) > 0:
            wait, asked = pause, None
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                response = self._post(
                    method, {**self._message, **data}, files, min(remaining, CALL_SECONDS)
                )
            except httpx.HTTPError as error:
                # Its own text may name the address, and the address holds the token.
                reason = type(error).__name__
            else:
                answer = object_of(response)
                description = str(answer.get("description", ""))
                if answer.get("ok") is True or _NOT_MODIFIED in description:
                    return
                reason = f"{response.status_code} {description}"
                telegrams_own = answer.get("ok") is False and isinstance(
                    answer.get("error_code"), int
                )
                if not telegrams_own and not response.is_server_error:
                    raise DeliveryFailed(
                        f"Telegram was not reached: status {response.status_code} came from"
                        " something in between.",
                        final=False,
                    )
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    asked = _retry_after(answer)
                    wait = pause if asked is None else asked
                elif not response.is_server_error:
                    raise _Refused(response.status_code, description)
            if wait >= deadline - time.time() or (asked or 0.0) > LONGEST_PATIENCE:
                break
            log.info("%s again in %.1f s: %s", method, wait, reason)
            time.sleep(wait)
        raise DeliveryFailed(
            f"Telegram did not take {method} in time: {reason}", final=False, retry_after=asked
        )

    def _post(
        self,
        method: str,
        data: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes]] | None,
        seconds: float,
    ) -> httpx.Response:
        return self._client.post(
            f"{self._methods}/{method}",
            data=data,
            files=files,
            timeout=seconds,
            follow_redirects=False,
        )


def form_of(collage: bytes) -> tuple[Form, str]:
    """How a picture may be sent, and its file's suffix."""
    with Image.open(io.BytesIO(collage)) as image:
        suffix = _SUFFIXES.get(image.format or "", "bin")
        width, height = image.size
    as_photo = (
        len(collage) <= PHOTO_BYTES
        and width + height <= PHOTO_SIDES
        and max(width, height) <= PHOTO_RATIO * min(width, height)
    )
    return "photo" if as_photo else "document", suffix


def shortened(text: str, units: int) -> str:
    """`text`, cut where it is longer than `units` UTF-16 code units, as Telegram counts."""
    encoded = text.encode("utf-16-le")
    if len(encoded) <= 2 * units:
        return text
    # A pair of units that is one character may be cut in two; the half is dropped.
    return encoded[: 2 * (units - 1)].decode("utf-16-le", errors="ignore") + "…"


def _retry_after(answer: Mapping[str, Any]) -> float | None:
    """Seconds that a 429 asks for."""
    parameters = answer.get("parameters")
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    return float(seconds) if isinstance(seconds, int | float) else None
