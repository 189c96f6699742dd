"""Celery reaches the same Redis server as redis-py, and trusts it no more than that does."""

from __future__ import annotations

import ssl

import pytest
from redis import Redis

from worker.app import create_app


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
