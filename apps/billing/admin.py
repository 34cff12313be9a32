"""Billing runs with their drafts, invoices and credit notes. Everything is seen and nothing edited; what may be done
are buttons, and for many at once after a preview."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models import OuterRef, Subquery
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.selectors import operator_today
from apps.billing import pdf, selectors, services
from apps.billing.forms import StartForm
from apps.billing.models import BillingRun, Delivery, Invoice, InvoiceKind, InvoiceLine, InvoiceState, RunState
from apps.core import live
from apps.core.admin import ActionVariant, ReadOnlyAdmin, ReasonForm, RelatedFilter, action, display, reason_action
from apps.core.csv import csv_response
from apps.core.templatetags.parts import at_place, money
from apps.notifications.models import MailState

MAX_BULK = 200
LINES_A_PAGE = 100
DRAFTS_SHOWN = 50

_RUN_TONES = {
    RunState.DRAFTING: "info",
    RunState.DRAFTED: "warning",
    RunState.FINALISING: "info",
    RunState.FINALISED: "success",
}
_TONES = {
    InvoiceState.DRAFT: "info",
    InvoiceState.STOPPED: "danger",
    InvoiceState.FINAL: "success",
    "cancelled": "warning",
}
_MAIL_TONES = {MailState.QUEUED: "info", MailState.SENT: "success", MailState.FAILED: "danger"}


class BillingPage(ReadOnlyAdmin):
    """Pages of our own inside the admin."""

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        request.current_app = self.admin_site.name
        full = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, **context}
        return TemplateResponse(request, template, full)

    def buttons_of(self, request: HttpRequest, pk: int) -> list[Any]:
        """The object's buttons as the theme draws them beside a page's title."""
        allowed = self.get_actions_detail(request, pk)
        buttons: list[Any] = self._get_actions_navigation(self.actions_detail, allowed, pk)
        return buttons


@admin.register(BillingRun)
class BillingRunAdmin(BillingPage):
    list_display = ("month", "number", "progress", "counted", "problems", "cut_off", "created_by")
    list_display_links = ("month",)
    list_filter = ("state",)
    list_select_related = ("created_by", "operator")
    ordering = ("-period", "-number")
    actions_list = ("start",)
    actions_detail = ("draft_again", "finalise", "lines_as_csv")
    empty_text = _("A run collects a month's sessions and base fees into invoices. Start one when the month is over.")

    @display(description=_("month"), ordering="period")
    def month(self, run: BillingRun) -> str:
        return selectors.month_in_words(run.period)

    @display(description=_("state"), ordering="state", label=_RUN_TONES)
    def progress(self, run: BillingRun) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @display(description=_("done"))
    def counted(self, run: BillingRun) -> str:
        return f"{run.done} / {run.total}"

    @display(description=_("cut-off"), ordering="cutoff_at")
    def cut_off(self, run: BillingRun) -> str:
        return at_place(run.cutoff_at, run.operator.time_zone)

    # --- start ---
    def has_run_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("billing.run_billingrun"))

    @action(description=_("Start a run"), url_path="start", icon="play_arrow", permissions=["run"])
    def start(self, request: HttpRequest) -> HttpResponse:
        """Choose the month; the drafts are made by the task cluster."""
        if not self.has_run_permission(request):
            raise PermissionDenied
        today = operator_today(request.actor.operator_id)
        form = StartForm(request.POST if request.method == "POST" else None, today=today)
        if request.method == "POST" and form.is_valid():
            try:
                run = services.start_run(actor=request.actor, period=form.cleaned_data["period"])
            except ValidationError as refusal:
                form.add_error(None, refusal.messages)
            else:
                return redirect("admin:billing_billingrun_change", run.pk)
        context = {
            "form": form,
            "consequence": gettext(
                "All that is not billed yet becomes drafts. Nothing gets a number and nothing is sent before you"
                " finalise the run."
            ),
            "original": "",
            "back": reverse("admin:billing_billingrun_changelist"),
        }
        return self.page(request, "billing/start.html", gettext("Start a run"), **context)

    # --- one run ---
    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        run = self.get_object(request, object_id)
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        topic = f"billing_run.{run.pk}"
        drafts = Invoice.objects.visible_to(request.actor).filter(run=run).defer("snapshot").select_related("account")
        stopped = drafts.filter(state=InvoiceState.STOPPED).order_by("account__number")
        others = drafts.exclude(state=InvoiceState.STOPPED).order_by("-gross", "account__number")
        sums = sums_of(others.order_by().values_list("currency", "gross"))
        return self.page(
            request,
            "billing/run.html",
            selectors.month_in_words(run.period),
            subtitle=gettext("run %(number)d") % {"number": run.number},
            original=run,
            run=run,
            percent=100 * run.done // max(run.total, 1),
            sums=sums,
            stopped=stopped[:DRAFTS_SHOWN],
            stopped_count=stopped.count(),
            others=others[:DRAFTS_SHOWN],
            others_count=sum(one["count"] for one in sums),
            shown=DRAFTS_SHOWN,
            actions_detail=self.buttons_of(request, run.pk),
            topics=topic,
            token=live.sign([topic], request.actor),
        )

    @reason_action(
        description=_("Draft again"),
        permission="billing.run_billingrun",
        consequence=_("The drafts are thrown away and made anew, with all that was priced or put right until now."),
        applies=lambda run: run.state == RunState.DRAFTED,
        icon="refresh",
    )
    def draft_again(self, request: HttpRequest, run: BillingRun, form: ReasonForm) -> None:
        services.draft_again(actor=request.actor, run=run, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The run is drafted again."), messages.SUCCESS)

    @action(description=_("Finalise"), url_path="finalise", icon="task_alt", permissions=["finalise"])
    def finalise(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What becomes final and what stays behind, then the reason, then the numbers."""
        run = self.get_object(request, object_id)
        if not self.has_finalise_permission(request):
            raise PermissionDenied
        back = redirect("admin:billing_billingrun_change", run.pk)
        if run.state != RunState.DRAFTED:
            self.message_user(request, gettext("That is not possible any more."), messages.WARNING)
            return back
        form = ReasonForm(request.POST if request.method == "POST" else None, request=request, obj=run)
        if request.method == "POST" and form.is_valid():
            try:
                services.finalise_run(actor=request.actor, run=run, why=form.cleaned_data["why"])
            except ValidationError as refusal:
                form.add_error(None, refusal.messages)
            else:
                self.message_user(request, gettext("The invoices get their numbers now."), messages.SUCCESS)
                return back
        drafts = Invoice.objects.visible_to(request.actor).filter(run=run).defer("snapshot").select_related("account")
        ready = drafts.filter(state=InvoiceState.DRAFT)
        stopped = drafts.filter(state=InvoiceState.STOPPED).order_by("account__number")
        return self.page(
            request,
            "billing/finalise.html",
            gettext("Finalise"),
            subtitle=str(run),
            original=run,
            form=form,
            sums=sums_of(ready.values_list("currency", "gross")),
            stopped=stopped[:DRAFTS_SHOWN],
            stopped_count=stopped.count(),
            shown=DRAFTS_SHOWN,
            largest=ready.order_by("-gross")[:5],
            back=reverse("admin:billing_billingrun_change", args=[run.pk]),
        )

    def has_finalise_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("billing.finalise_billingrun"))

    def get_actions_detail(self, request: HttpRequest, object_id: int | str) -> list[Any]:
        allowed = super().get_actions_detail(request, object_id)
        state = self.get_object(request, str(object_id)).state
        return [one for one in allowed if state == RunState.DRAFTED or not one.action_name.endswith("_finalise")]

    @action(description=_("Lines as CSV"), url_path="lines", icon="download")
    def lines_as_csv(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """For the bookkeeper: every line of the run's final invoices and of what took them back."""
        run = self.get_object(request, object_id)
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        name = f"lines-{run.period:%Y-%m}-{run.number}"
        return csv_response(name, selectors.ledger_rows(request.actor, run))


def sums_of(amounts: Iterable[tuple[str, Decimal]]) -> list[dict[str, Any]]:
    """How many there are and what they come to, a currency, of (currency, gross): summed here, not by SQL."""
    found: dict[str, list[Decimal]] = defaultdict(list)
    for currency, gross in amounts:
        found[currency].append(gross)
    return [
        {"currency": currency, "count": len(rows), "gross": money(sum(rows, Decimal(0)), currency)}
        for currency, rows in sorted(found.items())
    ]


@admin.register(Invoice)
class InvoiceAdmin(BillingPage):
    list_display = ("name", "account", "kind", "progress", "mailed", "issue_date", "total", "run")
    list_display_links = ("name",)
    list_filter = ("state", "kind", ("run", RelatedFilter), ("account", RelatedFilter), ("seller", RelatedFilter))
    list_select_related = ("account", "run", "credit_note", "operator")
    search_fields = ("number", "account__name", "account__number")
    search_help_text = _("Number or customer")
    ordering = ("-pk",)
    actions = ("deliver_selected", "cancel_selected")
    actions_detail = ("as_pdf", "deliver_again", "cancel")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Invoice]:
        last = Delivery.objects.visible_to(request.actor).filter(invoice=OuterRef("pk")).order_by("-pk")
        rows = super().get_queryset(request).defer("snapshot", "credit_note__snapshot")
        found: models.QuerySet[Invoice] = rows.annotate(mail_state=Subquery(last.values("mail__state")[:1]))
        return found

    @display(description=_("invoice"), ordering="number")
    def name(self, invoice: Invoice) -> str:
        return invoice.number or gettext("draft")

    @display(description=_("state"), ordering="state", label=_TONES)
    def progress(self, invoice: Invoice) -> tuple[str, str]:
        if getattr(invoice, "credit_note", None) is not None:
            return "cancelled", gettext("cancelled")
        return invoice.state, invoice.get_state_display()

    @display(description=_("e-mail"), label=_MAIL_TONES)
    def mailed(self, invoice: Invoice) -> tuple[str, str] | None:
        state = getattr(invoice, "mail_state", None)
        return (state, str(MailState(state).label)) if state else None

    @display(description=_("total"), ordering="gross")
    def total(self, invoice: Invoice) -> str:
        return money(invoice.gross, invoice.currency)

    # --- one invoice ---
    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        invoice = self.get_object(request, object_id)
        if not self.has_view_permission(request, invoice):
            raise PermissionDenied
        lines = InvoiceLine.objects.visible_to(request.actor).filter(invoice=invoice).select_related("cdr")
        deliveries = Delivery.objects.visible_to(request.actor).filter(invoice=invoice).select_related("mail")
        return self.page(
            request,
            "billing/invoice_page.html",
            invoice.number or gettext("Draft"),
            subtitle=str(invoice.account),
            original=invoice,
            invoice=invoice,
            credit_note=getattr(invoice, "credit_note", None),
            lines=Paginator(lines.order_by("position"), LINES_A_PAGE).get_page(request.GET.get("p")),
            deliveries=deliveries.order_by("-pk"),
            file=getattr(invoice, "file", None),
            no_pdf=pdf.why_unavailable(),
            packages=pdf.PACKAGES,
            zone=invoice.operator.time_zone,
            actions_detail=self.buttons_of(request, invoice.pk),
        )

    @action(description=_("PDF"), url_path="pdf", icon="picture_as_pdf")
    def as_pdf(self, request: HttpRequest, object_id: str) -> HttpResponse | FileResponse:
        invoice = self.get_object(request, object_id)
        if not self.has_view_permission(request, invoice):
            raise PermissionDenied
        if not invoice.is_final:
            raise Http404
        file = getattr(invoice, "file", None)
        if file is None or not file.document.file.storage.exists(file.document.file.name):
            missing = pdf.why_unavailable() or gettext("It is being drawn. Try again in a moment.")
            self.message_user(request, gettext("There is no PDF yet. %(why)s") % {"why": missing}, messages.WARNING)
            return redirect("admin:billing_invoice_change", invoice.pk)
        return FileResponse(
            file.document.file.open("rb"), content_type="application/pdf", filename=f"{invoice.number}.pdf"
        )

    def get_actions_detail(self, request: HttpRequest, object_id: int | str) -> list[Any]:
        allowed = super().get_actions_detail(request, object_id)
        is_final = self.get_object(request, str(object_id)).is_final
        return [one for one in allowed if is_final or not one.action_name.endswith("_as_pdf")]

    @reason_action(
        description=_("Send again"),
        permission="billing.deliver_invoice",
        consequence=_("The e-mail with the link goes to the account's address once more."),
        applies=lambda invoice: invoice.is_final,
        icon="forward_to_inbox",
    )
    def deliver_again(self, request: HttpRequest, invoice: Invoice, form: ReasonForm) -> None:
        services.deliver_again(actor=request.actor, invoice=invoice, why=form.cleaned_data["why"])
        self.message_user(request, gettext("The e-mail is on its way again."), messages.SUCCESS)

    @reason_action(
        description=_("Cancel"),
        permission="billing.cancel_invoice",
        consequence=_(
            "A credit note with its own number takes the whole invoice back and goes to the customer. The sessions on"
            " it can be billed again."
        ),
        applies=lambda invoice: can_be_cancelled(invoice),
        icon="undo",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, invoice: Invoice, form: ReasonForm) -> HttpResponse:
        note = services.cancel_invoice(actor=request.actor, invoice=invoice, why=form.cleaned_data["why"])
        self.message_user(
            request, gettext("Credit note %(number)s was made.") % {"number": note.number}, messages.SUCCESS
        )
        return redirect("admin:billing_invoice_change", note.pk)

    # --- many ---
    def has_deliver_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("billing.deliver_invoice"))

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("billing.cancel_invoice"))

    @admin.action(description=_("Send again"), permissions=["deliver"])
    def deliver_selected(self, request: HttpRequest, queryset: models.QuerySet[Invoice]) -> HttpResponse | None:
        consequence = gettext("The e-mail with the link goes to each account's address once more.")
        return self._many(
            request, queryset, "deliver_selected", consequence, lambda one: one.is_final, services.deliver_again
        )

    @admin.action(description=_("Cancel"), permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: models.QuerySet[Invoice]) -> HttpResponse | None:
        consequence = gettext("Each gets a credit note of its own, which goes to the customer.")
        return self._many(request, queryset, "cancel_selected", consequence, can_be_cancelled, services.cancel_invoice)

    def _many(
        self,
        request: HttpRequest,
        queryset: models.QuerySet[Invoice],
        name: str,
        consequence: str,
        fits: Callable[[Invoice], bool],
        change: Callable[..., Any],
    ) -> HttpResponse | None:
        """A preview of what would happen to which invoices, then the reason, then one call an invoice."""
        chosen, left_out = list(queryset[:MAX_BULK]), max(queryset.count() - MAX_BULK, 0)
        fitting = [invoice for invoice in chosen if fits(invoice)]
        confirmed = "why" in request.POST
        form = ReasonForm(request.POST if confirmed else None, request=request, obj=None)
        if not confirmed or not form.is_valid():
            return self.page(
                request,
                "billing/many.html",
                str(self.get_action(name).description),
                form=form,
                name=name,
                fitting=fitting,
                unfitting=[invoice for invoice in chosen if invoice not in fitting],
                sums=sums_of((one.currency, one.gross) for one in fitting),
                left_out=left_out,
                most=MAX_BULK,
                consequence=consequence,
                back=reverse("admin:billing_invoice_changelist"),
            )
        refused = 0
        for invoice in fitting:
            try:
                change(actor=request.actor, invoice=invoice, why=form.cleaned_data["why"])
            except ValidationError:  # somebody else did it meanwhile
                refused += 1
        done = len(fitting) - refused
        text = ngettext("%(count)d invoice: done.", "%(count)d invoices: done.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS)
        if refused:
            text = ngettext(
                "%(count)d invoice was left as it is.", "%(count)d invoices were left as they are.", refused
            )
            self.message_user(request, text % {"count": refused}, messages.WARNING)
        return None


def can_be_cancelled(invoice: Invoice) -> bool:
    """Final, no credit note itself, and not cancelled yet."""
    return invoice.is_final and invoice.kind == InvoiceKind.INVOICE and not hasattr(invoice, "credit_note")
