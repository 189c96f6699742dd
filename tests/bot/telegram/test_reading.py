"""Given a message, what it asks for."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from telegram import (
    Chat,
    ExternalReplyInfo,
    ForumTopicCreated,
    Message,
    MessageEntity,
    MessageOriginUser,
    PhotoSize,
    User,
)

from bot.telegram.reading import CountOutOfRange, Request, Wish, read, replied_to
from core.look import Look
from tests.platforms.telegram_server import entities_of

ME = User(7, "Familiar", is_bot=True, username="familiar_test_bot")
NOW = datetime.datetime.now(datetime.UTC)
GROUP = Chat(-100, "supergroup")


def message(text: str, *, caption: bool = False) -> Message:
    """A message with its commands and mentions marked, as Telegram marks them."""
    marks = [MessageEntity(e["type"], e["offset"], e["length"]) for e in entities_of(text)]
    if caption:
        return Message(1, NOW, GROUP, caption=text, caption_entities=marks)
    return Message(1, NOW, GROUP, text=text, entities=marks)


@pytest.mark.parametrize("caption", [False, True])
@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("/similar", Request("similar")),
        ("/Similar@Familiar_Test_Bot FEEL", Request("similar", words=("feel",))),
        # Another bot's command, and one that stands in the middle of a sentence.
        ("/similar@other_test_bot feel", Request(words=("/similar@other_test_bot", "feel"))),
        ("try /similar", Request(words=("try", "/similar"))),
        ("@familiar_test_bot", Request(mentioned=True)),
        ("who, @Familiar_Test_Bot ?", Request(mentioned=True, words=("who,", "?"))),
        # Characters that are two units in Telegram's count, before the mention.
        ("🦊🦊 @familiar_test_bot 6", Request(mentioned=True, words=("🦊🦊", "6"))),
        ("@other_test_bot hello", Request(words=("@other_test_bot", "hello"))),
        ("/similar @familiar_test_bot 3", Request("similar", True, ("3",))),
        ("mail@familiar_test_bot", Request(words=("mail@familiar_test_bot",))),
    ],
)
def test_command_mention_and_words(text: str, request_: Request, caption: bool) -> None:
    assert read(message(text, caption=caption), ME) == request_


def test_a_mention_of_the_bot_by_a_name_without_at_sign() -> None:
    mark = MessageEntity(MessageEntity.TEXT_MENTION, 0, 8, user=ME)
    named = Message(1, NOW, GROUP, text="Familiar feel", entities=[mark])
    assert read(named, ME) == Request(mentioned=True, words=("feel",))
    other = MessageEntity(MessageEntity.TEXT_MENTION, 0, 8, user=User(8, "Familiar", False))
    somebody = Message(1, NOW, GROUP, text="Familiar feel", entities=[other])
    assert not read(somebody, ME).mentioned


def test_a_message_without_words_asks_for_nothing() -> None:
    assert read(Message(1, NOW, GROUP), ME) == Request()
    assert not Request().explicit


@pytest.mark.parametrize("request_", [Request("similar"), Request(mentioned=True)])
def test_words_beside_a_command_or_a_mention_are_a_wish(request_: Request) -> None:
    words = ("6", "character")
    assert dataclasses.replace(request_, words=words).wish() == Wish(Look.CHARACTER, 6)


def test_a_count_out_of_range_is_told_to_who_gives_a_command() -> None:
    with pytest.raises(CountOutOfRange, match="between 1 and 9"):
        Request("similar", words=("10", "feel")).wish()


def test_a_number_in_a_sentence_beside_a_mention_is_no_count() -> None:
    assert Request(mentioned=True, words=("seen", "in", "1998")).wish() == Wish()


def test_the_beginning_of_a_topic_is_nothing_that_anybody_replies_to() -> None:
    opened = Message(1, NOW, GROUP, forum_topic_created=ForumTopicCreated("Drawings", 0x6FB9F0))
    words = Message(2, NOW, GROUP, text="good morning")
    assert replied_to(Message(3, NOW, GROUP, reply_to_message=opened)) is None
    assert replied_to(Message(3, NOW, GROUP, reply_to_message=words)) is words
    assert replied_to(Message(3, NOW, GROUP)) is None


def test_a_message_of_another_topic_is_replied_to_as_well() -> None:
    opened = Message(1, NOW, GROUP, forum_topic_created=ForumTopicCreated("Drawings", 0x6FB9F0))
    elsewhere = ExternalReplyInfo(MessageOriginUser(NOW, ME), photo=[PhotoSize("1", "1", 9, 9)])
    assert replied_to(Message(3, NOW, GROUP, external_reply=elsewhere)) is elsewhere
    within = Message(3, NOW, GROUP, reply_to_message=opened, external_reply=elsewhere)
    assert replied_to(within) is elsewhere
