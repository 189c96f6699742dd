"""A real worker process on a real Redis, with the small fake models."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from PIL import Image
from redis.exceptions import ResponseError

from core.gallery import build_index
from core.index import current_version
from core.job import SimilarJob
from core.settings import load_settings
from core.texts import say
from tests.core.fakes import FakeDetector, FakeExtractor, file_of, head
from tests.platforms.processes import wait_for
from tests.platforms.workplace import Workplace
from worker.app import SIMILAR_TASK, WORKER_HEARTBEAT_KEY
from worker.claim import claim_key, own_heartbeat_key
from worker.delivery.file import FileState, answer_file, answers_folder, read_answer
from worker.main import InOneLine, check


def asked(name: str) -> bytes:
    """A file with a picture of a character of the drawn gallery."""
    return file_of(head(name))


def save_blind(folder: Path) -> Path:
    """A detector that takes one size alone and does not say so."""
    from core.models.tensorflow_runtime import Module, tf

    def look(pixels):
        pixels = tf.reshape(pixels, [tf.shape(pixels)[0], 320, 320, 3])
        scores = tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2])
        return {
            "detection_boxes": tf.repeat(scores[:, :, None], 4, 2),
            "detection_scores": scores,
            "num_detections": scores[:, 0],
        }

    signature = tf.function(look, [tf.TensorSpec([None, None, None, 3], tf.uint8)])
    tf.saved_model.save(Module(), str(folder / "blind"), signatures={"serving_default": signature})
    return folder / "blind"


def test_a_picture_is_answered_with_its_collage_and_names(workplace: Workplace) -> None:
    workplace.index()
    worker = workplace.start_worker(fakes=True)
    answer = workplace.answer(workplace.ask(asked("emerald"), count=3))
    assert answer.state is FileState.ANSWERED
    assert answer.caption is not None
    assert answer.caption.splitlines()[0].startswith("1. emerald")
    assert len(answer.caption.splitlines()) == 3
    assert answer.collage is not None
    with Image.open(answers_folder(workplace.data) / answer.collage) as collage:
        assert collage.width > collage.height
    assert worker.stop() == 0
    assert "asked-1 answered in" in worker.output()


def test_each_problem_is_one_sentence_and_stops_nobody_else(workplace: Workplace) -> None:
    expired = workplace.ask(asked("coral"))
    workplace.redis.delete(*workplace.redis.keys("familiar:upload:*"))
    too_late = workplace.ask(asked("blue"), seconds=-1)
    not_a_picture = workplace.ask(b"a text file")
    damaged = workplace.ask(asked("blue")[:2000])
    good = workplace.ask(asked("blue"))
    workplace.start_worker(fakes=True)
    assert workplace.said(expired) == say("upload_expired")
    assert workplace.said(too_late) == say("too_late")
    assert workplace.said(not_a_picture).startswith("That is not a picture I can read.")
    assert workplace.said(damaged) == say("picture_damaged")
    assert workplace.said(good) == say("nothing_indexed")
    workplace.index()
    good = workplace.ask(asked("blue"))
    assert workplace.answer(good).state is FileState.ANSWERED, "found without a restart"


def test_an_index_by_other_models_is_told_and_mended_by_a_reindex(workplace: Workplace) -> None:
    build_index(workplace.gallery, workplace.data, FakeDetector(), FakeExtractor(revision=2))
    workplace.start_worker(fakes=True)
    assert "The index was made with" in workplace.said(workplace.ask(asked("blue")))
    assert "15 pictures" in workplace.said(workplace.ask_reindex())
    assert workplace.answer(workplace.ask(asked("blue"))).state is FileState.ANSWERED


def test_a_damaged_index_is_told_and_mended_by_a_reindex(workplace: Workplace) -> None:
    workplace.index()
    version = current_version(workplace.data)
    assert version is not None
    files = (workplace.data / "versions" / version).glob("*.npy")
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    workplace.start_worker(fakes=True)
    assert workplace.said(workplace.ask(asked("blue"))).startswith("The index is damaged")
    assert "15 pictures" in workplace.said(workplace.ask_reindex())
    assert workplace.answer(workplace.ask(asked("blue"))).state is FileState.ANSWERED


def test_models_that_cannot_be_loaded_are_told_to_everyone(workplace: Workplace) -> None:
    worker = workplace.start_worker(fakes=True, FAMILIAR_MODEL_EXTRACTOR="no-such-model")
    assert workplace.said(workplace.ask(asked("blue"))) == say("models_unusable")
    assert workplace.said(workplace.ask_reindex()) == say("models_unusable")
    assert "no-such-model" in worker.output()


def test_models_that_load_but_cannot_look_are_told_to_everyone_too(workplace: Workplace) -> None:
    worker = workplace.start_worker(FAMILIAR_MODEL_DETECTOR=str(save_blind(workplace.folder)))
    assert workplace.said(workplace.ask(asked("blue"))) == say("models_unusable")
    assert "blind loads but cannot look at a picture: Input to reshape" in worker.output()
    assert worker.stop() == 0


def test_a_job_of_an_unknown_form_is_dropped_and_the_next_is_answered(
    workplace: Workplace,
) -> None:
    workplace.index()
    worker = workplace.start_worker(fakes=True)
    workplace.queue.send_task(SIMILAR_TASK, kwargs={"job": {"id": "x", "token": "secret-token"}})
    workplace.queue.send_task(SIMILAR_TASK, args=["neither", "nor"])
    workplace.queue.send_task("familiar.unknown", queue="look", kwargs={"token": "secret-token"})
    assert workplace.answer(workplace.ask(asked("blue"))).state is FileState.ANSWERED
    wait_for(lambda: not workplace.in_hand(), "nothing waits to come back")
    assert worker.output().count("dropped a job of an unknown form") == 1
    assert "Received unregistered task of type 'familiar.unknown'." in worker.output()
    assert "secret-token" not in worker.output()


def test_a_job_that_was_answered_is_dropped_when_it_comes_again(workplace: Workplace) -> None:
    workplace.index()
    worker = workplace.start_worker(fakes=True)
    job_id = workplace.ask(asked("blue"))
    workplace.answer(job_id)
    answer_file(workplace.data, job_id).unlink()
    again = SimilarJob(
        id=job_id, destination={"platform": "file"}, deadline=time.time() + 60, upload="0" * 64
    )
    workplace.send(SIMILAR_TASK, again)
    worker.wait_for_output(f"{job_id} was answered before")
    assert read_answer(workplace.data, job_id) is None


def test_a_job_claimed_elsewhere_waits_until_that_claim_ends(workplace: Workplace) -> None:
    workplace.index()
    workplace.start_worker(fakes=True)
    workplace.redis.set(claim_key("asked-1"), "another worker")
    job_id = workplace.ask(asked("blue"))
    assert job_id == "asked-1"
    wait_for(lambda: workplace.in_hand() == 1, "the worker has it")
    time.sleep(1)
    assert not workplace.is_done(job_id)
    assert workplace.in_hand() == 1
    workplace.redis.delete(claim_key("asked-1"))
    assert workplace.answer(job_id).state is FileState.ANSWERED


def test_sigterm_finishes_what_is_in_hand_and_leaves_the_rest(workplace: Workplace) -> None:
    workplace.index()
    worker = workplace.start_worker(fakes=True, FAKE_DETECT_SECONDS="1.5")
    jobs = [workplace.ask(asked("blue")) for _ in range(11)]
    wait_for(lambda: workplace.in_hand() == 8, "all hands are full")
    assert worker.stop() == 0
    done = [job for job in jobs if workplace.is_done(job)]
    assert len(done) == 8, "those begun were finished"
    assert workplace.in_hand() == 0
    assert not workplace.redis.exists(WORKER_HEARTBEAT_KEY), "bots know at once"
    workplace.start_worker(fakes=True)
    for job in jobs:
        assert workplace.answer(job).state is FileState.ANSWERED


def test_the_heart_beats_while_the_worker_is_busy(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", workplace.server.url)
    workplace.index()
    assert not check(load_settings())
    workplace.start_worker(fakes=True, FAKE_DETECT_SECONDS="5")
    job = workplace.ask(asked("blue"))
    wait_for(lambda: workplace.redis.exists(claim_key(job)), "the job is claimed")
    workplace.redis.delete(WORKER_HEARTBEAT_KEY, own_heartbeat_key())
    wait_for(lambda: check(load_settings()), "the next beat", timeout=5)
    assert not workplace.is_done(job)


def test_a_health_check_asks_for_the_worker_of_its_own_machine(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", workplace.server.url)
    worker = workplace.start_worker(fakes=True)
    assert check(load_settings())
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "another-machine")
        assert not check(load_settings()), "the one that lives is not the one beside it"
    assert worker.stop() == 0
    assert not check(load_settings()), "known at once"


def test_a_worker_outlives_its_redis(workplace: Workplace) -> None:
    workplace.index()
    worker = workplace.start_worker(fakes=True)
    workplace.answer(workplace.ask(asked("blue")))
    workplace.server.stop()
    worker.wait_for_output("Redis cannot be reached")
    workplace.server.start()
    assert workplace.answer(workplace.ask(asked("amber"))).state is FileState.ANSWERED
    assert worker.popen.poll() is None
    assert worker.stop() == 0


def test_a_worker_outlives_a_redis_that_takes_no_writes_for_a_while(workplace: Workplace) -> None:
    """As one whose disk is full: here it has no folder to save to."""
    workplace.index()
    worker = workplace.start_worker(fakes=True)
    workplace.answer(workplace.ask(asked("blue")))
    redis = workplace.redis
    gone = workplace.server.folder / "gone"
    gone.mkdir()
    redis.config_set("dir", str(gone))
    gone.rmdir()
    redis.config_set("save", "3600 1")
    redis.bgsave()
    worker.wait_for_output("celery.worker.consumer.consumer: consumer: Cannot connect")
    redis.config_set("dir", str(workplace.server.folder))
    redis.config_set("save", "")
    assert workplace.answer(workplace.ask(asked("amber"))).state is FileState.ANSWERED
    assert worker.popen.poll() is None
    assert worker.stop() == 0
    assert "MISCONF" in worker.output()
    assert "Traceback" not in worker.output()


@pytest.mark.parametrize(("error", "cut"), [(ResponseError("MISCONF"), True), (KeyError(), False)])
def test_what_redis_refuses_is_logged_without_a_traceback(error: Exception, *, cut: bool) -> None:
    record = logging.LogRecord(
        "hub", logging.ERROR, "", 1, "Error in timer: %r", (error,), (type(error), error, None)
    )
    assert InOneLine().filter(record)
    assert (record.exc_info is None) is cut
    assert repr(error) in record.getMessage()


def test_a_redis_that_lets_the_worker_do_too_little_ends_it_with_a_sentence(
    workplace: Workplace,
) -> None:
    worker = workplace.start_worker(fakes=True)
    workplace.redis.execute_command("ACL", "SETUSER", "default", "-brpop")
    wait_for(lambda: worker.popen.poll() is not None, "the worker ends")
    workplace.redis.execute_command("ACL", "SETUSER", "default", "+@all")
    assert worker.popen.returncode == 1
    assert "Error: Redis refuses the worker: " in worker.output()
    assert "Traceback" not in worker.output()


def test_so_does_a_wrong_password_which_is_not_repeated(workplace: Workplace) -> None:
    workplace.redis.config_set("requirepass", "the-right-one")
    address = workplace.server.url.replace("unix://", "unix://:hunter2@")
    worker = workplace.start_worker(fakes=True, at_work=False, REDIS_URL=address)
    wait_for(lambda: worker.popen.poll() is not None, "the worker ends")
    workplace.redis.config_set("requirepass", "")
    assert worker.popen.returncode == 1
    assert "Error: Redis refuses the worker: " in worker.output()
    assert "Traceback" not in worker.output()
    assert "hunter2" not in worker.output()
