"""A Bot API server for tests: real bot and worker processes talk to it over HTTP, and a test
plays the people in the chats.

It follows https://core.telegram.org/bots/api in what this project touches: methods by GET and
POST, with parameters urlencoded, as JSON or as multipart with ``attach://``; long polling with
offsets and ``allowed_updates``; files with their real bytes; and the errors, in the wording of
the real server. Faults come on demand: `TelegramServer.refuse`, `.hang_up`,
`.lose_answer`, `.intercept`, `.slow_down`, `.block`, `.delete`.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from aiohttp import web
from PIL import Image

TOKEN = "7000000001:AAtestTokenOfTheBotThatOnlyTestsKnow_"
TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
DOWNLOAD_LIMIT = 20 << 20
PHOTO_LIMIT = 10 << 20
UPLOAD_LIMIT = 50 << 20
PHOTO_SIDES = 10_000
PHOTO_RATIO = 20
THUMBNAIL = 90

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}
_ENTITY = re.compile(
    r"(?P<bot_command>(?<!\S)/[A-Za-z0-9_]{1,32}(?:@[A-Za-z0-9_]{5,32})?)"
    r"|(?P<mention>(?<![\w@])@[A-Za-z0-9_]{5,32})"
)

Result = TypeVar("Result")
Payload = dict[str, Any]


class ApiError(Exception):
    """A request the server refuses, as the Bot API words it."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters

    def payload(self) -> Payload:
        """The response's body."""
        body: Payload = {"ok": False, "error_code": self.code, "description": self.description}
        return body | ({"parameters": self.parameters} if self.parameters else {})


def _bad(description: str) -> ApiError:
    return ApiError(400, f"Bad Request: {description}")


def utf16_length(text: str) -> int:
    """Telegram counts text in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def entities_of(text: str) -> list[Payload]:
    """The commands and mentions in a text, with offsets and lengths in UTF-16 code units."""
    return [
        {
            "type": found.lastgroup,
            "offset": utf16_length(text[: found.start()]),
            "length": utf16_length(found.group()),
        }
        for found in _ENTITY.finditer(text)
    ]


@dataclass(frozen=True, slots=True)
class User:
    """A person or a bot."""

    id: int
    first_name: str
    language_code: str | None = None
    username: str | None = None
    is_bot: bool = False

    def payload(self) -> Payload:
        """As the API writes it: absent fields are left out."""
        named = {"username": self.username, "language_code": self.language_code}
        return {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name} | {
            key: value for key, value in named.items() if value is not None
        }


@dataclass(slots=True)
class Chat:
    """A private chat or a group, with each member's status."""

    id: int
    type: Literal["private", "group", "supergroup"]
    title: str
    members: dict[int, str] = field(default_factory=dict)

    def payload(self) -> Payload:
        """As the API writes it."""
        name = "first_name" if self.type == "private" else "title"
        return {"id": self.id, "type": self.type, name: self.title}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on the server; `width` and `height` where it is a picture."""

    id: str
    data: bytes
    path: str
    name: str
    mime_type: str
    width: int = 0
    height: int = 0

    def payload(self) -> Payload:
        """What every file has."""
        return {"file_id": self.id, "file_unique_id": f"u{self.id}", "file_size": len(self.data)}


@dataclass(slots=True)
class Message:
    """A message with its text, or its photo or document and their caption.

    Attributes:
        photo: Its sizes, smallest first.
        document: A file sent as it is, or an animation's video.
        thumbnail: The first frame of an animation.
        caption: Below a photo or a document.
        spoiler: Its photo or animation is covered.
        topic_id: The topic in which it stands, of a group that has some.
        edits: How many times it was changed.
    """

    id: int
    chat: Chat
    sender: User
    date: int
    text: str | None = None
    photo: tuple[StoredFile, ...] = ()
    document: StoredFile | None = None
    thumbnail: StoredFile | None = None
    caption: str | None = None
    media_group_id: str | None = None
    reply_to: Message | None = None
    spoiler: bool = False
    topic_id: int | None = None
    edits: int = 0

    @property
    def media(self) -> StoredFile | None:
        """The file it shows: of a photo, the largest size."""
        return self.photo[-1] if self.photo else self.document

    @property
    def words(self) -> str:
        """What it says: its text or its caption."""
        return self.text or self.caption or ""

    def payload(self, *, with_reply: bool = True) -> Payload:
        """As the API writes it; a replied-to message is shown one level deep, and of another chat's
        only what it carries."""
        body: Payload = {
            "message_id": self.id,
            "from": self.sender.payload(),
            "chat": self.chat.payload(),
            "date": self.date,
        }
        if self.text is not None:
            body["text"] = self.text
            body |= {"entities": found} if (found := entities_of(self.text)) else {}
        if self.photo:
            body["photo"] = [
                size.payload() | {"width": size.width, "height": size.height} for size in self.photo
            ]
        if self.document is not None:
            body["document"] = self.document.payload() | {
                "file_name": self.document.name,
                "mime_type": self.document.mime_type,
            }
        if self.document is not None and self.thumbnail is not None:
            frame = self.thumbnail
            body["animation"] = body["document"] | {
                "width": frame.width,
                "height": frame.height,
                "duration": 2,
                "thumbnail": frame.payload() | {"width": frame.width, "height": frame.height},
            }
        if self.spoiler:
            body["has_media_spoiler"] = True
        if self.caption:
            body["caption"] = self.caption
            body |= {"caption_entities": found} if (found := entities_of(self.caption)) else {}
        if self.media_group_id is not None:
            body["media_group_id"] = self.media_group_id
        if self.topic_id is not None:
            body |= {"message_thread_id": self.topic_id, "is_topic_message": True}
        if self.edits:
            body["edit_date"] = self.date + self.edits
        if with_reply and self.reply_to is not None:
            replied = self.reply_to.payload(with_reply=False)
            if self.reply_to.chat is self.chat:
                body["reply_to_message"] = replied
            else:
                kept = "photo", "document", "animation", "has_media_spoiler"
                body["external_reply"] = {key: replied[key] for key in kept if key in replied} | {
                    "origin": {"type": "user", "date": self.date, "sender_user": replied["from"]}
                }
        return body


@dataclass(frozen=True, slots=True)
class Call:
    """One request that a client made: its method, its plain parameters, its files' sizes."""

    method: str
    parameters: Mapping[str, Any]
    files: Mapping[str, int]
    at: float


