"""What may be asked of a charger, as people ask it: title, what will happen, the form, and the payload it makes.

The payloads are those of OCPP 1.6; rules and deadlines are `installations.commands`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.charging.models import Session
from apps.core.admin import SelectWidget, TextareaWidget, TextInputWidget
from apps.core.templatetags.parts import at_place
from apps.installations.commands import Rule, title_of
from apps.installations.models import Command, CommandState, Connector


class CommandForm(forms.Form):
    """A command without values of its own. `connectors` and `sessions` are those of the charger; whether it asks why
    is the command's rule."""

    def __init__(
        self, *args: Any, rule: Rule, connectors: list[Connector], sessions: list[Session], zone: str, **kwargs: Any
    ) -> None:
        self.connectors, self.sessions, self.zone = connectors, sessions, zone
        super().__init__(*args, **kwargs)
        self.fields["why"] = forms.CharField(
            label=_("Why"),
            required=rule.asks_why(a_person=True),
            max_length=300,
            help_text=_("Kept with your name, for those who read the history later."),
            widget=TextareaWidget(attrs={"rows": 2}),
        )
        self.prepare()

    def prepare(self) -> None:
        """Fill choices in."""

    def payload(self) -> dict[str, Any]:
        """The request of OCPP 1.6."""
        return {}


class ConnectorForm(CommandForm):
    """A command to a connector; 0 is the whole charger where that is allowed."""

    with_whole = False
    connector = forms.TypedChoiceField(label=_("Connector"), coerce=int, widget=SelectWidget)

    def prepare(self) -> None:
        choices: list[tuple[int, Any]] = [(0, _("the whole charger"))] if self.with_whole else []
        choices += [(one.number, f"#{one.number} · {one.get_standard_display()}") for one in self.connectors]
        self.fields["connector"].choices = choices


class RemoteStartForm(ConnectorForm):
    card = forms.CharField(
        label=_("Card"),
        max_length=20,
        help_text=_("UID of the card that the session runs on. It must be allowed to charge here."),
        widget=TextInputWidget,
    )
    field_order = ("connector", "card", "why")

    def payload(self) -> dict[str, Any]:
        return {"idTag": self.cleaned_data["card"].strip(), "connectorId": self.cleaned_data["connector"]}


class RemoteStopForm(CommandForm):
    session = forms.TypedChoiceField(
        label=_("Session"),
        coerce=int,
        widget=SelectWidget,
        error_messages={"required": _("No session runs at this charger.")},
    )
    field_order = ("session", "why")

    def prepare(self) -> None:
        self.fields["session"].choices = [
            (
                one.transaction_id,
                f"#{one.connector_number} · {at_place(one.started_at, self.zone)} · {one.token or one.uid or '–'}",
            )
            for one in self.sessions
            if one.transaction_id is not None
        ]

    def payload(self) -> dict[str, Any]:
        return {"transactionId": self.cleaned_data["session"]}


class ResetForm(CommandForm):
    type = forms.ChoiceField(
        label=_("How"),
        choices=[
            ("Soft", _("soft: sessions are ended first, then it restarts")),
            ("Hard", _("hard: it restarts at once")),
        ],
        widget=SelectWidget,
    )
    field_order = ("type", "why")

    def payload(self) -> dict[str, Any]:
        return {"type": self.cleaned_data["type"]}


class UnlockForm(ConnectorForm):
    field_order = ("connector", "why")

    def payload(self) -> dict[str, Any]:
        return {"connectorId": self.cleaned_data["connector"]}


class AvailabilityForm(ConnectorForm):
    with_whole = True
    type = forms.ChoiceField(
        label=_("From now on"),
        choices=[("Inoperative", _("out of service")), ("Operative", _("in service"))],
        widget=SelectWidget,
    )
    field_order = ("connector", "type", "why")

    def payload(self) -> dict[str, Any]:
        return {"connectorId": self.cleaned_data["connector"], "type": self.cleaned_data["type"]}


class GetConfigurationForm(CommandForm):
    keys = forms.CharField(
        label=_("Keys"),
        required=False,
        help_text=_("Separated by commas. Empty: all of them."),
        widget=TextInputWidget,
    )
    field_order = ("keys", "why")

    def payload(self) -> dict[str, Any]:
        keys = [key.strip() for key in self.cleaned_data["keys"].split(",") if key.strip()]
        return {"key": keys} if keys else {}


class ChangeConfigurationForm(CommandForm):
    key = forms.CharField(label=_("Key"), max_length=50, widget=TextInputWidget)
    value = forms.CharField(label=_("Value"), max_length=500, required=False, widget=TextInputWidget)
    field_order = ("key", "value", "why")

    def payload(self) -> dict[str, Any]:
        return {"key": self.cleaned_data["key"], "value": self.cleaned_data["value"]}


class TriggerForm(ConnectorForm):
    with_whole = True
    message = forms.ChoiceField(
        label=_("Message"),
        choices=[
            (name, name)
            for name in (
                *("StatusNotification", "MeterValues", "BootNotification", "Heartbeat"),
                *("FirmwareStatusNotification", "DiagnosticsStatusNotification"),
            )
        ],
        widget=SelectWidget,
    )
    field_order = ("message", "connector", "why")

    def payload(self) -> dict[str, Any]:
        connector = self.cleaned_data["connector"]
        about = {"connectorId": connector} if connector else {}
        return {"requestedMessage": self.cleaned_data["message"], **about}


