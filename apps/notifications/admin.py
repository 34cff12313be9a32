"""What was written to whom, and whether it left. A link that opens something is shown to nobody."""

from __future__ import annotations

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.core.admin import ReadOnlyAdmin, ReasonForm, display, reason_action
from apps.notifications import services
from apps.notifications.models import Mail, MailState

_TONES = {MailState.QUEUED: "info", MailState.SENT: "success", MailState.FAILED: "danger"}


@admin.register(Mail)
class MailAdmin(ReadOnlyAdmin):
    list_display = ("subject", "recipient", "kind", "progress", "created_at", "sent_at")
    list_filter = ("state",)
    search_fields = ("subject", "recipient")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    fields = ("subject", "recipient", "language", "kind", "state", "error", "created_at", "sent_at")

    actions_detail = ("send_again",)

    def get_fields(self, request: HttpRequest, obj: Mail | None = None) -> tuple[str, ...]:
        tries = ("failures", "claimed_at") if obj and obj.failures else ()
        next_try = ("next_try_at",) if tries and obj and obj.state == MailState.QUEUED else ()
        return (*self.fields, *tries, *next_try, "text")

    @reason_action(
        description=_("Send again"),
        permission="notifications.change_mail",
        consequence=_("The e-mail goes out as it was written, to the same address."),
        applies=lambda mail: mail.state == MailState.FAILED,
        icon="forward_to_inbox",
    )
    def send_again(self, request: HttpRequest, mail: Mail, form: ReasonForm) -> None:
        services.resend_mail(actor=request.actor, mail=mail, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The e-mail is on its way again."), messages.SUCCESS)

    @display(description=_("state"), ordering="state", label=_TONES)
    def progress(self, mail: Mail) -> tuple[str, str]:
        return mail.state, mail.get_state_display()
