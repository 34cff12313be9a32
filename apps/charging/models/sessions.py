"""Sessions with the evidence behind them. Nothing here is written by a form: facts come from the gateway's batches,
repairs from `services`."""

from __future__ import annotations

from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation, Seller, User
from apps.cards.models import Token
from apps.charging.querysets import OfSessionQuerySet, ReadingQuerySet, ReviewItemQuerySet, SessionQuerySet
from apps.core.models import PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet
from apps.core.timeseries import TimeSeriesModel
from apps.installations.models import ChargingStation, Connector, Location


class Counter(models.Model):
    """The last id handed out under a name. Gateways take blocks, so ids are never reused and have gaps."""

    name = models.CharField(max_length=20, primary_key=True)
    last = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("counter")
        verbose_name_plural = _("counters")

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def draw(name: str, count: int = 1) -> int:
        """The first of `count` ids, all of them durable once the caller's transaction commits."""
        with transaction.atomic():
            Counter.objects.bulk_create([Counter(name=name)], ignore_conflicts=True)
            Counter.objects.filter(name=name).update(last=models.F("last") + count)
            last: int = Counter.objects.values_list("last", flat=True).get(name=name)
        return last - count + 1


def new_session_id() -> int:
    return Counter.draw("session")


class AuthorisationStatus(models.TextChoices):
    """OCPP 1.6 AuthorizationStatus."""

    ACCEPTED = "Accepted", _("accepted")
    BLOCKED = "Blocked", _("blocked")
    EXPIRED = "Expired", _("expired")
    INVALID = "Invalid", _("not known")
    CONCURRENT = "ConcurrentTx", _("already charging elsewhere")


class AuthorisationReason(models.TextChoices):
    """Why a card got its answer; `charging.decisions.authorise` is the one place that decides it."""

    ACTIVE = "active", _("The card is active.")
    ACCEPT_FREE = "accept_free", _("The card is not known; this location lets such cards charge free of charge.")
    ACCEPT_REVIEW = "accept_review", _("The card is not known; this location lets such cards charge, for review.")
    UNKNOWN = "unknown", _("The card is not known to this operator.")
    NOT_ACTIVE = "not_active", _("The card was ordered or shipped and not activated yet.")
    BLOCKED = "blocked", _("The card is blocked.")
    LOST = "lost", _("The card was reported lost.")
    EXPIRED = "expired", _("The card's date has passed.")
    CONCURRENT = "concurrent", _("The card charges at another connector.")
    NO_CONTRACT = "no_contract", _("No contract covers the card today.")
    REMOTE = "remote", _("The back office started this session.")
    FAILED = "failed", _("The request could not be decided; it was refused.")


class Authorisation(TenantModel):
    """One answer to "may this card charge here?", with its reason. Kept as evidence."""

    station = models.ForeignKey(ChargingStation, on_delete=models.PROTECT, related_name="+", verbose_name=_("charger"))
    token = models.ForeignKey(
        Token, on_delete=models.PROTECT, null=True, related_name="authorisations", verbose_name=_("card")
    )
    uid = models.CharField(_("UID"), max_length=40)
    at = models.DateTimeField(_("at"))
    action = models.CharField(_("asked by"), max_length=20)
    status = models.CharField(_("answer"), max_length=20, choices=AuthorisationStatus.choices)
    reason = models.CharField(_("reason"), max_length=20, choices=AuthorisationReason.choices)
    detail = models.JSONField(_("detail"), default=dict)
    expires_at = models.DateTimeField(_("valid until"), null=True)
    generation = models.BigIntegerField()
    sequence = models.BigIntegerField()

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("authorisation")
        verbose_name_plural = _("authorisations")
        constraints = [
            models.UniqueConstraint(fields=["station", "generation", "sequence"], name="authorisation_once"),
            models.CheckConstraint(condition=known("status", AuthorisationStatus), name="authorisation_status"),
            models.CheckConstraint(condition=known("reason", AuthorisationReason), name="authorisation_reason"),
        ]
        indexes = [
            models.Index(fields=["operator", "-at"], name="authorisation_operator"),
            models.Index(fields=["token", "-at"], name="authorisation_token"),
        ]

    def __str__(self) -> str:
        return f"{self.uid}: {self.status}"


class SessionState(models.TextChoices):
    ACTIVE = "active", _("charging")
    AWAITING = "awaiting", _("awaiting final data")
    ENDED = "ended", _("ended")
    VOID = "void", _("void")


