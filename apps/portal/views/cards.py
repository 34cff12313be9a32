"""Cards: who has which, ordering more, ending one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.cards import services as cards_
from apps.cards.models import Token
from apps.portal import selectors
from apps.portal.filters import CardFilter
from apps.portal.forms import CardOrderForm
from apps.portal.lists import RowData
from apps.portal.tables import CardTable
from apps.portal.views.pages import confirm, list_page, page_for, same_in_all_rows, show_page


@page_for(selectors.sees_cards)
def cards(request: HttpRequest) -> HttpResponseBase:
    """All cards of the visitor's organisation."""
    rows = selectors.visible_cards(request.actor, today=_today(request))
    chosen = CardFilter(request.GET, rows, request=request)
    build = partial(selectors.card_rows, request.actor, now=timezone.now())
    table = CardTable(RowData(chosen.qs, build), exclude=same_in_all_rows(request))
    orders = selectors.orders_cards(request.actor)
    return list_page(request, "cards", table, chosen, template="portal/cards.html", orders=orders)


@page_for(selectors.orders_cards, form=True)
def order_cards(request: HttpRequest) -> HttpResponseBase:
    """Order cards: how many, for whom, where to. Changing the number keeps what is written already."""
    form = CardOrderForm(request.POST if request.method == "POST" else None, actor=request.actor)
    if request.method == "POST" and not form.is_resized and form.is_valid():
        try:
            ordered = cards_.order_tokens(actor=request.actor, **form.order())
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            told = ngettext("%(count)d card was ordered.", "%(count)d cards were ordered.", len(ordered))
            messages.success(request, told % {"count": len(ordered)})
            return redirect("portal:cards")
    return show_page(request, "portal/order_cards.html", "cards", {"form": form.shown()})


@page_for(selectors.sees_cards, form=True)
def block_card(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """A card is refused from now on."""
    return _end(
        request,
        public_id,
        cards_.block_token,
        title=_("Block the card?"),
        consequence=_(
            "From now on every charger refuses it; a session that runs goes on. Only your operator can undo this."
        ),
        button=_("Block the card"),
        done=_("%(name)s is blocked."),
    )


@page_for(selectors.sees_cards, form=True)
def report_card_lost(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """The same for a card that nobody has any more."""
    return _end(
        request,
        public_id,
        cards_.report_lost,
        title=_("Report the card lost?"),
        consequence=_("From now on every charger refuses it, and your operator knows that it is lost."),
        button=_("Report it lost"),
        done=_("%(name)s is reported lost."),
    )


def _end(
    request: HttpRequest, public_id: UUID, service: Callable[..., Token], *, done: str, **texts: Any
) -> HttpResponseBase:
    found = get_object_or_404(selectors.visible_cards(request.actor, today=_today(request)), public_id=public_id)
    [row] = selectors.card_rows(request.actor, [found], now=timezone.now())
    if not request.actor.can(selectors.BLOCK, organisation_id=found.organisation_id):
        raise Http404("card")
    return confirm(
        request,
        lambda why: service(actor=request.actor, token=found, why=why),
        subject=row.name,
        detail=" · ".join(filter(None, [row.number, row.holder, row.state_word])),
        done=done % {"name": row.name},
        here="cards",
        back="portal:cards",
        crumb=_("Cards"),
        danger=True,
        **texts,
    )


def _today(request: HttpRequest) -> dt.date:
    return timezone.now().astimezone(ZoneInfo(request.brand.operator.time_zone)).date()
