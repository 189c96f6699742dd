"""Uploaded pictures on their way from a bot to a worker, in Redis, for a limited time."""

from __future__ import annotations

import hashlib
from typing import cast

from redis import Redis


class UploadStore:
    """Bytes under their SHA-256, forgotten by themselves."""

    def __init__(self, redis: Redis, lifetime_seconds: int) -> None:
        self._redis = redis
        self._lifetime = lifetime_seconds

    @staticmethod
    def _key(sha256: str) -> str:
        return f"familiar:upload:{sha256}"

    def put(self, data: bytes) -> str:
        """Keep `data` for the store's lifetime, counted anew.

        Returns:
            Its SHA-256, 64 hexadecimal digits.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        self._redis.set(self._key(sha256), data, ex=self._lifetime)
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """The bytes, or None where they have expired."""
        return cast("bytes | None", self._redis.get(self._key(sha256)))
