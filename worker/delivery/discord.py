"""Answers on Discord: the placeholder is edited; where that is no longer possible, one message is
posted instead.

Addresses and numbers are those of Discord's documentation, API version 10: *Receiving and
Responding* (interaction tokens live 15 minutes), *Message* (nonces, attachments), *Rate Limits*.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from core import program
from core.job import DiscordDestination
from core.settings import DiscordSettings
from worker.delivery import LONGEST_PATIENCE, DeliveryFailed, object_of

log = logging.getLogger(__name__)

API: Final = "https://discord.com/api/v10"
USER_AGENT: Final = (
    f"DiscordBot (https://www.python-httpx.org, {httpx.__version__})"
    f" {program.NAME}/{program.version()}"
)
"""In the form of Discord's reference: the library's address and version, then what one likes. Other
clients may be refused before Discord sees them."""
CONTENT_CHARACTERS: Final = 2000
SPOILER: Final = "SPOILER_"
"""A file whose name begins so is covered."""

# Discord's error codes.
UNKNOWN_MESSAGE: Final = 10008
UNKNOWN_WEBHOOK: Final = 10015
INVALID_WEBHOOK_TOKEN: Final = 50027
KEPT_AWAY: Final = 40333
"""Of Cloudflare, which stands before Discord: no word of Discord's own."""

TYPING_SECONDS: Final = 3.0
REQUEST_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 8.0


class _Refused(Exception):
    """Discord said no, and would say no again.

    Attributes:
        status: Of HTTP.
        code: Discord's own, 0 where it has none for this.
    """

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"Discord refused the message: status {status}, code {code}")
        self.status = status
        self.code = code

    @property
    def expired(self) -> bool:
        """The interaction's token, or the message it may edit, is gone."""
        return self.code in {INVALID_WEBHOOK_TOKEN, UNKNOWN_WEBHOOK, UNKNOWN_MESSAGE}

    def final(self) -> DeliveryFailed:
        """The same for the worker."""
        return DeliveryFailed(str(self), final=True)


@dataclass(frozen=True, slots=True)
class _Message:
    """What the placeholder is to say, in full: nothing of its former state stays."""

    content: str
    file: tuple[str, bytes, str] | None = None

    def request(self, **fields: Any) -> dict[str, Any]:
        """Arguments for httpx, with further `fields` in the JSON."""
        files = [] if self.file is None else [{"id": 0, "filename": self.file[0]}]
        body = {
            "content": self.content,
            "attachments": files,
            "allowed_mentions": {"parse": []},
            **fields,
        }
        if self.file is None:
            return {"json": body}
        return {"data": {"payload_json": json.dumps(body)}, "files": {"files[0]": self.file}}

    def stands_in(self, message: dict[str, Any]) -> bool:
        """Whether Discord's message says this already."""
        sizes = [file.get("size") for file in message.get("attachments", ())]
        wanted = [] if self.file is None else [len(self.file[1])]
        return sizes == wanted and message.get("content") == self.content


