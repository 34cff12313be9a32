"""Settings of the test runs: a database of its own (named by TEST_DATABASE_NAME where several runs share a server),
cheap password hashing, caches in memory, or in Redis where REDIS_URL names a database of it."""

import os
import tempfile
from pathlib import Path

from config.settings import *  # noqa: F403
from config.settings import BASE_DIR, CACHES, CHANNEL_LAYERS, DATABASES, LOGGING, REDIS_URL, env

_database = DATABASES["default"]
_name = env.str("TEST_DATABASE_NAME", default="test_voltdesk")
if _database["ENGINE"].endswith("sqlite3"):
    # A file, not memory: the gateway's writer threads have connections of their own.
    _folder = BASE_DIR / "var" / "test"
    _folder.mkdir(parents=True, exist_ok=True)
    _database["TEST"] = {"NAME": str(_folder / f"{_name}.sqlite3")}
else:
    _database["TEST"] = {"NAME": _name}
    # Without statistics everything looks costly, and is compiled for longer than it runs.
    _database["OPTIONS"]["options"] = "-c jit=off"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if REDIS_URL:
    # A Redis database a worker: clearing the cache empties the whole of it. Pub/sub knows no databases, so a prefix.
    _worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    _server, _, _number = REDIS_URL.rpartition("/")
    REDIS_URL = f"{_server}/{int(_number) + _worker}"
    CACHES["default"]["LOCATION"] = REDIS_URL
    CHANNEL_LAYERS["default"]["CONFIG"] = {"hosts": [REDIS_URL], "prefix": f"{_name}-{_worker}"}
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# pytest renders each record with its traceback, and refusals are what tests ask for.
LOGGING["loggers"] |= {"django.request": {"level": "ERROR"}, "django.security": {"level": "CRITICAL"}}
# In memory, but where several processes share the files.
_STORAGE = "FileSystemStorage" if "TEST_MEDIA" in os.environ else "InMemoryStorage"
STORAGES = {
    "default": {"BACKEND": f"django.core.files.storage.{_STORAGE}"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Looked up when asked for: a test's client is a new handler, and would list every static file there is.
WHITENOISE_AUTOREFRESH = True
MEDIA_ROOT = Path(os.environ.get("TEST_MEDIA") or Path(tempfile.gettempdir()) / "voltdesk-test-media")
