"""What the tests' Discord adds to SimCord's rules, seen by a plain client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import discord
import httpx
import pytest

from tests.platforms.discord_wire import TOKEN, TOKEN_SECONDS, DiscordServer, discord_server

NAMED = {"User-Agent": "DiscordBot (https://example.com, 1)"}
AUTHORIZED = {**NAMED, "Authorization": f"Bot {TOKEN}"}


@pytest.fixture
def server() -> Iterator[DiscordServer]:
    with discord_server() as server:
        yield server


@pytest.fixture
def api(server: DiscordServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{server.address}/api/v10", headers=NAMED) as client:
        yield client


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bot wrong"}])
def test_a_wrong_token_is_refused(api: httpx.Client, headers: dict[str, str]) -> None:
    assert api.get("/users/@me", headers=headers).status_code == 401
    assert api.get("/users/@me", headers=AUTHORIZED).status_code == 200


def test_clients_that_do_not_name_themselves_are_kept_away(api: httpx.Client) -> None:
    kept_away = api.get("/users/@me", headers={**AUTHORIZED, "User-Agent": "Mozilla/5.0"})
    assert (kept_away.status_code, kept_away.json()["code"]) == (403, 40333)


def test_an_interactions_token_expires_with_discords_code(
    server: DiscordServer, api: httpx.Client
) -> None:
    token, _ = server.new_interaction()
    path = f"/webhooks/{server.application_id}/{token}/messages/@original"
    assert api.patch(path, json={"content": "in time"}).status_code == 200
    server.pass_time(TOKEN_SECONDS)
    late = api.patch(path, json={"content": "too late"})
    assert (late.status_code, late.json()["code"]) == (401, 50027)


def test_a_command_must_be_acknowledged_within_three_seconds(
    server: DiscordServer, api: httpx.Client
) -> None:
    api.put(
        f"/applications/{server.application_id}/commands",
        headers=AUTHORIZED,
        json=[{"name": "help", "description": "help", "type": 1}],
    )
    asked = server.slash("help")
    interaction = asked.interaction_id
    server.pass_time(4)
    path = f"/interactions/{interaction}/simcord_interaction_{interaction}/callback"
    late = api.post(path, json={"type": 5})
    assert (late.status_code, late.json()["code"]) == (404, 10062)


def test_files_over_the_limit_are_refused(server: DiscordServer, api: httpx.Client) -> None:
    server.file_bytes = 100
    path = f"/channels/{server.channel.id}/messages"

    def post(size: int) -> httpx.Response:
        files = {"files[0]": ("a.png", b"x" * size)}
        body = {"payload_json": json.dumps({"content": "a file"})}
        return api.post(path, headers=AUTHORIZED, data=body, files=files)

    refused = post(101)
    assert (refused.status_code, refused.json()["code"]) == (413, 40005)
    accepted = post(100).json()
    assert accepted["attachments"][0]["size"] == 100
    assert httpx.get(accepted["attachments"][0]["url"]).content == b"x" * 100
    server.expire_links(True)
    assert httpx.get(accepted["attachments"][0]["url"]).status_code == 404


def test_an_enforced_nonce_gives_the_first_message_again(
    server: DiscordServer, api: httpx.Client
) -> None:
    path = f"/channels/{server.channel.id}/messages"

    def post(**body: object) -> int:
        return int(api.post(path, headers=AUTHORIZED, json={"content": "x", **body}).json()["id"])

    first = post(nonce="n1", enforce_nonce=True)
    assert post(nonce="n1", enforce_nonce=True) == first
    assert post(nonce="n2", enforce_nonce=True) != first
    assert post(nonce="n1") != first
    assert len(server.bot_messages()) == 3


def test_a_reply_to_a_message_that_is_gone_is_refused_unless_it_need_not_be_one(
    server: DiscordServer, api: httpx.Client
) -> None:
    gone = server.send("a message")
    server.delete(gone)

    def post(**reference: object) -> httpx.Response:
        body = {"content": "a reply", "message_reference": {"message_id": str(gone), **reference}}
        return api.post(f"/channels/{server.channel.id}/messages", headers=AUTHORIZED, json=body)

    refused = post()
    assert (refused.status_code, refused.json()["code"]) == (400, 50035)
    assert post(fail_if_not_exists=False).status_code == 200
    (posted,) = server.bot_messages()
    assert posted.reply_to is None


def test_faults_come_when_they_are_ordered(server: DiscordServer, api: httpx.Client) -> None:
    server.fail("GET", "/users/@me", 429, retry_after=1.5)
    limited = api.get("/users/@me", headers=AUTHORIZED)
    assert (limited.status_code, limited.json()["retry_after"]) == (429, 1.5)
    assert api.get("/users/@me", headers=AUTHORIZED).status_code == 200


def test_what_is_not_simulated_fails_loudly() -> None:
    with pytest.raises(AssertionError, match="not simulated"), discord_server() as server:
        httpx.get(f"http://{server.address}/api/v10/nothing", headers=AUTHORIZED)


class TestGateway:
    async def events(
        self, server: DiscordServer, intents: discord.Intents, token: str = TOKEN
    ) -> tuple[list[dict[str, Any]], int | None]:
        """What a client with these intents sees of a reply, and the code it was closed with."""
        seen: list[dict[str, Any]] = []
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{server.address}/gateway") as socket,
        ):
            await socket.receive()
            await socket.send_json({"op": 2, "d": {"token": token, "intents": intents.value}})
            until = time.monotonic() + 10
            while time.monotonic() < until and not socket.closed:
                frame = await socket.receive(10)
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                event = frame.json()
                seen.append(event)
                if event["t"] == "GUILD_CREATE":
                    await asyncio.to_thread(self.reply, server)
                if event["t"] == "MESSAGE_CREATE" and event["d"].get("referenced_message"):
                    break
            return seen, socket.close_code

    @staticmethod
    def reply(server: DiscordServer) -> None:
        picture = server.send("a picture", [("a.png", b"bytes")], by=server.admin)
        server.send(f"{server.bot_mention} who?", reply_to=picture)

    async def test_with_message_content_the_picture_replied_to_is_seen(
        self, server: DiscordServer
    ) -> None:
        wanted = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        seen, _ = await self.events(server, wanted)
        reply = seen[-1]["d"]
        assert reply["content"].endswith("who?")
        assert reply["referenced_message"]["attachments"][0]["filename"] == "a.png"

    async def test_without_it_the_mention_is_seen_and_the_picture_is_not(
        self, server: DiscordServer
    ) -> None:
        seen, _ = await self.events(server, discord.Intents(guilds=True, guild_messages=True))
        reply = seen[-1]["d"]
        assert reply["content"].endswith("who?")
        assert reply["referenced_message"]["attachments"] == []

    async def test_an_intent_that_is_not_granted_closes_the_connection(
        self, server: DiscordServer
    ) -> None:
        server.granted = discord.Intents.default()
        _, code = await self.events(server, discord.Intents(message_content=True))
        assert code == 4014

    async def test_a_wrong_token_closes_the_connection(self, server: DiscordServer) -> None:
        _, code = await self.events(server, discord.Intents(guilds=True), token="wrong")
        assert code == 4004
