"""Celery reaches the same Redis server as redis-py, and trusts it no more than that does."""

from __future__ import annotations

import ssl

import pytest
from kombu.transport.redis import Channel
from redis import Redis

from worker.app import create_app, open_redis


class AsFarAsItGoes(Exception):
    """Celery has said where it would go."""


def test_a_server_with_tls_is_held_against_its_certificate_and_its_name() -> None:
    with create_app("rediss://redis.example:6380/0").connection_for_write() as connection:
        assert connection.ssl == {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
        }


@pytest.mark.parametrize(
    ("options", "required", "named"),
    [
        ("", ssl.CERT_REQUIRED, True),
        ("?ssl_ca_certs=/etc/ca.pem", ssl.CERT_REQUIRED, True),
        ("?ssl_cert_reqs=required&ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
        ("?ssl_cert_reqs=none&ssl_check_hostname=false", ssl.CERT_NONE, False),
    ],
)
def test_options_in_the_address_count_as_they_do_for_redis_py(
    options: str, required: ssl.VerifyMode, named: bool
) -> None:
    address = f"rediss://redis.example:6380/0{options}"
    with create_app(address).connection_for_write() as connection:
        channel = connection.transport.Channel
        arguments = {"host": connection.hostname, "port": connection.port, **connection.ssl}
        ours = channel.connection_class_ssl(**arguments)
    with Redis.from_url(address) as client:
        theirs = client.connection_pool.make_connection()
    for made in (ours, theirs):
        assert made.cert_reqs == required
        assert bool(made.check_hostname) is named


@pytest.mark.parametrize("address", ["redis://redis.example/0", "unix:///run/redis.sock"])
def test_a_server_without_tls_is_spoken_to_without(address: str) -> None:
    with create_app(address).connection_for_write() as connection:
        assert not connection.ssl


@pytest.mark.parametrize(
    "address",
    [
        "redis://redis.example",
        "redis://redis.example:6380/4",
        "redis://redis.example?db=3",
        "redis://redis.example/4?db=3",
        # Not a number: redis-py takes the first database.
        "redis://redis.example/queue",
        "redis://user:p%40ss@[::1]:6380/1",
        "rediss://:secret@redis.example?db=2&ssl_min_version=771",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=2",
        "unix://user:p%40ss@/run/my%20redis.sock?db=3",
    ],
)
def test_both_speak_to_the_same_database(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    parameters_of = Channel._connparams

    def note(channel: Channel, **how: object) -> dict[str, object]:
        asked.append(parameters_of(channel, **how))
        raise AsFarAsItGoes

    monkeypatch.setattr(Channel, "_connparams", note)
    with create_app(address).connection_for_write() as connection, pytest.raises(AsFarAsItGoes):
        Channel(connection.transport)
    (celery,) = asked
    with open_redis(address) as client:
        ours = client.connection_pool.connection_kwargs
    for name, otherwise in (("db", 0), ("username", None), ("password", None), ("path", None)):
        assert celery.get(name) == ours.get(name, otherwise), name
    assert celery.get("ssl_min_version") == ours.get("ssl_min_version")
    if "host" in celery:
        assert celery["host"] == ours["host"]
        assert celery["port"] == ours.get("port", 6379)


@pytest.mark.parametrize(
    "address",
    [
        "redis://redis.example/0?socket_timeout=3",
        "redis://redis.example/0?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?password=secret",
        "redis://redis.example?db=first",
        "http://redis.example",
    ],
)
def test_what_only_one_of_them_understands_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match=r"Celery|URL") as refused:
        open_redis(address)
    assert "secret" not in str(refused.value)
