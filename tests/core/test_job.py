"""A job survives the queue, and refuses what no bot of ours would send."""

import pytest
from pydantic import ValidationError

from core.job import DiscordDestination, FileDestination, SimilarJob, TelegramDestination
from core.look import Look

DESTINATIONS = [
    DiscordDestination(application_id=1, interaction_token="secret-token", channel_id=2),
    TelegramDestination(chat_id=-100, message_id=5),
    FileDestination(),
]


def job(**changes: object) -> SimilarJob:
    values: dict[str, object] = {
        "id": "discord-1",
        "destination": DESTINATIONS[0],
        "deadline": 2.0,
        "upload": "a" * 64,
    }
    return SimilarJob(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda each: each.platform)
def test_a_job_is_the_same_after_the_queue(destination):
    sent = job(destination=destination, look=Look.FEEL, count=9, spoiler=True)
    assert SimilarJob.model_validate(sent.model_dump(mode="json")) == sent


def test_a_job_of_an_earlier_version_shows_its_picture_openly():
    sent = job().model_dump(mode="json")
    del sent["spoiler"]
    assert not SimilarJob.model_validate(sent).spoiler


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../etc/passwd"},
        {"upload": "http://example.org/picture.png"},
        {"count": 0},
        {"count": 10},
        {"look": "vibe"},
        {"surplus": 1},
    ],
    ids=str,
)
def test_what_no_bot_would_send_is_refused(changes):
    with pytest.raises(ValidationError):
        job(**changes)


def test_the_interaction_token_is_not_printed():
    assert "secret-token" not in repr(job())
