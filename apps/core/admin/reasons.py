"""Buttons, and those that say what will happen and ask why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy
from unfold.decorators import action as theme_action
from unfold.decorators import display as theme_display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget as TextareaWidget

from apps.core.admin.scope import add_refusal

if TYPE_CHECKING:
    from apps.core.admin.pages import ModelAdmin

_Method = TypeVar("_Method", bound=Callable[..., Any])


def action(**options: Any) -> Callable[[_Method], _Method]:
    """The theme's decorator of a button on a page, typed."""
    return cast("Callable[[_Method], _Method]", theme_action(**options))


def display(**options: Any) -> Callable[[_Method], _Method]:
    """The theme's decorator of a shown value, typed."""
    return cast("Callable[[_Method], _Method]", theme_display(**options))


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
                    add_refusal(form, error)
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
