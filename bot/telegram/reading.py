"""What a Telegram message asks for: its command, its mention of the bot, its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from telegram import ExternalReplyInfo, Message, MessageEntity, User

from core.look import DEFAULT_COUNT, MAX_COUNT, Look, asked_for
from core.problem import Problem

SIMILAR: Final = "similar"


class CountOutOfRange(Problem):
    """More matches were asked for than are ever shown, or none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to know about a picture.

    Attributes:
        look: What *similar* means.
        count: Matches for each face, 1..9.
    """

    look: Look = Look.BOTH
    count: int = DEFAULT_COUNT


@dataclass(frozen=True, slots=True)
class Request:
    """What stands in a message's text or below its picture.

    Attributes:
        command: The command at its beginning, in lower case and without slash; None where there
            is none or it is meant for another bot.
        mentioned: The bot is named somewhere.
        words: What else is said, in lower case.
    """

    command: str | None = None
    mentioned: bool = False
    words: tuple[str, ...] = ()

    @property
    def explicit(self) -> bool:
        """The bot is asked by name, and not by the picture alone."""
        return self.command == SIMILAR or self.mentioned

    def wish(self) -> Wish:
        """What `core.look.asked_for` reads among the words.

        Raises:
            CountOutOfRange: The command has a number that is no count. Beside a mention people
                write whole sentences, so there it is passed over.
        """
        look, count, out_of_range = asked_for(self.words)
        if out_of_range and self.command == SIMILAR:
            raise CountOutOfRange("count_out_of_range", most=MAX_COUNT)
        return Wish(look, count)


def replied_to(message: Message) -> Message | ExternalReplyInfo | None:
    """The message that `message` was sent in reply to, if any; one of another chat or topic as far
    as Telegram tells of it.

    In a topic of a group Telegram calls every message that replies to nothing a reply to the
    service message that opened the topic.
    """
    reply = message.reply_to_message
    if reply is None or reply.forum_topic_created is not None:
        return message.external_reply
    return reply


def read(message: Message, me: User) -> Request:
    """What `message` asks the bot `me` for. Telegram says where commands and mentions are."""
    rest = message.text or message.caption or ""
    if message.text:
        entities = message.parse_entities()
    else:
        entities = message.parse_caption_entities() if message.caption else {}
    command, mentioned = None, False
    name = f"@{me.username}".lower()
    for entity, text in entities.items():
        if entity.type == MessageEntity.BOT_COMMAND and entity.offset == 0:
            spoken, _, whose = text[1:].lower().partition("@")
            if whose in {"", name[1:]}:
                command = spoken
                rest = rest.replace(text, " ", 1)
        elif (entity.type == MessageEntity.MENTION and text.lower() == name) or (
            entity.type == MessageEntity.TEXT_MENTION
            and entity.user is not None
            and entity.user.id == me.id
        ):
            mentioned = True
            rest = rest.replace(text, " ", 1)
    return Request(command, mentioned, tuple(rest.lower().split()))
