"""Discord for tests: SimCord's rules behind a real HTTP and websocket port.

SimCord keeps one virtual Discord: members, channels, permissions, commands, interactions,
messages. Here a bot *process* and a worker *process* reach it over sockets, unmodified, and a test
plays the people. What SimCord leaves open is filled in: the size limit of uploads, the answer to an
expired interaction token, nonces that are enforced, intents that are not granted, wrong tokens,
clients that do not name themselves, files with an address that can be fetched, replies to messages
that are gone, and a clock that runs.

The server has a thread and an event loop of its own, so a test may block.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import re
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import discord
import simcord
from aiohttp import WSMsgType, web
from simcord import intents
from simcord.actors import MemberActor
from simcord.backend import cdn, serializers
from simcord.backend.errors import BackendError
from simcord.backend.models import Message, Overwrite
from simcord.builders import ChannelHandle, GuildHandle
from simcord.enums import OverwriteType
from simcord.env import Env
from simcord.http import router
from simcord.http.router import RouteNotImplemented, UnsupportedField
from simcord.results import InteractionResult

from tests.platforms.processes import RealProcess, wait_for

TOKEN = "MTIz.test-token.0123456789abcdefghij"
TOKEN_SECONDS = 15 * 60
LOADING = 1 << 7

# Gateway opcodes and close codes, from Discord's documentation.
DISPATCH, HEARTBEAT, IDENTIFY, RESUME, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 0, 1, 2, 6, 9, 10, 11
WRONG_TOKEN, INTENT_NOT_GRANTED, GOING_AWAY = 4004, 4014, 4000

T = TypeVar("T")
Upload = tuple[str, bytes]

# As `DiscordBot (https://discord.js.org, 14.0)`; discord.py writes no comma.
USER_AGENT = re.compile(r"DiscordBot \(https?://\S+ [^)]+\)")
# With a token of an interaction's, discord.py leaves it to its HTTP library.
LIBRARYS_AGENT = re.compile(r"Python/\S+ aiohttp/\S+")


@dataclass(frozen=True)
class Request:
    """A call that a bot or a worker made.

    Attributes:
        method: Such as ``PATCH``.
        path: Below ``/api/v10``.
        body: The JSON of the call; None where it has none.
        files: Name and size in bytes of each file.
        status: What was answered; 0 where the connection was closed instead.
    """

    method: str
    path: str
    body: Any
    files: tuple[tuple[str, int], ...]
    status: int


@dataclass(frozen=True)
class Shown:
    """A message as people see it now."""

    id: int
    content: str
    pictures: tuple[bytes, ...]
    covered: tuple[bool, ...]
    ephemeral: bool
    thinking: bool
    reply_to: int | None


@dataclass
class _Fault:
    method: str
    path: str
    status: int
    body: dict[str, Any] | str
    times: int


@dataclass
class _File:
    filename: str
    fp: io.BytesIO
    description: str | None = None


@dataclass(eq=False)
class _Connection:
    """One gateway connection; what it may see depends on the intents it identified with."""

    socket: web.WebSocketResponse
    outbox: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    granted: discord.Intents | None = None
    sequence: int = 0

    def put(self, opcode: int, data: Any, event: str | None = None) -> None:
        if opcode == DISPATCH:
            self.sequence += 1
        frame = {
            "op": opcode,
            "d": data,
            "t": event,
            "s": self.sequence if opcode == DISPATCH else None,
        }
        self.outbox.put_nowait(json.dumps(frame, default=str))

    async def write(self) -> None:
        while not self.socket.closed:
            await self.socket.send_str(await self.outbox.get())


class Asked:
    """A command that a member ran, and what came of it."""

    def __init__(self, server: DiscordServer, result: InteractionResult) -> None:
        self._server = server
        self._result = result

    @property
    def interaction_id(self) -> int:
        """Discord's id of the command's interaction."""
        return int(self._result._interaction.id)

    @property
    def acknowledged(self) -> bool:
        """Whether the bot has answered or deferred."""
        return self._result.acknowledged

    @property
    def shown(self) -> Shown | None:
        """The response as the member sees it; None where there is none (yet)."""
        response = self._result.response
        return None if response is None else self._server.shown(response.id)

    @property
    def followups(self) -> list[Shown]:
        """Further messages to the same command."""
        return [self._server.shown(message.id) for message in self._result.followups]

    def wait(self, timeout: float = 30) -> Shown:
        """The response once it is more than "thinking"."""

        def finished() -> Shown | None:
            shown = self.shown
            return None if shown is None or shown.thinking else shown

        shown = wait_for(finished, "the bot answers the command", timeout)
        assert shown is not None
        return shown


class DiscordServer:
    """One virtual Discord with a server ``Community``, a channel, a member and an admin.

    Attributes:
        guild: The community's server.
        channel: Its text channel.
        member: Somebody without special permissions.
        admin: Somebody who may manage the server.
        requests: Every call so far.
        fetches: How many files were fetched so far.
        file_bytes: The largest upload, in bytes.
        locale: What people's clients are set to.
        granted: The privileged intents that are switched on for the bot.
    """

    guild: GuildHandle
    channel: ChannelHandle
    member: MemberActor
    admin: MemberActor

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.fetches = 0
        self.file_bytes = 10 * 2**20
        self.locale = "en-US"
        self.granted = discord.Intents.all()
        self._gaps: list[str] = []
        self._faults: list[_Fault] = []
        self._nonces: dict[tuple[str, str], int] = {}
        self._connections: set[_Connection] = set()
        self._links_expired = False
        self._files_held = False
        self._ahead = 0.0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    # ------------------------------------------------------------- the test's side

    def start(self) -> None:
        """Open the port."""
        self._thread.start()
        assert self._ready.wait(20), "the Discord server did not start"

    def stop(self) -> None:
        """Close the port.

        Raises:
            AssertionError: A process asked for something that this Discord does not know.
        """
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        assert not self._gaps, f"not simulated: {self._gaps}"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    def settings(self) -> dict[str, str]:
        """The environment for a bot or a worker that is to talk to this server."""
        return {
            "FAMILIAR_DISCORD_TOKEN": TOKEN,
            "FAMILIAR_DISCORD_API_URL": f"http://{self.address}/api/v10",
            "FAMILIAR_DISCORD_GATEWAY_URL": f"ws://{self.address}/gateway",
            "FAMILIAR_DISCORD_ADMINS": str(self.admin.id),
        }

    @property
    def application_id(self) -> int:
        """The bot's application."""
        return self._env.backend.application_id

    @property
    def bot_mention(self) -> str:
        """What to write to mention the bot."""
        return f"<@{self._env.backend.bot_user.id}>"

    @property
    def bot_role_mention(self) -> str:
        """What people pick as easily: the role that came with the bot and has its name."""
        roles = self._in_loop(lambda: list(self._env.backend.guilds[self.guild.id].roles.values()))
        (own,) = (role for role in roles if role.managed)
        return f"<@&{own.id}>"

    def wait_for_bot(self, process: RealProcess) -> None:
        """Wait until the bot is connected and has registered its commands.

        Raises:
            AssertionError: It is not, or it ended; shows its output.
        """

        def connected() -> bool:
            ended = process.popen.poll()
            assert ended is None, f"the bot ended with {ended}:\n{process.output()}"
            return any(connection.granted is not None for connection in self._connections)

        wait_for(connected, "the bot connects", 60)

    def slash(self, name: str, *, by: MemberActor | None = None, **options: Any) -> Asked:
        """Run a slash command in the channel; files as ``(name, bytes)``.

        Raises:
            simcord.SetupError: The member could not run it: not synced, or hidden from them.
        """
        actor = by or self.member
        return Asked(self, self._do(actor.slash(self.channel, name, **options)))

    def context_menu(self, name: str, message: int) -> Asked:
        """Run a message's context menu command."""
        target = self._in_loop(lambda: self._discord_message(message))
        return Asked(self, self._do(self.member.context_menu(self.channel, name, target)))

    def send(
        self,
        content: str = "",
        attachments: Sequence[Upload] = (),
        *,
        reply_to: int | None = None,
        by: MemberActor | None = None,
    ) -> int:
        """Post a message in the channel.

        Returns:
            The message's id.
        """
        actor = by or self.member
        target = (
            None if reply_to is None else self._in_loop(lambda: self._discord_message(reply_to))
        )
        sent = self._do(actor.send(self.channel, content, reply_to=target, attachments=attachments))
        return int(sent.id)

    def send_direct(self, content: str = "", attachments: Sequence[Upload] = ()) -> int:
        """Post a direct message to the bot."""
        user = self.member.user
        stored = self._in_loop(
            lambda: self._env.backend.store_attachments(user.dm_channel.id, attachments)
        )
        return int(self._do(user.send_dm(content, attachments=stored)).id)

    def available_commands(self, actor: MemberActor) -> tuple[str, ...]:
        """The slash commands that the member's client offers."""
        return self._in_loop(lambda: actor.available_commands(self.channel))

    def commands(self) -> list[dict[str, Any]]:
        """Everything the bot registered."""
        return self._in_loop(
            lambda: copy.deepcopy(list(self._env.backend.commands.get(None, {}).values()))
        )

    def shown(self, message: int) -> Shown:
        """A message as people see it now."""
        return self._in_loop(lambda: self._shown(self._message(message)))

    def bot_messages(self, channel: int | None = None) -> list[Shown]:
        """The bot's messages in the channel, oldest first, those for one person's eyes too."""

        def collect() -> list[Shown]:
            backend = self._env.backend
            stored = backend.messages.get(channel or self.channel.id, {})
            own = [m for m in stored.values() if m.author_id == backend.bot_user.id]
            return [self._shown(message) for message in sorted(own, key=lambda m: m.id)]

        return self._in_loop(collect)

    @property
    def direct_channel(self) -> int:
        """The member's channel of direct messages with the bot."""
        return self._in_loop(lambda: int(self.member.user.dm_channel.id))

    def new_interaction(self, *, ephemeral: bool = False) -> tuple[str, int]:
        """An interaction that a bot has deferred: its token and the "thinking" message's id."""

        def create() -> tuple[str, int]:
            backend = self._env.backend
            record = backend.new_interaction(2, self.channel.id, self.member.id, self.guild.id)
            flags = LOADING | (1 << 6 if ephemeral else 0)
            router.dispatch(
                backend,
                "POST",
                f"/interactions/{record.id}/{record.token}/callback",
                json={"type": 5, "data": {"flags": flags & ~LOADING}},
            )
            assert record.message_id is not None
            return record.token, record.message_id

        return self._in_loop(create)

    def new_bot_message(self, content: str) -> int:
        """A message that the bot has posted in the channel."""
        posted = self._in_loop(
            lambda: router.dispatch(
                self._env.backend,
                "POST",
                f"/channels/{self.channel.id}/messages",
                json={"content": content},
            )
        )
        return int(posted["id"])

    def new_follow_up(self, token: str, content: str) -> int:
        """A further message that the bot has posted to an interaction."""
        posted = self._in_loop(
            lambda: router.dispatch(
                self._env.backend,
                "POST",
                f"/webhooks/{self.application_id}/{token}",
                json={"content": content},
            )
        )
        return int(posted["id"])

    def new_channel(self) -> None:
        """Go on in an empty text channel, with a member who has not asked anything yet."""

        def create() -> None:
            number = len(self.guild.channels)
            self.channel = self.guild.create_text_channel(f"pictures-{number}")
            self.member = self.guild.add_member(self._env.create_user(f"Mia {number}"))

        self._in_loop(create)

    def new_member(self, name: str, *, bot: bool = False, keeper: bool = False) -> MemberActor:
        """Somebody else joins; a keeper may manage the server."""

        def create() -> MemberActor:
            roles = [self.guild.roles["Keepers"]] if keeper else []
            return self.guild.add_member(self._env.create_user(name, bot=bot), roles=roles)

        return self._in_loop(create)

    def repeat(self, message: int) -> None:
        """Tell the bot of a message once more, as the gateway may after a reconnect."""

        def emit() -> None:
            stored = self._message(message)
            backend = self._env.backend
            backend.emit("MESSAGE_CREATE", serializers.message_payload(backend, stored))

        self._in_loop(emit)

    def delete(self, message: int) -> None:
        """Delete a message, as a moderator may."""
        self._in_loop(
            lambda: self._env.backend.delete_message(self._message(message).channel_id, message)
        )

    def lock_channel(self) -> None:
        """Hide the channel from everyone without a special role, the bot among them."""
        hidden = discord.Permissions(view_channel=True, send_messages=True).value
        overwrite = Overwrite(self.guild.default_role.id, OverwriteType.ROLE, allow=0, deny=hidden)
        self._in_loop(lambda: self._env.backend.set_overwrite(self.channel.id, overwrite))

    def pass_time(self, seconds: float) -> None:
        """Put this Discord's clock forward: tokens expire."""

        def advance() -> None:
            self._ahead += seconds
            self._set_clock()

        self._in_loop(advance)

    def hold_files(self, held: bool) -> None:
        """Whether who asks for a file waits for it."""
        self._files_held = held

    def expire_links(self, expired: bool) -> None:
        """Whether from now on no attachment can be fetched."""
        self._links_expired = expired

    def forward(self, message: int) -> int:
        """The member forwards a message into the channel."""
        source = self._in_loop(lambda: self._discord_message(message))
        return int(self._do(self.member.forward(source, self.channel)).id)

    def fail(
        self,
        method: str,
        path: str,
        status: int,
        *,
        times: int = 1,
        code: int = 0,
        retry_after: float | None = None,
    ) -> None:
        """Answer the next calls whose path begins with `path` with an error."""
        body: dict[str, Any] = {"code": code, "message": "refused by the test"}
        if retry_after is not None:
            body |= {"retry_after": retry_after, "global": False}
        self._faults.append(_Fault(method, path, status, body, times))

    def intercept(self, method: str, path: str, status: int, page: str) -> None:
        """Something in between answers the next call whose path begins with `path`."""
        self._faults.append(_Fault(method, path, status, page, 1))

    def hang_up(self, method: str, path: str, *, times: int = 1) -> None:
        """Close the connection on the next calls whose path begins with `path`."""
        self._faults.append(_Fault(method, path, 0, "", times))

    def drop_gateway(self) -> None:
        """Close every gateway connection, as Discord does every few hours."""

        async def close() -> None:
            for connection in tuple(self._connections):
                await connection.socket.close(code=GOING_AWAY)

        self._do(close())

    def calls(self, method: str, contains: str) -> list[Request]:
        """The calls so far with this method whose path contains a text."""
        return [r for r in self.requests if r.method == method and contains in r.path]

    # ----------------------------------------------------------------- the inside

    def _do(self, action: Coroutine[Any, Any, T]) -> T:
        async def at_the_present() -> T:
            self._set_clock()
            return await action

        return asyncio.run_coroutine_threadsafe(at_the_present(), self._loop).result(30)

    def _in_loop(self, call: Any) -> Any:
        async def run() -> Any:
            return call()

        return self._do(run())

    def _message(self, message_id: int) -> Message:
        for stored in self._env.backend.messages.values():
            if message_id in stored:
                return stored[message_id]
        raise AssertionError(f"there is no message {message_id}")

    def _discord_message(self, message_id: int) -> discord.Message:
        return simcord.results.to_discord_message(self._env, self._message(message_id))

    def _shown(self, message: Message) -> Shown:
        files = (self._env.backend.cdn.get(file["url"]) for file in message.attachments)
        replied = (message.reference or {}).get("message_id")
        return Shown(
            id=message.id,
            content=message.content or "",
            pictures=tuple(data for data in files if data is not None),
            covered=tuple(file["filename"].startswith("SPOILER_") for file in message.attachments),
            ephemeral=message.is_ephemeral,
            thinking=bool(message.flags & LOADING),
            reply_to=None if replied is None else int(replied),
        )

    def _set_clock(self) -> None:
        backend = self._env.backend
        behind = (datetime.now(UTC) - backend.clock.now()).total_seconds() + self._ahead
        backend.advance_clock(max(0.0, behind))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        # SimCord wants a client of its own in this process; it only looks on.
        onlooker = discord.Client(intents=discord.Intents.all())
        own_base = cdn.CDN_BASE
        async with simcord.run(onlooker) as env:
            self._env = env
            self._set_clock()
            app = web.Application(client_max_size=64 * 2**20)
            app.router.add_get("/gateway", self._gateway)
            app.router.add_get("/gateway/", self._gateway)
            app.router.add_get("/cdn/{path:.*}", self._fetch)
            app.router.add_route("*", "/api/v10/{path:.*}", self._rest)
            runner = web.AppRunner(app, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._port = int(runner.addresses[0][1])
            cdn.CDN_BASE = f"http://127.0.0.1:{self._port}/cdn"
            env.backend.subscribers.append(self._emit)
            self._furnish(env)
            self._ready.set()
            try:
                await self._stopping.wait()
            finally:
                cdn.CDN_BASE = own_base
                for connection in tuple(self._connections):
                    await connection.socket.close()
                await runner.cleanup()

    def _furnish(self, env: Env) -> None:
        self.guild = env.create_guild("Community")
        self.channel = self.guild.create_text_channel("pictures")
        self.member = self.guild.add_member(env.create_user("Mia"))
        keeper = self.guild.create_role(
            "Keepers", permissions=discord.Permissions(manage_guild=True)
        )
        self.admin = self.guild.add_member(env.create_user("Ada"), roles=[keeper])

    # -------------------------------------------------------------------- gateway

    def _emit(self, event: str, payload: Mapping[str, Any]) -> None:
        for connection in self._connections:
            if connection.granted is not None:
                self._dispatch(connection, connection.granted, event, payload)

    def _dispatch(
        self,
        connection: _Connection,
        granted: discord.Intents,
        event: str,
        payload: Mapping[str, Any],
    ) -> None:
        """Send an event as far as the connection's intents let it be seen."""
        needed = intents.required_intent(event, payload)
        if needed is not None and not getattr(granted, needed):
            return
        backend = self._env.backend
        data = copy.deepcopy(dict(payload))
        if event in {"MESSAGE_CREATE", "MESSAGE_UPDATE"} and not granted.message_content:
            intents.censor_message(data, backend.bot_user.id, backend=backend)
        elif event == "GUILD_CREATE":
            intents.prune_guild_create(data, granted, backend.bot_user.id)
            for role in data["roles"]:
                if role["managed"]:
                    role["tags"] = {"bot_id": str(backend.bot_user.id)}
        elif event == "INTERACTION_CREATE":
            data |= {"locale": self.locale, "attachment_size_limit": self.file_bytes}
        connection.put(DISPATCH, data, event)

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = _Connection(socket)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write())
        connection.put(HELLO, {"heartbeat_interval": 45_000})
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self._receive(connection, json.loads(frame.data))
        finally:
            self._connections.discard(connection)
            writer.cancel()
        return socket

    async def _receive(self, connection: _Connection, frame: dict[str, Any]) -> None:
        if frame["op"] == HEARTBEAT:
            connection.put(HEARTBEAT_ACK, None)
        elif frame["op"] == RESUME:
            connection.put(INVALID_SESSION, False)
        elif frame["op"] == IDENTIFY:
            if frame["d"]["token"] != TOKEN:
                await connection.socket.close(code=WRONG_TOKEN)
                return
            declared = discord.Intents._from_value(frame["d"]["intents"])
            if intents.missing_privileged_intents(declared, self.granted):
                await connection.socket.close(code=INTENT_NOT_GRANTED)
                return
            self._identified(connection, declared)

    def _identified(self, connection: _Connection, declared: discord.Intents) -> None:
        backend = self._env.backend
        guilds = list(backend.guilds.values())
        connection.put(
            DISPATCH,
            {
                "v": 10,
                "user": serializers.user_payload(backend.bot_user),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": "session",
                "resume_gateway_url": f"ws://{self.address}/gateway",
                "application": {"id": str(backend.application_id), "flags": 0},
            },
            "READY",
        )
        for guild in guilds:
            payload = serializers.guild_create_payload(backend, guild)
            self._dispatch(connection, declared, "GUILD_CREATE", payload)
        connection.granted = declared

    # ----------------------------------------------------------------------- REST

    async def _fetch(self, request: web.Request) -> web.Response:
        self.fetches += 1
        while self._files_held:
            await asyncio.sleep(0.05)
        data = self._env.backend.cdn.get(f"{cdn.CDN_BASE}/{request.match_info['path']}")
        if data is None or self._links_expired:
            return web.Response(status=404)
        return web.Response(body=data)

    async def _rest(self, request: web.Request) -> web.Response:
        path = "/" + request.match_info["path"]
        body, files = await _read(request)
        self._set_clock()
        status, answer = self._answer(request, path, body, files)
        sizes = tuple((file.filename, len(file.fp.getbuffer())) for file in files)
        self.requests.append(Request(request.method, path, body, sizes, status))
        if not status:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if answer is None:
            return web.Response(status=status)
        if isinstance(answer, str):
            return web.Response(status=status, text=answer, content_type="text/html")
        return web.Response(
            status=status,
            body=json.dumps(answer, default=str).encode(),
            # Exactly so: discord.py compares the whole header.
            headers={"content-type": "application/json"},
        )

    def _answer(
        self, request: web.Request, path: str, body: Any, files: list[_File]
    ) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        by_token = parts[0] in {"webhooks", "interactions"}
        agent = request.headers.get("user-agent", "")
        if not USER_AGENT.match(agent) and not (by_token and LIBRARYS_AGENT.match(agent)):
            return 403, {"message": "internal network error", "code": 40333}
        for fault in self._faults:
            if fault.times > 0 and fault.method == request.method and path.startswith(fault.path):
                fault.times -= 1
                return fault.status, fault.body
        backend = self._env.backend
        if not by_token and request.headers.get("authorization") != f"Bot {TOKEN}":
            return 401, {"message": "401: Unauthorized", "code": 0}
        if parts[0] == "webhooks" and self._expired(parts[2]):
            return 401, {"message": "Invalid Webhook Token", "code": 50027}
        if sum(len(file.fp.getbuffer()) for file in files) > self.file_bytes:
            return 413, {"message": "Request entity too large", "code": 40005}
        if _creates_message(request.method, parts) and self._replies_to_what_is_gone(parts, body):
            if body["message_reference"].get("fail_if_not_exists", True):
                unknown = "Invalid Form Body\nIn message_reference: Unknown message"
                return 400, {"message": unknown, "code": 50035}
            del body["message_reference"]
        nonce = self._enforced_nonce(request.method, parts, body)
        if nonce is not None and nonce in self._nonces:
            message = self._message(self._nonces[nonce])
            return 200, serializers.message_payload(backend, message)
        try:
            answer = router.dispatch(
                backend, request.method, path, json=body, params=dict(request.query), files=files
            )
        except (RouteNotImplemented, UnsupportedField) as gap:
            self._gaps.append(str(gap))
            return 501, gap.to_json()
        except BackendError as error:
            return error.status, error.to_json()
        if nonce is not None:
            self._nonces[nonce] = int(answer["id"])
        return (204, None) if answer is None else (200, answer)

    def _expired(self, token: str) -> bool:
        backend = self._env.backend
        interaction = backend.interactions.get(backend.interaction_tokens.get(token, 0))
        return (
            interaction is not None
            and interaction.expires_at is not None
            and backend.now_iso() >= interaction.expires_at
        )

    def _replies_to_what_is_gone(self, parts: list[str], body: Any) -> bool:
        reference = body.get("message_reference")
        if reference is None or reference.get("type", 0) != 0:
            return False
        there = self._env.backend.messages.get(int(parts[1]), {})
        return int(reference["message_id"]) not in there

    @staticmethod
    def _enforced_nonce(method: str, parts: list[str], body: Any) -> tuple[str, str] | None:
        if (
            not _creates_message(method, parts)
            or not body.get("enforce_nonce")
            or "nonce" not in body
        ):
            return None
        return parts[1], str(body["nonce"])


def _creates_message(method: str, parts: list[str]) -> bool:
    return method == "POST" and parts[0] == "channels" and parts[2:] == ["messages"]


async def _read(request: web.Request) -> tuple[Any, list[_File]]:
    if request.content_type.startswith("multipart/"):
        body: Any = None
        files: dict[str, _File] = {}
        async for part in await request.multipart():
            name = str(getattr(part, "name", ""))
            data = bytes(await part.read())  # type: ignore[union-attr]
            if name == "payload_json":
                body = json.loads(data)
            else:
                filename = str(getattr(part, "filename", None) or name)
                files[name] = _File(filename, io.BytesIO(data))
        described = {str(item.get("id")): item for item in (body or {}).get("attachments", [])}
        for name, file in files.items():
            number = name.removeprefix("files[").removesuffix("]")
            file.description = described.get(number, {}).get("description")
        return body, [files[name] for name in sorted(files)]
    if request.can_read_body and request.content_type == "application/json":
        return await request.json(), []
    return None, []


@contextmanager
def discord_server() -> Iterator[DiscordServer]:
    """A Discord of one's own while the context lasts."""
    server = DiscordServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
