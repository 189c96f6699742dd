"""Claims on a real Redis: one answer to a job, whoever gets it how often."""

from __future__ import annotations

import threading
import time

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from tests.platforms.processes import real_redis, wait_for
from worker.app import UNACKED_INDEX_KEY, WORKER_HEARTBEAT_KEY
from worker.claim import (
    BEGUN_SECONDS,
    CLAIM_SECONDS,
    Claims,
    Standing,
    answered_key,
    begun_key,
    claim_key,
)


def test_a_job_belongs_to_the_first_who_takes_it(redis: Redis) -> None:
    first, second = Claims(redis), Claims(redis)
    assert first.take("job-1") is Standing.OURS
    assert second.take("job-1") is Standing.ELSEWHERE
    assert first.take("job-1") is Standing.ELSEWHERE, "another thread of the same worker"
    assert first.holds("job-1")
    assert not second.holds("job-1")


def test_of_many_threads_one_gets_the_job(redis: Redis) -> None:
    claims = Claims(redis)
    standings: list[Standing] = []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        standings.append(claims.take("job-1"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(standing.name for standing in standings) == ["ELSEWHERE"] * 7 + ["OURS"]


def test_an_answered_job_is_never_taken_again(redis: Redis) -> None:
    first, second = Claims(redis), Claims(redis)
    first.take("job-1")
    first.answered("job-1")
    assert second.take("job-1") is Standing.ANSWERED
    assert not redis.exists(claim_key("job-1")), "nobody holds it any more"
    assert 23 * 3600 < redis.ttl(answered_key("job-1")) <= 24 * 3600


def test_a_released_job_is_free(redis: Redis) -> None:
    first, second = Claims(redis), Claims(redis)
    first.take("job-1")
    first.release("job-1")
    assert second.take("job-1") is Standing.OURS


def test_a_beat_on_its_way_does_not_bring_a_released_claim_back(redis: Redis) -> None:
    on_its_way, go_on = threading.Event(), threading.Event()

    class HeldUp(Claims):
        """Its beat knows what it will renew, and has not sent it yet."""

        def _show(self, held: list[str], messages: list[str]) -> list[str]:
            on_its_way.set()
            assert go_on.wait(10)
            return super()._show(held, messages)

    claims = HeldUp(redis)
    claims.take("job-1")
    beating = threading.Thread(target=claims.beat)
    releasing = threading.Thread(target=claims.release, args=["job-1"])
    beating.start()
    assert on_its_way.wait(10)
    releasing.start()
    # It has to wait for the beat, so there is no other sign that it would not.
    releasing.join(0.5)
    go_on.set()
    for thread in (beating, releasing):
        thread.join()
    assert not redis.exists(claim_key("job-1"))


def test_releasing_does_not_touch_the_claim_of_another(redis: Redis) -> None:
    first, second = Claims(redis), Claims(redis)
    first.take("job-1")
    second.release("job-1")
    assert redis.exists(claim_key("job-1"))


def test_a_beat_renews_claims_and_running_messages(redis: Redis) -> None:
    claims = Claims(redis)
    claims.take("job-1")
    redis.expire(claim_key("job-1"), 1)
    redis.zadd(UNACKED_INDEX_KEY, {"running": 5.0, "somebody-elses": 5.0})
    with claims.attending("running"), claims.attending("acknowledged-meanwhile"):
        claims.beat()
    assert redis.ttl(claim_key("job-1")) == CLAIM_SECONDS
    scores = dict(redis.zrange(UNACKED_INDEX_KEY, 0, -1, withscores=True))
    assert abs(scores[b"running"] - time.time()) < 5
    assert scores[b"somebody-elses"] == 5.0
    assert b"acknowledged-meanwhile" not in scores, "a beat never brings a message back"
    redis.zadd(UNACKED_INDEX_KEY, {"running": 5.0})
    claims.beat()
    assert redis.zscore(UNACKED_INDEX_KEY, "running") == 5.0, "nobody attends to it any more"


def test_two_copies_of_a_message_are_attended_until_both_end(redis: Redis) -> None:
    claims = Claims(redis)
    with claims.attending("running"):
        with claims.attending("running"):
            pass
        redis.zadd(UNACKED_INDEX_KEY, {"running": 5.0})
        claims.beat()
        assert redis.zscore(UNACKED_INDEX_KEY, "running") > 5.0


def test_a_claim_that_ran_out_is_taken_again_where_nobody_has_it(redis: Redis) -> None:
    claims = Claims(redis)
    claims.take("job-1")
    redis.delete(claim_key("job-1"))
    claims.beat()
    assert claims.holds("job-1")
    assert Claims(redis).take("job-1") is Standing.ELSEWHERE


def test_a_claim_that_somebody_else_took_meanwhile_is_lost(redis: Redis) -> None:
    held_up, other = Claims(redis), Claims(redis)
    held_up.take("job-1")
    redis.delete(claim_key("job-1"))
    assert other.take("job-1") is Standing.OURS
    assert not held_up.holds("job-1"), "known without waiting for the next beat"
    held_up.beat()
    assert not held_up.holds("job-1")
    assert other.holds("job-1")


def test_a_claim_on_a_job_answered_meanwhile_is_lost(redis: Redis) -> None:
    held_up, other = Claims(redis), Claims(redis)
    held_up.take("job-1")
    redis.delete(claim_key("job-1"))
    other.take("job-1")
    other.answered("job-1")
    held_up.beat()
    assert not held_up.holds("job-1")
    assert not redis.exists(claim_key("job-1"))


def test_the_heartbeat_is_there_while_the_thread_runs(redis: Redis) -> None:
    claims = Claims(redis, beat_seconds=0.05)
    claims.start()
    wait_for(lambda: redis.exists(WORKER_HEARTBEAT_KEY), "the first heartbeat")
    redis.delete(WORKER_HEARTBEAT_KEY)
    wait_for(lambda: redis.exists(WORKER_HEARTBEAT_KEY), "the next heartbeat")
    assert 0 < redis.ttl(WORKER_HEARTBEAT_KEY) <= 15
    claims.stop()
    assert not redis.exists(WORKER_HEARTBEAT_KEY), "bots learn at once"


def test_stopping_leaves_the_heartbeat_of_another_worker(redis: Redis) -> None:
    stopping, other = Claims(redis), Claims(redis)
    stopping.beat()
    other.beat()
    stopping.stop()
    assert redis.exists(WORKER_HEARTBEAT_KEY)


def test_a_redis_that_went_away_stops_nothing() -> None:
    with real_redis() as server, server.client() as client:
        claims = Claims(client)
        claims.take("job-1")
        server.stop()
        claims.beat()
        assert claims.holds("job-1"), "as far as it knows"
        claims.answered("job-1")
        server.start()
        claims.beat()
        assert client.exists(WORKER_HEARTBEAT_KEY)
        assert claims.take("job-1") is Standing.ANSWERED, "this worker remembers what it answered"


def test_an_end_that_could_not_be_written_is_no_death() -> None:
    with real_redis(durable=True) as server, server.client() as client:
        claims = Claims(client)
        with claims.counting("job-1"):
            server.stop()
        server.start()
        assert client.get(begun_key("job-1")) == b"1"
        assert claims.unended("job-1") == 0, "this worker knows that it ended"
        claims.beat()
        claims.beat()
        assert Claims(client).unended("job-1") == 0, "and so do the others now"
        with claims.counting("job-1"):
            assert Claims(client).unended("job-1") == 1


def test_a_beginning_of_which_redis_reply_was_lost_is_no_death(redis: Redis) -> None:
    class Lossy(Claims):
        """What it counts is counted, and it does not learn so."""

        def _count(self, job_id: str, change: int) -> None:
            super()._count(job_id, change)
            raise ConnectionError("lost")

    with pytest.raises(ConnectionError), Lossy(redis).counting("job-1"):
        pytest.fail("begun")
    assert Claims(redis).unended("job-1") == 0


def test_work_that_takes_hours_is_known_to_have_begun(redis: Redis) -> None:
    claims = Claims(redis)
    claims.take("job-1")
    with claims.counting("job-1"):
        redis.expire(begun_key("job-1"), 1)
        claims.beat()
        assert redis.ttl(begun_key("job-1")) == BEGUN_SECONDS


def test_an_end_whose_beginning_is_forgotten_hides_no_death(redis: Redis) -> None:
    claims = Claims(redis)
    with claims.counting("job-1"):
        redis.delete(begun_key("job-1"))
    with claims.counting("job-1"):
        assert claims.unended("job-1") == 1
