"""Bases of the back office's pages: the only place that names the theme, and the one that scopes Django's admin.

Every read goes through `visible_to(request.actor)`, a row that the actor does not see is 404, a new row gets the
actor's operator before it is validated, and what was done is told to the site (`Site.record`), which keeps the history.

`ModelAdmin` rows that people edit · `ReadOnlyAdmin` facts · `PlatformAdmin` rows without a tenant ·
`TabularInline`, `StackedInline` children · `reason_action` a button that asks why · `RelatedFilter`, `ArchivedFilter`
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.checks import ModelAdminChecks
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.utils import get_fields_from_path, unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from unfold import admin as theme
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RelatedDropdownFilter
from unfold.dataclasses import SearchResult
from unfold.decorators import action as theme_action
from unfold.decorators import display as theme_display
from unfold.enums import ActionVariant
from unfold.sites import UnfoldAdminSite as Site
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxChoices
from unfold.widgets import UnfoldAdminSelectWidget as SelectWidget
from unfold.widgets import UnfoldAdminTextareaWidget as TextareaWidget
from unfold.widgets import UnfoldAdminTextInputWidget as TextInputWidget

from apps.core.models import ArchivableModel, TenantModel

__all__ = [
    "ActionVariant",
    "ArchivedFilter",
    "Changes",
    "CheckboxChoices",
    "DropdownFilter",
    "ModelAdmin",
    "PlatformAdmin",
    "ReadOnlyAdmin",
    "ReasonForm",
    "RelatedFilter",
    "SearchResult",
    "SelectWidget",
    "Site",
    "StackedInline",
    "TabularInline",
    "TextInputWidget",
    "TextareaWidget",
    "action",
    "display",
    "reason_action",
    "visible_rows",
]

HISTORY_PAGE = 50
_Method = TypeVar("_Method", bound=Callable[..., Any])


def action(**options: Any) -> Callable[[_Method], _Method]:
    """The theme's decorator of a button on a page, typed."""
    return cast("Callable[[_Method], _Method]", theme_action(**options))


def display(**options: Any) -> Callable[[_Method], _Method]:
    """The theme's decorator of a shown value, typed."""
    return cast("Callable[[_Method], _Method]", theme_display(**options))


def visible_rows(model: type[models.Model], request: HttpRequest) -> models.QuerySet[Any]:
    """The rows of `model` that the request's actor sees; of models without a tenant, all for platform staff alone."""
    rows = model.objects
    if hasattr(rows, "visible_to"):
        return cast("models.QuerySet[Any]", rows.visible_to(request.actor))
    return cast("models.QuerySet[Any]", rows.all() if request.actor.platform else rows.none())


@dataclass(frozen=True)
class Changes:
    """What a form changed: field → value before, field → value after, as plain text and numbers."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.before or self.after)


class History(Protocol):
    """The site's part in this: it stands above `accounts` and keeps the audit trail."""

    def record(
        self, request: HttpRequest, *, action: str, target: models.Model, changes: Changes, why: str = ""
    ) -> None: ...

    def history_of(self, request: HttpRequest, target: models.Model) -> Sequence[Any]: ...


