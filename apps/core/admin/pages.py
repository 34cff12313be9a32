"""The pages themselves: rows that people edit, facts, rows without a tenant, and their children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ActionLocation, ShowFacets
from django.contrib.admin.checks import ModelAdminChecks
from django.contrib.admin.utils import get_fields_from_path, unquote
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from unfold import admin as theme
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from apps.core.admin.changes import Changes, History, changes_of, plain
from apps.core.admin.reasons import ReasonForm, reason_action
from apps.core.admin.scope import ArchivedFilter, RelatedFilter, Scoped, is_answerable, owned
from apps.core.models import ArchivableModel

HISTORY_PAGE = 50


def render_page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """A page that is no ModelAdmin's, in the site's frame."""
    request.current_app = admin.site.name
    return render(request, template, {**admin.site.each_context(request), **context})


class ModelAdmin(Scoped, theme.ModelAdmin):
    """Rows of a tenant that people edit.

    An admin whose rows need more than `save()` overrides `save_model` with one service call; a `ValidationError` that
    the service raises is shown in the form. `audited_by_service`: the service writes the history itself.
    """

    audited_by_service: ClassVar[bool] = False
    # What belongs here and how to begin, shown while the list is empty.
    empty_text: Any = ""
    # The theme's own checks look permissions up in a table that is not used here, and may not exist yet.
    checks_class = ModelAdminChecks
    actions: Sequence[Any] = ()
    actions_detail: Sequence[Any] = ()
    change_form_outer_before_template = "backoffice/archived.html"
    compressed_fields = True
    list_filter_submit = True
    list_filter_sheet = False
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    warn_unsaved_form = True

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        if self.raw_id_fields:
            raise ImproperlyConfigured(f"{type(self).__name__}: raw_id_fields name rows of any tenant")
        if issubclass(model, ArchivableModel):
            self.actions_detail = [*self.actions_detail, "archive", "restore"]
        super().__init__(model, admin_site)

    @property
    def history(self) -> History:
        return cast("History", self.admin_site)

    def get_urls(self) -> list[URLPattern]:
        # Without the unnamed redirect of Django 1.8, which answers for any id.
        return [pattern for pattern in super().get_urls() if pattern.name]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is None:
            raise Http404(f"{self.opts.label} {object_id}")
        return obj

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as refusal:
            # The transaction is undone; the same form once more, now with what the service said.
            request.refusal = refusal
            response = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not all(is_answerable(name, str(value), self.date_hierarchy) for name, value in request.GET.items()):
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")  # as Django does with what it cannot read
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return owned(super().get_form(request, obj, change=change, **kwargs), request)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        filters = [self._scoped_filter(one) for one in super().get_list_filter(request)]
        return [*filters, ArchivedFilter] if issubclass(self.model, ArchivableModel) else filters

    def _scoped_filter(self, one: Any) -> Any:
        path, kind = one if isinstance(one, list | tuple) else (one, None)
        if not isinstance(path, str):
            return one
        field = get_fields_from_path(self.model, path)[-1]
        if not field.is_relation:
            return (path, ChoicesDropdownFilter) if kind is None and field.flatchoices else one
        if kind is not None and not issubclass(kind, RelatedFilter):
            raise ImproperlyConfigured(f"{type(self).__name__}: {kind.__name__} offers rows of every tenant")
        return path, kind or RelatedFilter

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        if not super().lookup_allowed(lookup, value, request):
            return False
        name = lookup.split("__")[0]
        try:
            self.opts.get_field(name)
        except FieldDoesNotExist:
            return True
        # Any column could otherwise be guessed letter by letter, hashes of secrets too.
        paths = [one[0] if isinstance(one, list | tuple) else one for one in self.get_list_filter(request)]
        declared = {self.date_hierarchy, self.opts.pk.name, *(path for path in paths if isinstance(path, str))}
        return any(path and (lookup == path or lookup.startswith(f"{path}__")) for path in declared)

    def get_actions_detail(self, request: HttpRequest, object_id: int | str) -> list[Any]:
        allowed: list[Any] = super().get_actions_detail(request, object_id)
        if not any(getattr(one.method, "applies", None) for one in allowed):
            return allowed
        obj = self.get_object(request, unquote(str(object_id)))
        return [one for one in allowed if (applies := getattr(one.method, "applies", None)) is None or applies(obj)]

    def get_action_choices(
        self,
        request: HttpRequest,
        default_choices: list[tuple[str, Any]] | None = None,
        action_location: ActionLocation = ActionLocation.CHANGE_LIST,
    ) -> list[tuple[str, Any]]:
        # Past the theme's own, which does not know the place of an action.
        choices: list[tuple[str, Any]] = super(theme.ModelAdmin, self).get_action_choices(
            request,
            default_choices=default_choices or [("", gettext("Select action"))],
            action_location=action_location,
        )
        return choices

    def to_list(self, request: HttpRequest) -> HttpResponse:
        """Where a button leads whose object is gone."""
        return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))

    def shown_once(self, request: HttpRequest, obj: Any, secrets: Sequence[tuple[Any, str]]) -> HttpResponse:
        """A page with `(label, value)` pairs that are never shown again, each with a copy button."""
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Copy this now"),
            "subtitle": str(obj),
            "opts": self.opts,
            "original": obj,
            "secrets": secrets,
            "onward": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk]),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "backoffice/shown_once.html", context)

    # --- history ---
    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return changes_of(form, formsets or [])

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        self.log(request, obj, "added", message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        if message:
            self.log(request, obj, "changed", message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        for obj in queryset:
            self.log(request, obj, "deleted", Changes(before={"name": str(obj)}))

    def log(self, request: HttpRequest, obj: Any, verb: str, changes: Changes, why: str = "") -> None:
        if not self.audited_by_service:
            self.record(request, obj, verb, changes, why)

    def record(self, request: HttpRequest, obj: Any, verb: str, changes: Changes, why: str = "") -> None:
        """Write `model.verb` to the audit trail."""
        name = f"{self.opts.model_name}.{verb}"
        self.history.record(request, action=name, target=obj, changes=changes, why=why)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        page = Paginator(self.history.history_of(request, obj), HISTORY_PAGE).get_page(request.GET.get("p"))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("History"),
            "subtitle": str(obj),
            "object": obj,
            "opts": self.opts,
            "page": page,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/object_history.html", context)

    # --- archive ---
    @reason_action(
        description=gettext_lazy("Archive"),
        permission="change",
        consequence=gettext_lazy(
            "It leaves every list and its name becomes free. Nothing is deleted; you can restore it."
        ),
        applies=lambda obj: obj.archived_at is None,
        icon="archive",
    )
    def archive(self, request: HttpRequest, obj: Any, form: ReasonForm) -> None:
        self.archive_object(request, obj, form.cleaned_data["why"])
        self.message_user(request, gettext("Archived."), messages.SUCCESS)

    @reason_action(
        description=gettext_lazy("Restore"),
        permission="change",
        consequence=gettext_lazy("It comes back into every list, if its name is still free."),
        applies=lambda obj: obj.archived_at is not None,
        icon="unarchive",
    )
    def restore(self, request: HttpRequest, obj: Any, form: ReasonForm) -> None:
        self.restore_object(request, obj, form.cleaned_data["why"])
        self.message_user(request, gettext("In use again."), messages.SUCCESS)

    def archive_object(self, request: HttpRequest, obj: Any, why: str) -> None:
        """Archive one row. An app whose rows need more than that calls its service here."""
        self._set_archived(request, obj, "archived", timezone.now(), why)

    def restore_object(self, request: HttpRequest, obj: Any, why: str) -> None:
        """Take one row back into use; its name may have been given to another by then."""
        self._set_archived(request, obj, "restored", None, why)

    def _set_archived(self, request: HttpRequest, obj: Any, verb: str, at: Any, why: str) -> None:
        changes = Changes({"archived_at": plain(obj.archived_at)}, {"archived_at": plain(at)})
        obj.archived_at = at
        with transaction.atomic():
            obj.validate_constraints()
            obj.save(update_fields=["archived_at"])
            self.record(request, obj, verb, changes, why)


class ReadOnlyAdmin(ModelAdmin):
    """Facts: seen, never edited. What may be done about them are buttons."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PlatformAdmin(ModelAdmin):
    """Rows without a tenant, for platform staff with a second factor (the site refuses all others)."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = self.model.objects.all() if request.actor.platform else self.model.objects.none()
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows


class ScopedRows:
    """Mixed into every inline formset: the hidden key of a row names a child of this parent, or the form is refused."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)  # type: ignore[misc]
        key = form.fields.get(self._pk_field.name)
        if isinstance(key, forms.ModelChoiceField):
            key.queryset = self.queryset


class Inline(Scoped):
    """Children edited with their parent. Each input carries its label: a table's head names it for the eye only."""

    extra = 0

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)  # type: ignore[misc]
        formset.form = owned(formset.form, request)
        return type(formset.__name__, (ScopedRows, formset), {})

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        formfield = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if formfield is not None:
            widget = formfield.widget
            widget = widget.widget if isinstance(widget, RelatedFieldWidgetWrapper) else widget
            widget.attrs["aria-label"] = str(formfield.label or db_field.verbose_name)
        return formfield


class TabularInline(Inline, theme.TabularInline):
    """Children as rows of a table."""


class StackedInline(Inline, theme.StackedInline):
    """Children one below the other."""
