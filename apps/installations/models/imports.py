"""A file of rows on its way into the inventory."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.core.models import PublicIdModel, TenantModel, known
from apps.core.querysets import TenantQuerySet


class ImportState(models.TextChoices):
    PREVIEW = "preview", _("to be confirmed")
    RUNNING = "running", _("running")
    DONE = "done", _("done")


class DataImport(PublicIdModel, TenantModel):
    """A CSV file that somebody uploaded: its rows, what was found to be done, and how far the doing came.

    `rows`, those that were not refused: [[line, {column: text}], …]; `refused`: [[line, key, [reason, …]], …];
    `sample`: [[line, action, key, [[field, before, after], …]], …].
    """

    State = ImportState

    kind = models.CharField(_("kind"), max_length=20)
    file_name = models.CharField(_("file"), max_length=120)
    user = models.ForeignKey(
        "accounts.User", on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("by")
    )
    created_at = models.DateTimeField(_("uploaded at"), auto_now_add=True)
    state = models.CharField(_("state"), max_length=10, choices=ImportState.choices, default=ImportState.PREVIEW)
    rows = models.JSONField(default=list, editable=False)
    total = models.PositiveIntegerField(_("rows"), default=0)
    position = models.PositiveIntegerField(_("rows done"), default=0)
    created = models.PositiveIntegerField(_("new"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    unchanged = models.PositiveIntegerField(_("unchanged"), default=0)
    refused_count = models.PositiveIntegerField(_("refused"), default=0)
    refused = models.JSONField(default=list, editable=False)
    sample = models.JSONField(default=list, editable=False)
    finished_at = models.DateTimeField(_("finished at"), null=True, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        constraints = [models.CheckConstraint(condition=known("state", ImportState), name="data_import_state")]

    def __str__(self) -> str:
        return self.file_name
