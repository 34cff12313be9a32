"""Settings of the test runs: a database of its own (named by TEST_DATABASE_NAME where several runs share a server),
cheap password hashing, mail in memory."""

import tempfile
from pathlib import Path

from config.settings import *  # noqa: F403
from config.settings import BASE_DIR, DATABASES, env

_database = DATABASES["default"]
_name = env.str("TEST_DATABASE_NAME", default="test_voltdesk")
if _database["ENGINE"].endswith("sqlite3"):
    # A file, not memory: the gateway's writer threads have connections of their own.
    _folder = BASE_DIR / "var" / "test"
    _folder.mkdir(parents=True, exist_ok=True)
    _database["TEST"] = {"NAME": str(_folder / f"{_name}.sqlite3")}
else:
    _database["TEST"] = {"NAME": _name}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MEDIA_ROOT = Path(tempfile.gettempdir()) / "voltdesk-test-media"
