"""Settings, from environment variables. `MODE=embedded` (default) needs none; `MODE=production` refuses to start
without SECRET_KEY, STATION_KEY_PEPPERS, DATABASE_URL, REDIS_URL and ADMIN_HOST. See docs/production.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from django.templatetags.static import static
from django.utils.csp import CSP
from django.utils.translation import gettext_lazy as _

from config.embedded import load_secrets

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

MODE = env.str("MODE", default="embedded")
if MODE not in ("embedded", "production"):
    raise environ.ImproperlyConfigured(f"MODE is {MODE!r}; it is embedded or production")
PRODUCTION = MODE == "production"
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))
EMBEDDED_SECRETS = {} if PRODUCTION else load_secrets(VAR_DIR / "secrets.json")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY") if PRODUCTION else env.str("SECRET_KEY", default=EMBEDDED_SECRETS["SECRET_KEY"])
# "2:hex,1:hex": the first is used for new station keys, the others still open old ones.
STATION_KEY_PEPPERS = dict(
    entry.split(":", 1)
    for entry in (
        env.list("STATION_KEY_PEPPERS")
        if PRODUCTION
        else env.list("STATION_KEY_PEPPERS", default=[EMBEDDED_SECRETS["STATION_KEY_PEPPERS"]])
    )
)

# Brands are rows: accounts.middleware answers 404 to any host that is neither the admin's nor a brand's.
ALLOWED_HOSTS = ["*"]
PORT = env.int("PORT", default=8000)
ADMIN_HOST = env.str("ADMIN_HOST") if PRODUCTION else env.str("ADMIN_HOST", default="admin.localhost")
PUBLIC_SCHEME = env.str("PUBLIC_SCHEME", default="https" if PRODUCTION else "http")
PUBLIC_PORT = env.int("PUBLIC_PORT", default=443 if PRODUCTION else PORT)
# The host that chargers are told to connect to; the admin's, unless they have one of their own.
CHARGER_HOST = env.str("CHARGER_HOST", default=ADMIN_HOST)
# Whose X-Forwarded-For says where chargers and people come from (core.addresses).
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=["127.0.0.1", "::1"])

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "apps.backoffice.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_filters",
    "django_htmx",
    "django_q",
    "django_tables2",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "heroicons",
    "rest_framework",
    "apps.core",
    "apps.accounts",
    "apps.notifications",
    "apps.installations",
    "apps.tariffs",
    "apps.contracts",
    "apps.cards",
    "apps.charging",
    "apps.ocpp",
    "apps.billing",
    "apps.reports",
    "apps.backoffice",
    "apps.portal",
    "apps.api",
]

MIDDLEWARE = [
    "apps.accounts.middleware.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "apps.core.middleware.PolicyByHostMiddleware",
    "apps.core.middleware.NulMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.accounts.middleware.ActorMiddleware",
    "apps.accounts.middleware.LanguageMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- data -------------------------------------------------------------------------------------------------------------
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA temp_store=MEMORY;PRAGMA mmap_size=134217728;"
    "PRAGMA cache_size=-16000;PRAGMA journal_size_limit=67108864;PRAGMA recursive_triggers=ON;"
)


def _database() -> dict[str, Any]:
    default = environ.Env.NOTSET if PRODUCTION else f"sqlite:///{VAR_DIR / 'voltdesk.sqlite3'}"
    config: dict[str, Any] = env.db_url("DATABASE_URL", default=default)
    if config["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once while another writes.
        config["OPTIONS"] = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": _SQLITE_PRAGMAS}
        config["CONN_MAX_AGE"] = 0
    else:
        config["OPTIONS"] = {
            "server_side_binding": True,
            "prepare_threshold": 1,
            "connect_timeout": 5,
            # A database that vanished without a word is gone after some fourteen seconds: while something is sent to
            # it by the first (milliseconds), while its answer is waited for by the others (seconds).
            "tcp_user_timeout": 10_000,
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
        }
        config["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
        config["CONN_HEALTH_CHECKS"] = True
    return config


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL") if PRODUCTION else env.str("REDIS_URL", default="")
if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
    CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    }
else:
    # Files, not memory: the server and the task cluster are two processes and share brands and rate limits.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(VAR_DIR / "cache"),
            "OPTIONS": {"MAX_ENTRIES": 5000},
        }
    }
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

MEDIA_ROOT = VAR_DIR / "media"
STATIC_URL = "/static/"
# Collected in production only; an embedded installation serves what the apps carry.
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(VAR_DIR / "static"))) if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- background work --------------------------------------------------------------------------------------------------
_POSTGRES = DATABASES["default"]["ENGINE"].endswith("postgresql")
Q_CLUSTER = {
    "name": "voltdesk",
    "orm": "default",
    "workers": env.int("TASK_WORKERS", default=2),
    "queue_limit": 2,
    "bulk": 1,
    "poll": 0.5 if _POSTGRES else 0.2,
    "timeout": 300 if _POSTGRES else 60,
    "retry": 900 if _POSTGRES else 180,
    "max_attempts": 3,
    "ack_failures": False,
    "recycle": 500,
    "save_limit": 500,
    "catch_up": False,
    "label": _("Tasks"),
}

# A CDR is made so long after the Stop was received: what a charger kept while it was offline arrives meanwhile.
CDR_DELAY_MINUTES: int = env.int("CDR_DELAY_MINUTES", default=15)

# --- people -----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "apps.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_FORMS = {
    "login": "apps.accounts.forms.LoginForm",
    "reset_password": "apps.accounts.forms.ResetPasswordForm",
    "user_token": "apps.accounts.forms.UserTokenForm",
}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key", "reset_password": "20/m/ip,5/m/key"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Voltdesk"
MFA_ALLOW_UNVERIFIED_EMAIL = True  # nobody picks an address: an invitation reached it, or an operator wrote it


def _mailer() -> dict[str, Any]:
    """Django's mailer for EMAIL_URL: `smtp+tls://user:password@host:587`, `smtp+ssl://…`, or the console.

    Without one, the embedded installation writes files: on its console, mails would bury where to click.
    """
    if not PRODUCTION and not env.str("EMAIL_URL", default=""):
        backend = "django.core.mail.backends.filebased.EmailBackend"
        return {"BACKEND": backend, "OPTIONS": {"file_path": str(VAR_DIR / "mails")}}
    url = env.email("EMAIL_URL", default="consolemail://")
    if not url["EMAIL_BACKEND"].endswith("smtp.EmailBackend"):
        return {"BACKEND": url["EMAIL_BACKEND"]}
    options = {
        "host": url["EMAIL_HOST"],
        "port": url["EMAIL_PORT"] or 25,
        "username": url["EMAIL_HOST_USER"] or "",
        "password": url["EMAIL_HOST_PASSWORD"] or "",
        "use_tls": url.get("EMAIL_USE_TLS", False),
        "use_ssl": url.get("EMAIL_USE_SSL", False),
        "timeout": 20,
    }
    return {"BACKEND": url["EMAIL_BACKEND"], "OPTIONS": options}


MAILERS = {"default": _mailer()}
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default=f"voltdesk@{ADMIN_HOST}")

# --- language and time ------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"

# --- what a browser may -----------------------------------------------------------------------------------------------
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "manifest-src": [CSP.SELF],
    "worker-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "img-src": [CSP.SELF, "data:", "blob:"],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "object-src": [CSP.NONE],
}
# The admin theme's components evaluate expressions, carry inline styles, and open "+ add" in a frame.
ADMIN_CSP = {
    **SECURE_CSP,
    "script-src": [CSP.SELF, CSP.UNSAFE_EVAL],
    "style-src": [CSP.SELF, CSP.UNSAFE_INLINE],
    "frame-src": [CSP.SELF],
    "frame-ancestors": [CSP.SELF],
}
X_FRAME_OPTIONS = "SAMEORIGIN"
SILENCED_SYSTEM_CHECKS = ["security.W019"]  # wants DENY; the policies above say "none" where nothing opens in a frame
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_SCHEME == "https"
SECURE_REFERRER_POLICY = "same-origin"
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True

# --- interfaces -------------------------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "apps.api.problems.handle",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Voltdesk API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}
DJANGO_TABLES2_TEMPLATE = "parts/table.html"
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Voltdesk",
    "SITE_HEADER": "Voltdesk",
    "SITE_SUBHEADER": _("back office"),
    "SITE_SYMBOL": "bolt",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("favicon.svg")}],
    "STYLES": [
        lambda _request: static("voltdesk/tokens.css"),
        lambda _request: static("voltdesk/theme.css"),
        lambda _request: static("voltdesk/backoffice.css"),
    ],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "8px",
    "SIDEBAR": {"show_search": True, "navigation": "apps.backoffice.navigation.sidebar"},
    "ACCOUNT": {"navigation": "apps.backoffice.navigation.account_links"},
    # Blue: the theme's own purple fails the contrast of WCAG AA on dark.
    "COLORS": {
        "primary": {
            "50": "#eff4ff",
            "100": "#dbe6fe",
            "200": "#bfd3fe",
            "300": "#93b4ff",
            "400": "#86abff",
            "500": "#6a97fb",
            "600": "#1d4ed8",
            "700": "#1e40af",
            "800": "#1e3a8a",
            "900": "#1b2f6b",
            "950": "#131f47",
        }
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:7} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="WARNING")},
    "loggers": {
        "apps": {"level": env.str("LOG_LEVEL", default="INFO")},
        "django-q": {"level": "WARNING", "handlers": ["console"], "propagate": False},
    },
}
