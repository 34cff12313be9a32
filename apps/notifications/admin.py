"""What was written to whom, and whether it left. A link that opens something is shown to nobody."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from apps.core.admin import ReadOnlyAdmin, display
from apps.notifications.models import Mail, MailState

_TONES = {MailState.QUEUED: "info", MailState.SENT: "success", MailState.FAILED: "danger"}


@admin.register(Mail)
class MailAdmin(ReadOnlyAdmin):
    list_display = ("subject", "recipient", "kind", "progress", "created_at", "sent_at")
    list_filter = ("state",)
    search_fields = ("subject", "recipient")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    fields = ("subject", "recipient", "language", "kind", "state", "error", "created_at", "sent_at", "text")

    @display(description=_("state"), ordering="state", label=_TONES)
    def progress(self, mail: Mail) -> tuple[str, str]:
        return mail.state, mail.get_state_display()