@dataclass(frozen=True, slots=True)
class _Page:
    """What something between a client and Telegram answers."""

    status: int
    text: str


class _Parameters:
    """A request's parameters, whichever way they were sent."""

    def __init__(self, plain: Mapping[str, Any], files: Mapping[str, tuple[str, bytes]]) -> None:
        self.plain = plain
        self.files = files

    def text(self, name: str) -> str | None:
        value = self.plain.get(name)
        return None if value is None else str(value)

    def integer(self, name: str, default: int = 0) -> int:
        value = self.plain.get(name)
        try:
            return default if value is None or value == "" else int(value)
        except ValueError:
            raise _bad(f"parameter {name} must be a number") from None

    def nested(self, name: str) -> Any:
        """An object or array; in a form it is a JSON string."""
        value = self.plain.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise _bad(f"can't parse {name} JSON object") from None

    def file(self, reference: str | None) -> tuple[str, bytes] | None:
        """An uploaded file by its field's name or ``attach://name``, as (name, bytes)."""
        name = (reference or "").removeprefix("attach://")
        return self.files.get(name)


class TelegramServer:
    """The server of one bot, in a thread of its own while a ``with`` block runs. In groups the bot
    sees everything, as with privacy mode off."""

    def __init__(self) -> None:
        self.token = TOKEN
        number = int(TOKEN.partition(":")[0])
        self.bot = User(number, "Familiar Faces", username="familiar_test_bot", is_bot=True)
        self.calls: list[Call] = []
        self.messages: dict[tuple[int, int], Message] = {}
        self.commands: dict[tuple[str, str], list[Payload]] = {}
        self._changed = threading.Condition()
        self._chats: dict[int, Chat] = {}
        self._files: dict[str, StoredFile] = {}
        self._faults: dict[str, list[ApiError | _Page | Literal["hang up", "lose answer"]]] = {}
        self._blocked: set[int] = set()
        self._most_a_minute: dict[int, int] = {}
        self._sent_at: dict[int, list[float]] = {}
        self._updates: list[Payload] = []
        self._update_of: dict[tuple[int, int], Payload] = {}
        self._repeats: list[Payload] = []
        self._allowed: frozenset[str] = frozenset()
        self._numbers = itertools.count(1)
        # Each server begins elsewhere, as each bot's updates do.
        self._update_numbers = itertools.count(random.randrange(10**8, 10**9))
        self._poll: asyncio.Event | None = None
        self._poll_owner: object | None = None
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    # -- life -----------------------------------------------------------------------------

    def __enter__(self) -> TelegramServer:
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._start())
            ready.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self._stop())
            self._loop.close()

        self._thread = threading.Thread(target=serve, name="telegram-server", daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("The Telegram test server did not start.")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(10)

    async def _start(self) -> None:
        app = web.Application(client_max_size=UPLOAD_LIMIT + (1 << 20))
        app.router.add_route("*", "/bot{token}/{method}", self._answer)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        # Polls whose client has gone still wait for something to arrive.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @property
    def url(self) -> str:
        """The root, for `FAMILIAR_TELEGRAM_API_URL`."""
        return f"http://127.0.0.1:{self._port}"

    # -- what people do -------------------------------------------------------------------

    def private_chat(self, user: User) -> Chat:
        """The chat of a person with the bot."""
        with self._changed:
            chat = Chat(user.id, "private", user.first_name, {user.id: "member"})
            return self._chats.setdefault(user.id, chat)

    def group(self, chat_id: int, title: str, members: Sequence[User], **statuses: str) -> Chat:
        """A group with the bot in it.

        Args:
            chat_id: Negative, as groups' ids are.
            title: Its name.
            members: The people in it.
            statuses: Of members by first name, and of the bot under ``bot``:
                ``administrator``, ``creator``, ``left``, ``kicked``; all others are ``member``.
        """
        status_of = {self.bot.id: statuses.get("bot", "member")} | {
            user.id: statuses.get(user.first_name, "member") for user in members
        }
        with self._changed:
            self._chats[chat_id] = Chat(chat_id, "supergroup", title, status_of)
            return self._chats[chat_id]

    def send_text(
        self, sender: User, chat: Chat, text: str, *, reply_to: Message | None = None
    ) -> Message:
        """A person writes."""
        with self._changed:
            return self._arrive(self._message(chat, sender, text=text, reply_to=reply_to))

    def send_photo(
        self,
        sender: User,
        chat: Chat,
        data: bytes,
        caption: str | None = None,
        *,
        reply_to: Message | None = None,
        media_group_id: str | None = None,
        spoiler: bool = False,
        topic_id: int | None = None,
    ) -> Message:
        """A person sends a picture as a photo; its largest size has these very bytes."""
        with self._changed:
            message = self._message(
                chat,
                sender,
                photo=self._photo_sizes(data),
                caption=caption,
                reply_to=reply_to,
                media_group_id=media_group_id,
                spoiler=spoiler,
                topic_id=topic_id,
            )
            return self._arrive(message)

    def send_document(
        self,
        sender: User,
        chat: Chat,
        data: bytes,
        caption: str | None = None,
        *,
        file_name: str = "picture.png",
        mime_type: str = "image/png",
        reply_to: Message | None = None,
        media_group_id: str | None = None,
    ) -> Message:
        """A person sends a file as it is; its name and type are whatever the sender says."""
        with self._changed:
            document = self._store(data, file_name, mime_type)
            message = self._message(
                chat,
                sender,
                document=document,
                caption=caption,
                reply_to=reply_to,
                media_group_id=media_group_id,
            )
            return self._arrive(message)

    def send_animation(
        self,
        sender: User,
        chat: Chat,
        first_frame: bytes,
        caption: str | None = None,
        *,
        spoiler: bool = False,
    ) -> Message:
        """A person sends a GIF: Telegram makes a video of it, and keeps the first frame."""
        with self._changed:
            video = self._store(b"\0\0\0\x20ftypisom", "animation.gif.mp4", "video/mp4")
            frame = self._photo_sizes(first_frame)[-1]
            message = self._message(
                chat, sender, document=video, thumbnail=frame, caption=caption, spoiler=spoiler
            )
            return self._arrive(message)

    def send_album(
        self,
        sender: User,
        chat: Chat,
        pictures: Sequence[bytes],
        caption: str | None = None,
        *,
        caption_at: int = 0,
        covered: Collection[int] = (),
        pause: float = 0.0,
    ) -> list[Message]:
        """A person sends several photos at once; each arrives as its own update.

        Args:
            sender: Who sends.
            chat: Where.
            pictures: Each photo's bytes.
            caption: Stands on one of them.
            caption_at: On which.
            covered: Which of them are spoilers.
            pause: Seconds between two of them.
        """
        group = f"{next(self._numbers)}00"
        sent = []
        for position, data in enumerate(pictures):
            own = caption if position == caption_at else None
            spoiler = position in covered
            sent.append(
                self.send_photo(sender, chat, data, own, media_group_id=group, spoiler=spoiler)
            )
            time.sleep(pause)
        return sent

    def edit_caption(self, message: Message, caption: str) -> None:
        """A person changes what stands below a picture that was sent before."""
        with self._changed:
            message.caption = caption
            message.edits += 1
            self._queue("edited_message", message)

    def repeat(self, message: Message) -> None:
        """A message's update is delivered once more, though it was confirmed already."""
        with self._changed:
            self._repeats.append(self._update_of[(message.chat.id, message.id)])
            self._wake()

    def block(self, user: User) -> None:
        """A person blocks the bot."""
        with self._changed:
            self._blocked.add(user.id)

    def delete(self, message: Message) -> None:
        """A person deletes a message."""
        with self._changed:
            del self.messages[(message.chat.id, message.id)]

    # -- faults on demand -----------------------------------------------------------------

    def refuse(self, method: str, error: ApiError, times: int = 1) -> None:
        """The next calls of a method are answered with an error."""
        with self._changed:
            self._faults.setdefault(method.lower(), []).extend([error] * times)

    def limit(self, method: str, retry_after: int, times: int = 1) -> None:
        """The next calls of a method are too many."""
        error = ApiError(
            429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after
        )
        self.refuse(method, error, times)

    def slow_down(self, chat: Chat) -> None:
        """From now on a chat takes 20 new messages a minute, as Telegram's groups do."""
        with self._changed:
            self._most_a_minute[chat.id] = 20

    def intercept(self, method: str, status: int, page: str) -> None:
        """The next call of a method is answered by something in between."""
        with self._changed:
            self._faults.setdefault(method.lower(), []).append(_Page(status, page))

    def hang_up(self, method: str, times: int = 1) -> None:
        """The next calls of a method find the connection closed after they were sent."""
        with self._changed:
            self._faults.setdefault(method.lower(), []).extend(["hang up"] * times)

    def lose_answer(self, method: str) -> None:
        """The next call of a method is done, and finds the connection closed before it is
        answered."""
        with self._changed:
            self._faults.setdefault(method.lower(), []).append("lose answer")

    def pending_faults(self, method: str) -> int:
        """How many faults of a method no call has met yet."""
        with self._changed:
            return len(self._faults.get(method.lower(), []))

    # -- what a test looks at -------------------------------------------------------------

    def wait_for(
        self, found: Callable[[], Result | None], timeout: float = 20.0, *, what: str = "it"
    ) -> Result:
        """Wait until `found` returns something true, asked again after every change.

        Raises:
            TimeoutError: It did not; the message tells what the bot has said.
        """
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                result = found()
                if result:
                    return result
                remaining = until - time.monotonic()
                if remaining <= 0:
                    said = [message.words for message in self.from_bot()]
                    raise TimeoutError(f"Waited {timeout} s for {what}. The bot said: {said}")
                self._changed.wait(min(remaining, 0.2))

    def from_bot(self, chat: Chat | None = None) -> list[Message]:
        """The bot's messages, oldest first."""
        with self._changed:
            return [
                message
                for message in self.messages.values()
                if message.sender == self.bot and (chat is None or message.chat is chat)
            ]

    def replies(self, asked: Message) -> list[Message]:
        """The bot's replies to a message."""
        return [message for message in self.from_bot(asked.chat) if message.reply_to is asked]

    def wait_for_reply(self, asked: Message) -> Message:
        """The bot's one reply to a message, in whatever state it is."""
        return self.wait_for(lambda: next(iter(self.replies(asked)), None), what="a reply")

    def wait_for_sentence(self, asked: Message, part: str, timeout: float = 20.0) -> Message:
        """The bot's reply to a message, once it contains `part`."""
        return self.wait_for(
            lambda: next((m for m in self.replies(asked) if part in m.words), None),
            timeout,
            what=f"a reply with {part!r}",
        )

    def wait_for_picture(self, asked: Message, timeout: float = 20.0) -> Message:
        """The bot's reply to a message, once it shows a picture."""
        return self.wait_for(
            lambda: next((m for m in self.replies(asked) if m.media is not None), None),
            timeout,
            what="a picture",
        )

    def calls_of(self, method: str) -> list[Call]:
        """Every call of a method so far."""
        with self._changed:
            return [call for call in self.calls if call.method == method.lower()]

    def wait_until_taken(self, message: Message) -> None:
        """Wait until the bot has polled on from a message, which confirms that it has it."""
        number = self._update_of[(message.chat.id, message.id)]["update_id"]
        self.wait_for(
            lambda: all(update["update_id"] != number for update in self._updates),
            what="the bot to take a message",
        )

    def wait_until_polled(self) -> None:
        """Wait until a bot polls, which is when it is ready."""
        self.wait_for(lambda: self.calls_of("getUpdates"), what="a poll")

    # -- state ----------------------------------------------------------------------------

    def _message(self, chat: Chat, sender: User, **content: Any) -> Message:
        message = Message(next(self._numbers), chat, sender, int(time.time()), **content)
        self.messages[(chat.id, message.id)] = message
        return message

    def _arrive(self, message: Message) -> Message:
        self._queue("message", message)
        return message

    def _queue(self, kind: str, message: Message) -> None:
        if (self._allowed and kind not in self._allowed) or not self._visible(message):
            return
        update = {"update_id": next(self._update_numbers), kind: message.payload()}
        self._update_of[(message.chat.id, message.id)] = update
        self._updates.append(update)
        self._wake()

    def _visible(self, message: Message) -> bool:
        """Whether the bot gets to see a message, by its membership."""
        chat = message.chat
        if chat.type == "private":
            return True
        status = chat.members.get(self.bot.id, "left")
        return status not in {"left", "kicked"}

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._poll is not None:
            self._loop.call_soon_threadsafe(self._poll.set)

    def _store(self, data: bytes, name: str, mime_type: str, **size: int) -> StoredFile:
        number = next(self._numbers)
        folder = "photos" if size else "documents"
        stored = StoredFile(
            f"F{number}", data, f"{folder}/{number}_{name}", name, mime_type, **size
        )
        self._files[stored.id] = stored
        return stored

    def _photo_sizes(self, data: bytes) -> tuple[StoredFile, ...]:
        """A photo's thumbnail and the photo itself, held against the limits on photos."""
        if len(data) > PHOTO_LIMIT:
            raise _bad(f"file is too big for a photo ({len(data)} bytes)")
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                suffix = _SUFFIXES.get(image.format or "", ".jpg")
                width, height = image.size
                small = image.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise _bad("IMAGE_PROCESS_FAILED") from error
        if width + height > PHOTO_SIDES or max(width, height) > PHOTO_RATIO * min(width, height):
            raise _bad("PHOTO_INVALID_DIMENSIONS")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG")
        return (
            self._store(
                buffer.getvalue(),
                "thumbnail.jpg",
                "image/jpeg",
                width=small.width,
                height=small.height,
            ),
            self._store(data, f"photo{suffix}", "image/jpeg", width=width, height=height),
        )

    # -- HTTP -----------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"].lower()
        try:
            parameters = await self._parameters(request)
            with self._changed:
                plain = dict(parameters.plain)
                sizes = {name: len(data) for name, (_, data) in parameters.files.items()}
                self.calls.append(Call(method, plain, sizes, time.time()))
                self._changed.notify_all()
                self._authorise(request)
                faults = self._faults.get(method)
                fault = faults.pop(0) if faults else None
            if isinstance(fault, ApiError):
                raise fault
            if isinstance(fault, _Page):
                return web.Response(status=fault.status, text=fault.text, content_type="text/html")
            if fault != "hang up":
                result = await self._result(method, parameters)
            if fault is not None:
                if request.transport is not None:
                    request.transport.close()
                return web.Response()
        except ApiError as error:
            return web.json_response(error.payload(), status=error.code)
        return web.json_response({"ok": True, "result": result})

    async def _result(self, method: str, parameters: _Parameters) -> Any:
        if method == "getupdates":
            return await self._get_updates(parameters)
        do = self._METHODS.get(method)
        if do is None:
            raise ApiError(404, "Not Found: method not found")
        with self._changed:
            result = do(self, parameters)
            self._changed.notify_all()
        return result

    def _authorise(self, request: web.Request) -> None:
        token = request.match_info["token"]
        if not re.fullmatch(r"\d+:[\w-]+", token):
            raise ApiError(404, "Not Found")
        if token != self.token:
            raise ApiError(401, "Unauthorized")

    async def _parameters(self, request: web.Request) -> _Parameters:
        plain: dict[str, Any] = dict(request.query)
        files: dict[str, tuple[str, bytes]] = {}
        try:
            if request.content_type == "application/json":
                body = await request.json()
                if not isinstance(body, dict):
                    raise _bad("object expected as JSON body")
                plain |= body
            else:
                for name, value in (await request.post()).items():
                    if isinstance(value, web.FileField):
                        files[name] = (value.filename, value.file.read())
                    else:
                        plain[name] = value
        except web.HTTPRequestEntityTooLarge:
            raise ApiError(413, "Request Entity Too Large") from None
        except json.JSONDecodeError:
            raise _bad("can't parse JSON body") from None
        return _Parameters(plain, files)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        with self._changed:
            try:
                self._authorise(request)
            except ApiError as error:
                return web.json_response(error.payload(), status=error.code)
            path = request.match_info["path"]
            stored = next((file for file in self._files.values() if file.path == path), None)
        if stored is None:
            return web.json_response(ApiError(404, "Not Found").payload(), status=404)
        return web.Response(body=stored.data, content_type="application/octet-stream")

    async def _get_updates(self, parameters: _Parameters) -> list[Payload]:
        """Long polling: of two pollers, the one that came first is sent away."""
        until = time.monotonic() + min(parameters.integer("timeout"), 50)
        owner, wake = object(), asyncio.Event()
        with self._changed:
            if self._poll is not None:
                self._poll_owner = owner
                self._poll.set()
            self._poll_owner, self._poll = owner, wake
            if (allowed := parameters.nested("allowed_updates")) is not None:
                self._allowed = frozenset(allowed)
            offset = parameters.integer("offset")
            if offset < 0:
                self._updates = self._updates[offset:]
            elif offset:
                self._updates = [u for u in self._updates if u["update_id"] >= offset]
        try:
            while True:
                with self._changed:
                    if self._poll_owner is not owner:
                        raise ApiError(
                            409,
                            "Conflict: terminated by other getUpdates request; "
                            "make sure that only one bot instance is running",
                        )
                    ready = [*self._repeats, *self._updates][: parameters.integer("limit", 100)]
                    self._repeats.clear()
                remaining = until - time.monotonic()
                if ready or remaining <= 0:
                    return ready
                wake.clear()
                try:
                    await asyncio.wait_for(wake.wait(), remaining)
                except TimeoutError:
                    continue
        finally:
            with self._changed:
                if self._poll_owner is owner:
                    self._poll, self._poll_owner = None, None

    # -- methods --------------------------------------------------------------------------

    def _chat(self, parameters: _Parameters) -> Chat:
        chat = self._chats.get(parameters.integer("chat_id"))
        if chat is None:
            raise _bad("chat not found")
        if chat.id in self._blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        if chat.type != "private":
            status = chat.members.get(self.bot.id, "left")
            if status == "kicked":
                raise ApiError(403, "Forbidden: bot was kicked from the group chat")
            if status == "left":
                raise ApiError(403, "Forbidden: bot is not a member of the group chat")
        return chat

    def _chat_to_send_to(self, parameters: _Parameters) -> Chat:
        chat = self._chat(parameters)
        now = time.time()
        recent = [at for at in self._sent_at.get(chat.id, []) if at > now - 60]
        if len(recent) >= self._most_a_minute.get(chat.id, len(recent) + 1):
            seconds = int(recent[0] + 60 - now) + 1
            raise ApiError(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
        self._sent_at[chat.id] = [*recent, now]
        return chat

    def _own_message(self, parameters: _Parameters) -> Message:
        chat = self._chat(parameters)
        message = self.messages.get((chat.id, parameters.integer("message_id")))
        if message is None:
            raise _bad("message to edit not found")
        if message.sender != self.bot:
            raise _bad("message can't be edited")
        return message

    @staticmethod
    def _limited(text: str | None, limit: int, what: str) -> str | None:
        if text is not None and utf16_length(text) > limit:
            raise _bad(f"{what} is too long")
        return text

    @staticmethod
    def _no_markup(parameters: _Parameters) -> None:
        if parameters.plain.get("parse_mode"):
            raise _bad("this test server keeps to plain text and parses no markup")

    def _reply_to(self, parameters: _Parameters, chat: Chat) -> Message | None:
        reply = parameters.nested("reply_parameters") or {}
        number = int(reply.get("message_id") or parameters.integer("reply_to_message_id"))
        if not number:
            return None
        message = self.messages.get((chat.id, number))
        if message is None and not reply.get("allow_sending_without_reply"):
            raise _bad("message to be replied not found")
        return message

    def _get_me(self, _: _Parameters) -> Payload:
        return self.bot.payload() | {
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
        }

    def _true(self, _: _Parameters) -> bool:
        return True

    def _scope(self, parameters: _Parameters) -> tuple[str, str]:
        scope = parameters.nested("scope") or {"type": "default"}
        if scope["type"] == "chat" and int(scope["chat_id"]) not in self._chats:
            raise _bad("chat not found")
        name = scope["type"] if scope["type"] != "chat" else f"chat:{scope['chat_id']}"
        return name, parameters.text("language_code") or ""

    def _set_my_commands(self, parameters: _Parameters) -> bool:
        commands = parameters.nested("commands")
        if not isinstance(commands, list) or len(commands) > 100:
            raise _bad("can't parse commands")
        for command in commands:
            if not re.fullmatch(r"[a-z0-9_]{1,32}", command["command"]):
                raise _bad("BOT_COMMAND_INVALID")
            if not 1 <= len(command["description"]) <= 256:
                raise _bad("BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands[self._scope(parameters)] = commands
        return True

    def _send_message(self, parameters: _Parameters) -> Payload:
        chat = self._chat_to_send_to(parameters)
        self._no_markup(parameters)
        text = self._limited(parameters.text("text"), TEXT_LIMIT, "message")
        if not text or not text.strip():
            raise _bad("message text is empty")
        reply_to = self._reply_to(parameters, chat)
        return self._message(chat, self.bot, text=text, reply_to=reply_to).payload()

    def _caption(self, text: str | None) -> str | None:
        return self._limited(text, CAPTION_LIMIT, "message caption")

    def _photo_named(
        self, parameters: _Parameters, reference: str | None
    ) -> tuple[StoredFile, ...]:
        upload = parameters.file(reference)
        if upload is not None:
            return self._photo_sizes(upload[1])
        stored = self._files.get(reference or "")
        if stored is None:
            raise _bad("wrong remote file identifier specified: Wrong string length")
        return (stored,)

    def _document_named(self, parameters: _Parameters, reference: str | None) -> StoredFile:
        upload = parameters.file(reference)
        if upload is not None:
            if not upload[1]:
                raise _bad("file must be non-empty")
            return self._store(upload[1], upload[0], "application/octet-stream")
        stored = self._files.get(reference or "")
        if stored is None:
            raise _bad("wrong remote file identifier specified: Wrong string length")
        return stored

    def _send_photo(self, parameters: _Parameters) -> Payload:
        chat = self._chat_to_send_to(parameters)
        self._no_markup(parameters)
        photo = self._photo_named(parameters, parameters.text("photo") or "photo")
        caption = self._caption(parameters.text("caption"))
        reply_to = self._reply_to(parameters, chat)
        message = self._message(chat, self.bot, photo=photo, caption=caption, reply_to=reply_to)
        return message.payload()

    def _send_document(self, parameters: _Parameters) -> Payload:
        chat = self._chat_to_send_to(parameters)
        self._no_markup(parameters)
        document = self._document_named(parameters, parameters.text("document") or "document")
        caption = self._caption(parameters.text("caption"))
        reply_to = self._reply_to(parameters, chat)
        message = self._message(
            chat, self.bot, document=document, caption=caption, reply_to=reply_to
        )
        return message.payload()

    def _send_chat_action(self, parameters: _Parameters) -> bool:
        self._chat(parameters)
        if parameters.text("action") not in {"typing", "upload_photo", "upload_document"}:
            raise _bad("wrong parameter action in request")
        return True

    def _not_modified(self) -> ApiError:
        return _bad(
            "message is not modified: specified new message content and reply markup are "
            "exactly the same as a current content and reply markup of the message"
        )

    def _edit_text(self, parameters: _Parameters) -> Payload:
        message = self._own_message(parameters)
        self._no_markup(parameters)
        text = self._limited(parameters.text("text"), TEXT_LIMIT, "message")
        if message.media is not None:
            raise _bad("there is no text in the message to edit")
        if not text or not text.strip():
            raise _bad("message text is empty")
        if text == message.text:
            raise self._not_modified()
        message.text = text
        message.edits += 1
        return message.payload()

    def _edit_caption(self, parameters: _Parameters) -> Payload:
        message = self._own_message(parameters)
        self._no_markup(parameters)
        caption = self._caption(parameters.text("caption"))
        if message.media is None:
            raise _bad("there is no caption in the message to edit")
        if (caption or None) == (message.caption or None):
            raise self._not_modified()
        message.caption = caption
        message.edits += 1
        return message.payload()

    def _edit_media(self, parameters: _Parameters) -> Payload:
        """Also adds media to a text message, as the Bot API has allowed since version 7.11."""
        message = self._own_message(parameters)
        media = parameters.nested("media")
        if not isinstance(media, dict):
            raise _bad("can't parse media JSON object")
        if media.get("parse_mode"):
            raise _bad("this test server keeps to plain text and parses no markup")
        reference = str(media.get("media", ""))
        caption = self._caption(media.get("caption"))
        photo: tuple[StoredFile, ...] = ()
        document = None
        if media.get("type") == "photo":
            photo = self._photo_named(parameters, reference)
        elif media.get("type") == "document":
            document = self._document_named(parameters, reference)
        else:
            raise _bad("can't parse media: type of the media must be photo or document")
        shown = message.media
        same_file = shown is not None and reference == shown.id
        if same_file and (caption or None) == (message.caption or None):
            raise self._not_modified()
        message.text, message.photo, message.document = None, photo, document
        message.caption = caption
        message.spoiler = bool(photo) and media.get("has_spoiler") is True
        message.edits += 1
        return message.payload()

    def _get_file(self, parameters: _Parameters) -> Payload:
        stored = self._files.get(parameters.text("file_id") or "")
        if stored is None:
            raise _bad("invalid file_id")
        if len(stored.data) > DOWNLOAD_LIMIT:
            raise _bad("file is too big")
        return stored.payload() | {"file_path": stored.path}

    _METHODS: Mapping[str, Callable[[TelegramServer, _Parameters], Any]] = {
        "deletewebhook": _true,
        "editmessagecaption": _edit_caption,
        "editmessagemedia": _edit_media,
        "editmessagetext": _edit_text,
        "getfile": _get_file,
        "getme": _get_me,
        "sendchataction": _send_chat_action,
        "senddocument": _send_document,
        "sendmessage": _send_message,
        "sendphoto": _send_photo,
        "setmycommands": _set_my_commands,
    }
