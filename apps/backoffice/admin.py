"""Background work, for platform staff. Schedules are declared in code: a row typed here could run anything."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.tasks import async_task

from apps.core.admin import Changes, PlatformAdmin, ReadOnlyAdmin, ReasonForm, display, reason_action


class WorkAdmin(PlatformAdmin, ReadOnlyAdmin):
    """Facts of the task cluster."""


@admin.register(Schedule)
class ScheduleAdmin(WorkAdmin):
    list_display = ("name", "func", "schedule_type", "minutes", "cron", "next_run", "success")
    search_fields = ("name", "func")
    ordering = ("next_run",)
    fields = ("name", "func", "schedule_type", "minutes", "cron", "next_run", "repeats")


@admin.register(OrmQ)
class QueuedAdmin(WorkAdmin):
    list_display = ("id", "name", "func", "lock")
    ordering = ("lock",)
    fields = ("id", "name", "func", "lock")

    @display(description=_("name"))
    def name(self, queued: OrmQ) -> str:
        return str(queued.name())

    @display(description=_("function"))
    def func(self, queued: OrmQ) -> str:
        return str(queued.func())


class FinishedAdmin(WorkAdmin):
    list_display: Any = ("name", "what", "started", "stopped", "attempt_count")
    search_fields = ("name", "func")
    ordering = ("-started",)
    fields: Any = ("id", "name", "what", "arguments", "started", "stopped", "attempt_count", "outcome")

    @display(description=_("arguments"))
    def arguments(self, task: Any) -> str:
        return str(task.args)

    @display(description=_("work"))
    def what(self, task: Any) -> str:
        """The subscriber behind a delivered event, else the function itself."""
        delivered = task.func.endswith("events.deliver") and task.args
        return str(task.args[0]) if delivered else str(task.func)

    @display(description=_("outcome"))
    def outcome(self, task: Any) -> str:
        return str(task.result)


@admin.register(Success)
class SuccessAdmin(FinishedAdmin):
    pass


@admin.register(Failure)
class FailureAdmin(FinishedAdmin):
    actions_detail = ("retry",)

    @reason_action(
        description=_("Run again"),
        permission="django_q.change_failure",
        consequence=_("The work is queued once more with the same arguments, and this entry goes."),
        icon="replay",
    )
    def retry(self, request: HttpRequest, task: Failure, form: ReasonForm) -> Any:
        self.record(request, task, "retried", Changes(before={"name": task.name}), form.cleaned_data["why"])
        async_task(task.func, *(task.args or ()), task_name=task.name, **(task.kwargs or {}))
        task.delete()
        return self.to_list(request)