class Session(PublicIdModel, TenantModel):
    """One charging session. `started_at`, `meter_start_wh`, `ended_at`, `meter_stop_wh` are what counts (a repair may
    set them); `*_sent` keep what the charger sent. Energy is Wh. A 1.6 session has a `transaction_id` of 1 … 2³¹−1.
    """

    State = SessionState

    id = models.BigIntegerField(primary_key=True, default=new_session_id, editable=False)
    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, related_name="sessions", verbose_name=_("charger")
    )
    connector = models.ForeignKey(
        Connector, on_delete=models.PROTECT, null=True, related_name="sessions", verbose_name=_("connector")
    )
    connector_number = models.PositiveIntegerField(_("connector number"))
    location = models.ForeignKey(
        Location, on_delete=models.PROTECT, related_name="sessions", verbose_name=_("location")
    )
    host = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("host")
    )
    # Who sold the power there when it began, whoever does now. Nothing is looked up by it.
    seller = models.ForeignKey(
        Seller, on_delete=models.PROTECT, null=True, related_name="+", db_index=False, verbose_name=_("seller")
    )
    token = models.ForeignKey(
        Token, on_delete=models.PROTECT, null=True, related_name="sessions", verbose_name=_("card")
    )
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("organisation")
    )
    holder = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("driver"))
    uid = models.CharField(_("UID"), max_length=40, blank=True)
    protocol = models.CharField(_("protocol"), max_length=10, default="ocpp1.6")
    transaction_id = models.BigIntegerField(_("transaction id"), null=True, unique=True)
    start_key = models.CharField(_("start key"), max_length=64)
    state = models.CharField(_("state"), max_length=10, choices=SessionState.choices, default=SessionState.ACTIVE)
    free_by_policy = models.BooleanField(_("free by the location's policy"), default=False)
    authorisation_status = models.CharField(_("answer to the card"), max_length=20, blank=True)
    authorisation_reason = models.CharField(_("reason of the answer"), max_length=20, blank=True)

    started_at = models.DateTimeField(_("started at"))
    started_sent = models.CharField(_("start as sent"), max_length=64, blank=True)
    start_received_at = models.DateTimeField(_("start received at"))
    start_offset_s = models.FloatField(_("clock offset at the start (s)"), null=True)
    start_generation = models.BigIntegerField(null=True)
    meter_start_wh = models.BigIntegerField(_("meter at the start (Wh)"), null=True)
    meter_start_sent = models.CharField(_("meter at the start as sent"), max_length=40, blank=True)

    ended_at = models.DateTimeField(_("ended at"), null=True)
    ended_sent = models.CharField(_("end as sent"), max_length=64, blank=True)
    stop_received_at = models.DateTimeField(_("stop received at"), null=True)
    stop_offset_s = models.FloatField(_("clock offset at the end (s)"), null=True)
    meter_stop_wh = models.BigIntegerField(_("meter at the end (Wh)"), null=True)
    meter_stop_sent = models.CharField(_("meter at the end as sent"), max_length=40, blank=True)
    stop_reason = models.CharField(_("stop reason"), max_length=40, blank=True)
    stop_uid = models.CharField(_("UID at the end"), max_length=40, blank=True)
    awaiting_since = models.DateTimeField(_("awaiting final data since"), null=True)

    objects = SessionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        permissions = [("repair_session", "Can repair sessions")]
        constraints = [
            models.UniqueConstraint(fields=["station", "start_key"], name="session_start_once"),
            models.CheckConstraint(condition=known("state", SessionState), name="session_state"),
            models.CheckConstraint(
                condition=Q(transaction_id=None) | Q(transaction_id__gte=1, transaction_id__lte=2**31 - 1),
                name="session_transaction_id",
            ),
        ]
        indexes = [
            models.Index(fields=["operator", "-started_at"], name="session_operator"),
            models.Index(fields=["station", "-started_at"], name="session_station"),
            models.Index(
                fields=["station", "connector_number"],
                condition=Q(state__in=["active", "awaiting"]),
                name="session_open",
            ),
            models.Index(fields=["organisation", "-started_at"], name="session_organisation"),
            models.Index(fields=["host", "-started_at"], name="session_host"),
            models.Index(fields=["token", "-started_at"], name="session_token"),
        ]

    def __str__(self) -> str:
        return f"{self.station_id} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def energy_wh(self) -> int | None:
        """Register at the end minus register at the start; None until both are known."""
        if self.meter_stop_wh is None or self.meter_start_wh is None:
            return None
        return self.meter_stop_wh - self.meter_start_wh


class SessionLive(TenantModel):
    """Live figures of a session, moved forward by its newest reading only."""

    session = models.OneToOneField(Session, on_delete=models.PROTECT, primary_key=True, related_name="live")
    reading_at = models.DateTimeField(_("last reading"), null=True)
    register_wh = models.BigIntegerField(_("meter (Wh)"), null=True)
    register_at = models.DateTimeField(_("meter read at"), null=True)
    energy_wh = models.BigIntegerField(_("energy (Wh)"), default=0)
    power_w = models.IntegerField(_("power (W)"), null=True)
    soc_percent = models.SmallIntegerField(_("state of charge (%)"), null=True)

    objects = OfSessionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("live figures")
        verbose_name_plural = _("live figures")

    def __str__(self) -> str:
        return str(self.session_id)


