"""The AdminSite behind every plain `@admin.register`: who comes in, what is kept of what they do, what search finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from allauth.account.views import LogoutView
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.csrf import csrf_failure

from apps.accounts import selectors, services
from apps.accounts.models import AuditEntry, Operator
from apps.backoffice import navigation
from apps.backoffice.dashboard import dashboard_of
from apps.core.admin import Changes, ModelAdmin, PlatformAdmin, SearchResult, Site

# The shortcut by content type reads any tenant's row; passwords and codes are allauth's pages.
DROPPED_URLS = frozenset({"view_on_site", "password_change", "password_change_done"})
FOUND_PER_MODEL = 5


class BackofficeSite(Site):
    """Voltdesk's back office."""

    enable_nav_sidebar = True

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Take admins of our base alone: those that packages bring know no tenant (`backoffice.admin` names ours)."""
        if admin_class is not None and issubclass(admin_class, ModelAdmin):
            super().register(model_or_iterable, admin_class, **options)
        elif admin_class is None or admin_class.__module__.startswith("apps."):
            raise ImproperlyConfigured(f"{admin_class} must derive from apps.core.admin.ModelAdmin")

    # --- who comes in ---
    def has_permission(self, request: HttpRequest) -> bool:
        actor = request.actor
        return bool(request.user.is_active and (actor.operator_wide or actor.platform))

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return self._refusal(request) or inner(request, *args, **kwargs)

        return guarded

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        """What is shown instead of the page: sign in, choose an operator, set up a second factor; or None."""
        actor = request.actor
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), reverse("account_login"))
        match = request.resolver_match
        model_admin = getattr(match.func, "model_admin", None) if match else None
        if getattr(request.user, "platform_role", "") and not actor.platform:
            if isinstance(model_admin, PlatformAdmin) or actor.is_anonymous:
                context = {**self.each_context(request), "title": gettext("A second factor is needed here")}
                return render(request, "backoffice/second_factor.html", context, status=403)
        elif isinstance(model_admin, PlatformAdmin) and not actor.platform:
            raise Http404("for platform staff")
        if actor.is_anonymous:
            raise Http404("no role on this host")
        if request.method == "POST" and self._has_left_operator(request):
            return csrf_failure(request)
        if actor.operator_id is None and not isinstance(model_admin, PlatformAdmin) and not self._is_home(request):
            return self._choose(request)
        return None

    def _has_left_operator(self, request: HttpRequest) -> bool:
        """Whether the operator that was chosen is gone and another one stands in: once, what is open in the browser may
        be meant for the one before. As where somebody chooses (`entrance.choose_operator`), its tokens end."""
        chosen, operator_id = request.session.get(selectors.OPERATOR_SESSION_KEY), request.actor.operator_id
        if chosen is None or operator_id in (None, chosen):
            return False
        request.session[selectors.OPERATOR_SESSION_KEY] = operator_id
        rotate_token(request)
        return True

    def _is_home(self, request: HttpRequest) -> bool:
        """Pages that platform staff see without an operator (`None` is the catch-all, which answers 404)."""
        actor = request.actor
        names = ("index", "search", "jsi18n", "autocomplete", "logout", None)
        return actor.platform and request.resolver_match is not None and request.resolver_match.url_name in names

    def _choose(self, request: HttpRequest) -> HttpResponseRedirect:
        return redirect(f"{reverse('choose_operator')}?{urlencode({'next': request.get_full_path()})}")

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The admin's own form is never shown: allauth's asks for the second factor too."""
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"), reverse("account_login"))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return LogoutView.as_view()(request)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        return [one for one in super().get_urls() if getattr(one, "name", None) not in DROPPED_URLS]

    # --- what is kept ---
    def record(
        self, request: HttpRequest, *, action: str, target: models.Model, changes: Changes, why: str = ""
    ) -> None:
        """Write the audit trail: of the operator whose row it is, or of the platform."""
        actor = request.actor
        if isinstance(target, Operator):
            actor = replace(actor, operator_id=target.pk)
        elif not hasattr(target, "operator_id"):
            actor = replace(actor, operator_id=None)
        services.record_audit(
            actor=actor, action=action, target=target, before=changes.before, after=changes.after, why=why
        )

    def history_of(self, request: HttpRequest, target: models.Model) -> models.QuerySet[AuditEntry]:
        return selectors.history_of(target=target, actor=request.actor)

    def get_log_entries(self, request: HttpRequest) -> Sequence[Any]:
        """No "recent actions": Django's log knows no tenant and is never written."""
        return ()

    # --- what is shown ---
    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Nothing for all apps at once: the side bar is ours (`navigation`), and this would judge every model anew."""
        return super().get_app_list(request, app_label) if app_label else []

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        # The theme asks the user before it puts the palette of `search` on a page.
        request.user.is_staff = self.has_permission(request)  # type: ignore[union-attr]
        return {**super().each_context(request), **navigation.operator_context(request)}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        steps = navigation.start_steps(request)
        context: dict[str, Any] = {"title": navigation.HOME, "steps": steps, **(extra_context or {})}
        operator = navigation.operator_context(request).get("operator")
        if operator is not None:
            context |= dashboard_of(request.actor, operator)
        return super().index(request, context)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The command palette: pages by name, rows by their search fields. Nothing of it is cached: the theme's own
        cache is by user, who may have chosen another operator meanwhile."""
        term = request.GET.get("s", "").strip()
        if not term:
            return HttpResponse()
        started = time.monotonic()
        found = [*self._pages_named(request, term), *self._rows_found(request, term)]
        pages = Paginator(found, len(found) or 1)
        context = {
            "search_term": term,
            "page_obj": pages,
            "results": pages.page(1),
            "page_counter": 0,
            "execution_time": time.monotonic() - started,
        }
        return TemplateResponse(
            request, "unfold/helpers/command_results.html", context, headers={"HX-Trigger": "search"}
        )

    def _pages_named(self, request: HttpRequest, term: str) -> list[SearchResult]:
        return [
            SearchResult(
                title=str(item["title"]), description=str(group["title"]), link=item["link"], icon=item["icon"]
            )
            for group in navigation.sidebar(request)
            for item in group["items"]
            if term.casefold() in str(item["title"]).casefold()
        ]

    def _rows_found(self, request: HttpRequest, term: str) -> Iterator[SearchResult]:
        for model, model_admin in self._registry.items():
            if not model_admin.get_search_fields(request) or not model_admin.has_view_permission(request):
                continue
            rows, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
            for row in rows[:FOUND_PER_MODEL]:
                link = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk])
                kind = str(model._meta.verbose_name)
                yield SearchResult(title=str(row), description=kind, link=link, icon=navigation.icon_of(model))