class DiscordDelivery:
    """The one message of one job on Discord. See `worker.delivery.Delivery`.

    An interaction's response is edited with the interaction's token. Once that token has expired,
    or its message is gone, the bot's own token takes over: it edits the message where its id is
    known, else it posts one in the channel. The post carries a nonce made from the job's id, and
    Discord hands out the same message to the same nonce, so a job that runs twice posts once.

    A private answer never takes that way, because others would see it; and a mention's
    placeholder that somebody deleted is not posted again, because they meant it.
    """

    def __init__(
        self,
        destination: DiscordDestination,
        settings: DiscordSettings,
        job_id: str,
        client: httpx.Client,
    ) -> None:
        self._destination = destination
        self._api = settings.api_url or API
        self._token = settings.token
        self._nonce = hashlib.sha256(job_id.encode()).hexdigest()[:25]
        self._client = client
        self._message_id = destination.message_id
        self._interaction_open = destination.interaction_token is not None

    def working(self) -> None:
        """Show "typing" where a mention was answered; a deferred command shows it by itself."""
        if self._destination.interaction_token is not None or self._token is None:
            return
        try:
            self._client.post(
                f"{self._api}/channels/{self._destination.channel_id}/typing",
                headers=self._headers(authorized=True),
                timeout=TYPING_SECONDS,
            )
        except httpx.HTTPError as error:
            log.debug("Typing could not be shown: %s", type(error).__name__)

    def say(self, sentence: str, *, deadline: float) -> None:
        """Replace the message by a sentence, and remove a collage that it held."""
        self._put(_Message(plain(sentence)), deadline)

    def answer(
        self, collage: bytes, caption: str, *, deadline: float, spoiler: bool = False
    ) -> None:
        """Replace the message by the collage and its caption."""
        kind = "png" if collage.startswith(b"\x89PNG") else "jpeg"
        name = f"{SPOILER if spoiler else ''}similar.{kind}"
        file = (name, collage, f"image/{kind}")
        self._put(_Message(plain(caption), file), deadline)

    def _put(self, message: _Message, deadline: float) -> None:
        try:
            if self._interaction_open and self._edited_response(message, deadline):
                return
            if self._destination.private:
                raise DeliveryFailed("The private answer's interaction has expired.", final=True)
            if self._message_id is not None and self._edited_message(message, deadline):
                return
            self._post(message, deadline)
        except _Refused as refusal:
            raise refusal.final() from None

    def _edited_response(self, message: _Message, deadline: float) -> bool:
        """Edit with the interaction's token; False where that has ended."""
        destination = self._destination
        placeholder = destination.message_id or "@original"
        path = (
            f"/webhooks/{destination.application_id}/{destination.interaction_token}"
            f"/messages/{placeholder}"
        )
        try:
            answer = self._request("PATCH", path, message.request(), deadline)
        except _Refused as refusal:
            if not refusal.expired:
                raise
            self._interaction_open = False
            return False
        # A long reindex outlives the token; then its message is edited by its id.
        self._message_id = int(answer["id"])
        return True

    def _edited_message(self, message: _Message, deadline: float) -> bool:
        """Edit with the bot's token; False where a command's response is gone."""
        path = f"/channels/{self._destination.channel_id}/messages/{self._message_id}"
        try:
            self._request("PATCH", path, message.request(), deadline, authorized=True)
        except _Refused as refusal:
            if refusal.code == UNKNOWN_MESSAGE and self._destination.interaction_token is not None:
                self._message_id = None
                return False
            raise
        return True

    def _post(self, message: _Message, deadline: float) -> None:
        fields: dict[str, Any] = {"nonce": self._nonce, "enforce_nonce": True}
        if self._destination.reply_to is not None:
            fields["message_reference"] = {
                "message_id": str(self._destination.reply_to),
                "fail_if_not_exists": False,
            }
        path = f"/channels/{self._destination.channel_id}/messages"
        posted = self._request("POST", path, message.request(**fields), deadline, authorized=True)
        self._message_id = int(posted["id"])
        # The nonce was known: this job has posted before, perhaps something else.
        if not message.stands_in(posted):
            self._edited_message(message, deadline)

    def _request(
        self,
        method: str,
        path: str,
        arguments: dict[str, Any],
        deadline: float,
        *,
        authorized: bool = False,
    ) -> dict[str, Any]:
        """One call, repeated while Discord or the network ask for patience.

        Raises:
            _Refused: Discord does not take it.
            DeliveryFailed: The deadline came first, Discord wants to hear nothing for longer,
                something else answered in its place, or there is no bot token.
        """
        headers = self._headers(authorized=authorized)
        pause = FIRST_PAUSE_SECONDS
        while True:
            asked: float | None = None
            left = deadline - time.time()
            if left <= 0:
                raise DeliveryFailed("Discord was not reached in time.", final=False)
            try:
                response = self._client.request(
                    method,
                    self._api + path,
                    headers=headers,
                    timeout=min(left, REQUEST_SECONDS),
                    **arguments,
                )
            except httpx.TransportError as error:
                reason, wait = type(error).__name__, pause
            else:
                body = object_of(response)
                if response.is_success and "id" in body:
                    return body
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    asked = _retry_after(response)
                    reason, wait = "rate limit", pause if asked is None else asked
                elif response.is_server_error:
                    reason, wait = f"status {response.status_code}", pause
                else:
                    code = body.get("code")
                    if response.is_client_error and isinstance(code, int) and code != KEPT_AWAY:
                        raise _Refused(response.status_code, code)
                    raise DeliveryFailed(
                        f"Discord was not reached: status {response.status_code} came from"
                        " something in between.",
                        final=False,
                    )
            if time.time() + wait >= deadline or (asked or 0.0) > LONGEST_PATIENCE:
                raise DeliveryFailed(
                    f"Discord was not reached in time: {reason}.", final=False, retry_after=asked
                )
            log.info("Discord asks for patience (%s), %.1f s", reason, wait)
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _headers(self, *, authorized: bool) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT}
        if authorized:
            if self._token is None:
                raise DeliveryFailed("There is no token for the Discord bot.", final=True)
            headers["Authorization"] = f"Bot {self._token.get_secret_value()}"
        return headers


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that a 429 asks for; its header where it comes from the network in between."""
    try:
        return float(object_of(response).get("retry_after") or response.headers["retry-after"])
    except (KeyError, TypeError, ValueError):
        return None


_MARKDOWN = re.compile(r"([\\*_~|<\[\]])|^(\s*)([#>-])", re.MULTILINE)


def escaped(text: str) -> str:
    """`text` as Discord shows it letter by letter.

    Names of characters and of files are anyone's choice: they are not to become bold, a link or
    somebody's mention. Backticks stay, for sentences mark commands with them.
    """
    return _MARKDOWN.sub(lambda found: f"{found[2] or ''}\\{found[1] or found[3]}", text)


def plain(text: str) -> str:
    """`escaped`, within what a message may hold."""
    whole = escaped(text)
    if len(whole) <= CONTENT_CHARACTERS:
        return whole
    cut = whole[: CONTENT_CHARACTERS - 1]
    # An odd run of backslashes at the end has lost the letter that it was to protect.
    if (len(cut) - len(cut.rstrip("\\"))) % 2:
        cut = cut[:-1]
    return cut + "…"
