import environ

env = environ.Env()
SECRET_KEY = "a benchmark on loopback"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["benchmarks.naive"]
DATABASES = {"default": {**env.db_url("DATABASE_URL"), "CONN_MAX_AGE": None}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