# --- scope ------------------------------------------------------------------------------------------------------------
class Owned:
    """Mixed into every model form: a new row belongs to the actor's operator before anything is checked."""

    operator_id: ClassVar[int | None] = None
    refusal: ClassVar[ValidationError | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        instance = self.instance
        if isinstance(instance, TenantModel) and instance._state.adding:
            instance.operator_id = self.operator_id  # type: ignore[assignment]

    def _get_validation_exclusions(self) -> set[str]:
        # Django checks no constraint that names a field outside the form; ours name the operator and rows in use.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"operator", "archived_at"}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.refusal is not None:
            for name, errors in _by_field(self.refusal, self.fields).items():
                self.add_error(name, errors)


def owned(form: type[forms.BaseModelForm[Any]], request: HttpRequest) -> type[forms.BaseModelForm[Any]]:
    attributes = {"operator_id": request.actor.operator_id, "refusal": getattr(request, "refusal", None)}
    return type(form.__name__, (Owned, form), attributes)


def _by_field(error: ValidationError, fields: Any) -> dict[str | None, list[Any]]:
    named: dict[str | None, list[Any]] = {}
    for name, errors in getattr(
        error, "error_dict", {None: error.error_list if hasattr(error, "error_list") else []}
    ).items():
        named.setdefault(name if name in fields else None, []).extend(errors)
    return named


class Scoped:
    """What ModelAdmin and inlines have in common: reads through the actor, no deletion unless `deletable`."""

    deletable: ClassVar[bool] = False
    view_on_site = False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = visible_rows(self.model, request)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        related = db_field.remote_field.model
        rows = visible_rows(related, request)
        if issubclass(related, ArchivableModel):
            rows = rows.filter(archived_at=None)
        try:
            ordering = self.admin_site.get_model_admin(related).get_ordering(request)
        except NotRegistered:
            return rows
        return rows.order_by(*ordering) if ordering else rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.deletable and bool(super().has_delete_permission(request, obj))  # type: ignore[misc]


class RelatedFilter(RelatedDropdownFilter):
    """Filter by a related row, with the actor's rows only among the choices."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        rows = visible_rows(field.related_model, request)
        ordering = self.field_admin_ordering(field, request, model_admin)
        return [(row.pk, str(row)) for row in (rows.order_by(*ordering) if ordering else rows)]


class ArchivedFilter(DropdownFilter):
    """Archived rows are out of sight until they are asked for."""

    title = gettext_lazy("archive")
    parameter_name = "archived"
    all_option: ClassVar[list[Any]] = ["", gettext_lazy("In use")]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", gettext("Archived")), ("all", gettext("Both"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(archived_at__isnull=self.value() != "yes")


# --- buttons that ask why ---------------------------------------------------------------------------------------------
class ReasonForm(forms.Form):
    """Why somebody does this. Subclass it for further fields; `request` and `obj` are there to scope their choices."""

    why = forms.CharField(
        label=gettext_lazy("Why"),
        help_text=gettext_lazy("One sentence for those who read the history later."),
        max_length=300,
        widget=TextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, request: HttpRequest, obj: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.obj = request, obj
        self.order_fields([*(name for name in self.fields if name != "why"), "why"])


def reason_action(
    *,
    description: Any,
    permission: str,
    consequence: Any,
    applies: Callable[[Any], bool] | None = None,
    form_class: type[ReasonForm] = ReasonForm,
    icon: str | None = None,
    variant: ActionVariant = ActionVariant.DEFAULT,
    url_path: str | None = None,
) -> Callable[[Callable[..., HttpResponse | None]], Callable[..., HttpResponse]]:
    """A button on an object's page that says what will happen, asks why, and then calls the method once.

    The method takes `(request, obj, form)` with a valid form, makes one service call with `form.cleaned_data["why"]`
    and may return a response (default: back to the object). A `ValidationError` it raises is shown on the page.
    `permission` is `app.action_model`, or `change` for the model's own; `applies(obj)` hides the button where it makes
    no sense. List the method's name in `actions_detail`.
    """

    def decorate(method: Callable[..., HttpResponse | None]) -> Callable[..., HttpResponse]:
        def view(self: ModelAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
            obj = self.get_object(request, unquote(object_id))
            if not _allows(self, permission, request, obj):
                raise PermissionDenied
            back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])
            if applies is not None and not applies(obj):
                self.message_user(request, gettext("That is not possible any more."), messages.WARNING)
                return HttpResponseRedirect(back)
            form = form_class(request.POST if request.method == "POST" else None, request=request, obj=obj)
            if request.method == "POST" and form.is_valid():
                try:
                    return method(self, request, obj, form) or HttpResponseRedirect(back)
                except ValidationError as error:
                    form.add_error(None, error)
            context = {
                **self.admin_site.each_context(request),
                "title": description,
                "subtitle": str(obj),
                "opts": self.opts,
                "original": obj,
                "form": form,
                "consequence": consequence,
                "dangerous": variant is ActionVariant.DANGER,
                "back": back,
            }
            request.current_app = self.admin_site.name
            return TemplateResponse(request, "backoffice/reason.html", context)

        view.__name__ = view.original_function_name = method.__name__
        view.__doc__ = method.__doc__
        view.short_description = description
        view.allowed_permissions = [permission]
        view.applies = applies
        view.icon = icon
        view.variant = variant
        view.attrs = {}
        view.extra_options = {}
        view.url_path = url_path or method.__name__.replace("_", "-")
        return view

    return decorate


def _allows(model_admin: ModelAdmin, permission: str, request: HttpRequest, obj: Any) -> bool:
    if "." in permission:
        return bool(request.user.has_perm(permission))
    return bool(getattr(model_admin, f"has_{permission}_permission")(request, obj))


# --- pages ------------------------------------------------------------------------------------------------------------
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


# --- what a form changed ----------------------------------------------------------------------------------------------
def changes_of(form: Any, formsets: Iterable[Any]) -> Changes:
    """The changes of a saved admin form and its inlines. Children are named by model and key: `contact 7.phone`."""
    before, after = dict[str, Any](), dict[str, Any]()
    for prefix, one in [("", form), *_changed_children(formsets)]:
        for name in one.changed_data:
            if one.initial:
                before[f"{prefix}{name}"] = _told(one.fields[name], one.initial.get(name))
            after[f"{prefix}{name}"] = _told(one.fields[name], one.cleaned_data.get(name))
    for formset in formsets:
        for child in formset.deleted_objects:
            before[f"{child._meta.model_name} {child}"] = gettext("removed")
    return Changes(before, after)


def _changed_children(formsets: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for formset in formsets:
        for form in formset.forms:
            if form.has_changed() and form not in formset.deleted_forms:
                yield f"{form.instance._meta.model_name} {form.instance.pk}.", form


def _told(form_field: forms.Field, value: Any) -> Any:
    if getattr(form_field.widget, "input_type", "") == "password":
        return gettext("(secret)") if value else ""
    if isinstance(form_field, forms.ModelChoiceField) and not isinstance(value, models.Model | None):
        found = form_field.queryset.filter(pk=value).first() if form_field.queryset is not None else None
        return plain(found if found is not None else value)
    return plain(value)


def plain(value: Any) -> Any:
    """`value` as the audit trail keeps it: JSON's own types as they are, a row by name and key, all else as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, models.Model):
        return f"{value} ({value.pk})"
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset | models.QuerySet):
        return [plain(one) for one in value]
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)
