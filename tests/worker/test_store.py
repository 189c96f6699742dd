"""Uploads on a real Redis."""

from __future__ import annotations

import hashlib

from tests.platforms.processes import real_redis
from worker.store import UploadStore


def test_bytes_come_back_under_their_hash_and_are_forgotten() -> None:
    with real_redis() as server, server.client() as client:
        store = UploadStore(client, lifetime_seconds=60)
        data = bytes(range(256))
        sha256 = store.put(data)
        assert sha256 == hashlib.sha256(data).hexdigest()
        assert store.get(sha256) == data
        (key,) = client.keys()
        assert 0 < client.ttl(key) <= 60
        client.delete(key)
        assert store.get(sha256) is None