class Reading(TimeSeriesModel):
    """One meterValue element: what a meter showed at one time. Key: station, connector, time, digest of its samples.

    The samples as sent stand in the frame of the same (received_at, station, generation, sequence).
    """

    pk = models.CompositePrimaryKey("station_id", "connector_number", "at", "digest")
    at = models.DateTimeField(_("at"))
    station_id = models.BigIntegerField()
    connector_number = models.IntegerField(_("connector"))
    digest = models.BigIntegerField()
    operator_id = models.BigIntegerField()
    session_id = models.BigIntegerField(null=True)
    received_at = models.DateTimeField(_("received at"))
    generation = models.BigIntegerField()
    sequence = models.BigIntegerField()
    context = models.CharField(_("context"), max_length=20, blank=True)
    register_wh = models.BigIntegerField(_("meter (Wh)"), null=True)
    power_w = models.IntegerField(_("power (W)"), null=True)
    current_a = models.FloatField(_("current (A)"), null=True)
    voltage_v = models.FloatField(_("voltage (V)"), null=True)
    soc_percent = models.SmallIntegerField(_("state of charge (%)"), null=True)
    notes = models.CharField(_("how it was read"), max_length=120, blank=True)

    objects = ReadingQuerySet.as_manager()
    everything = models.Manager()

    class Meta:
        default_manager_name = "everything"
        verbose_name = _("reading")
        verbose_name_plural = _("readings")
        indexes = [
            models.Index(fields=["session_id", "at"], condition=Q(session_id__isnull=False), name="reading_session")
        ]


class ReviewCode(models.TextChoices):
    """What is doubtful. The text is for the person who decides."""

    UNKNOWN_CARD = "unknown_card", _("A card that is not known started this session.")
    REFUSED_CARD = "refused_card", _("A card that would have been refused started this session.")
    CLOCK_OFFSET = "clock_offset", _("The charger's clock was wrong when the session started or ended.")
    BAD_TIME = "bad_time", _("The charger sent a time that cannot be; the time of receipt was taken.")
    METER_BACKWARDS = "meter_backwards", _("The meter went backwards.")
    METER_JUMP = "meter_jump", _("The meter rose by more than the connector can deliver.")
    METER_CHANGED = "meter_changed", _("The meter was replaced during the session.")
    NO_STOP = "no_stop", _("The session has had no end for 24 hours.")
    ORPHAN_STOP = "orphan_stop", _("An end arrived that fits no session.")
    MAYBE_SAME_START = "maybe_same_start", _("This may be the same start as that of another session.")
    SECOND_STOP = "second_stop", _("A second end arrived with other figures.")
    STUB = "stub", _("The start could not be read; the session was opened without its figures.")
    QUARANTINE = "quarantine", _("A message could not be stored as what it says; it is kept as it came.")
    FAILED = "failed", _("A message could not be understood; it was confirmed and kept.")
    REPLACED = "replaced", _("A new session began on the connector before this one ended.")
    CDR_OUTDATED = "cdr_outdated", _("The session was changed after its CDR had been made.")


class ReviewState(models.TextChoices):
    OPEN = "open", _("open")
    RESOLVED = "resolved", _("resolved")


class ReviewItem(PublicIdModel, TenantModel):
    """One doubt with its evidence. A blocking one holds its session back from a CDR until it is resolved."""

    Code = ReviewCode
    State = ReviewState

    station = models.ForeignKey(
        ChargingStation, on_delete=models.PROTECT, null=True, related_name="review_items", verbose_name=_("charger")
    )
    session = models.ForeignKey(
        Session, on_delete=models.PROTECT, null=True, related_name="review_items", verbose_name=_("session")
    )
    code = models.CharField(_("doubt"), max_length=20, choices=ReviewCode.choices)
    key = models.CharField(max_length=80, editable=False)
    blocking = models.BooleanField(_("blocks the CDR"), default=True)
    evidence = models.JSONField(_("evidence"), default=dict)
    opened_at = models.DateTimeField(_("opened at"))
    state = models.CharField(_("state"), max_length=10, choices=ReviewState.choices, default=ReviewState.OPEN)
    resolution = models.CharField(_("resolution"), max_length=40, blank=True)
    resolved_at = models.DateTimeField(_("resolved at"), null=True)
    resolved_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("resolved by")
    )
    why = models.TextField(_("why"), blank=True)

    objects = ReviewItemQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("review item")
        verbose_name_plural = _("review items")
        constraints = [
            models.UniqueConstraint(fields=["station", "key"], name="review_item_once"),
            models.UniqueConstraint(
                fields=["session", "code"], condition=Q(state="open"), name="review_item_open_once"
            ),
            models.CheckConstraint(condition=known("code", ReviewCode), name="review_item_code"),
            models.CheckConstraint(condition=known("state", ReviewState), name="review_item_state"),
        ]
        indexes = [
            models.Index(fields=["operator", "opened_at"], condition=Q(state="open"), name="review_item_open"),
        ]

    def __str__(self) -> str:
        return self.get_code_display()