class DataTransferForm(CommandForm):
    vendor = forms.CharField(label=_("Vendor id"), max_length=255, widget=TextInputWidget)
    message = forms.CharField(label=_("Message id"), max_length=50, required=False, widget=TextInputWidget)
    text = forms.CharField(label=_("Data"), max_length=10_000, required=False, widget=TextareaWidget(attrs={"rows": 3}))
    field_order = ("vendor", "message", "text", "why")

    def payload(self) -> dict[str, Any]:
        given = {"messageId": self.cleaned_data["message"], "data": self.cleaned_data["text"]}
        return {"vendorId": self.cleaned_data["vendor"], **{name: value for name, value in given.items() if value}}


@dataclass(frozen=True, slots=True)
class Offer:
    """A command as a button: `action` is OCPP's word. `dangerous` ones can interrupt a driver."""

    action: str
    consequence: Promise | str
    form: type[CommandForm] = CommandForm
    icon: str = "terminal"
    dangerous: bool = False

    @property
    def title(self) -> str:
        return title_of(self.action)


OFFERS: Mapping[str, Offer] = {
    one.action: one
    for one in (
        Offer(
            "RemoteStartTransaction",
            _("The charger begins to charge on the card that you name. The effect is a session that begins."),
            RemoteStartForm,
            "play_arrow",
        ),
        Offer(
            "RemoteStopTransaction",
            _("The charger ends the session, and the driver can unplug. The effect is the session's end."),
            RemoteStopForm,
            "stop",
            dangerous=True,
        ),
        Offer(
            "Reset",
            _("The charger restarts and is away for a while. Running sessions end; a hard reset interrupts them."),
            ResetForm,
            "restart_alt",
            dangerous=True,
        ),
        Offer(
            "UnlockConnector",
            _("The charger lets the cable go. Anybody who stands there can take it."),
            UnlockForm,
            "lock_open",
            dangerous=True,
        ),
        Offer(
            "ChangeAvailability",
            _("A running session is finished first. It waits up to a week for a charger that is offline."),
            AvailabilityForm,
            "power_settings_new",
        ),
        Offer(
            "TriggerMessage",
            _("The charger sends the message that you choose, now. Nothing else changes."),
            TriggerForm,
            "sync",
        ),
        Offer(
            "GetConfiguration",
            _("The charger tells its settings, which are kept here. Nothing changes. It waits for a day."),
            GetConfigurationForm,
            "tune",
        ),
        Offer(
            "ChangeConfiguration",
            _("The charger takes the new value, some keys after a restart only. It waits up to a week."),
            ChangeConfigurationForm,
            "edit",
        ),
        Offer(
            "ClearCache",
            _("The charger forgets which cards it knows and asks again. It waits up to a week."),
            icon="delete_sweep",
        ),
        Offer(
            "DataTransfer",
            _("The charger gets a message that only its maker knows the meaning of."),
            DataTransferForm,
            "data_object",
        ),
    )
}


# --- how far one came -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Step:
    """One step of a command's way. State: done, failed, waiting (for it, now) or later."""

    word: str
    state: str
    at: dt.datetime | None
    note: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A command with its way: asked → sent → answered → effect seen."""

    command: Command
    title: str
    steps: tuple[Step, ...]
    state_word: str


def progress_of(command: Command) -> Progress:
    """The way of a command, for the part that shows it. Pure."""
    return Progress(
        command=command,
        title=title_of(command.action),
        steps=(_asked(command), _sent(command), _answered(command), _effect(command)),
        state_word=str(command.get_state_display()),
    )


def _asked(command: Command) -> Step:
    return Step(gettext("asked"), "done", command.created_at, command.actor)


def _sent(command: Command) -> Step:
    if command.sent_at is not None:
        return Step(gettext("sent"), "done", command.sent_at, "")
    if command.state == CommandState.NOT_DELIVERED:
        return Step(gettext("not delivered"), "failed", command.finished_at, _told(command))
    note = gettext("waits for the charger") if command.waits else ""
    return Step(gettext("to be sent"), "waiting", None, note)


def _answered(command: Command) -> Step:
    if command.state == CommandState.REJECTED:
        by = gettext("refused by %(whom)s") % {"whom": command.get_answered_by_display()}
        return Step(by, "failed", command.answered_at or command.finished_at, _told(command))
    if command.answered_at is not None:
        by = gettext("accepted by %(whom)s") % {"whom": command.get_answered_by_display()}
        return Step(by, "done", command.answered_at, _told(command))
    if command.state == CommandState.UNKNOWN:
        return Step(gettext("outcome unknown"), "failed", command.finished_at, _told(command))
    if command.state == CommandState.DONE:
        return Step(gettext("no answer"), "failed", None, _told(command))
    return Step(gettext("answer"), "waiting" if command.state == CommandState.SENT else "later", None, "")


def _effect(command: Command) -> Step:
    if command.state == CommandState.DONE:
        return Step(gettext("effect seen"), "done", command.finished_at, "")
    if command.state == CommandState.TIMED_OUT:
        return Step(gettext("no effect seen in time"), "failed", command.finished_at, "")
    return Step(gettext("effect"), "waiting" if command.state == CommandState.ACCEPTED else "later", None, "")


def _told(command: Command) -> str:
    return gettext(command.detail) if command.detail else ""
