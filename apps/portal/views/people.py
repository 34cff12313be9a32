"""People of the visitor's organisation."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.accounts import services as accounts
from apps.accounts.selectors import manages_people
from apps.portal import selectors
from apps.portal.filters import InvitationFilter, PersonFilter
from apps.portal.forms import InviteForm
from apps.portal.lists import RowData
from apps.portal.tables import InvitationTable, PersonTable
from apps.portal.views.pages import confirm, list_page, page_for, same_in_all_rows, show_page


@page_for(manages_people)
def people(request: HttpRequest) -> HttpResponseBase:
    """Who has which role in the visitor's organisation."""
    chosen = PersonFilter(request.GET, selectors.visible_people(request.actor), request=request)
    data = RowData(chosen.qs, lambda page: selectors.person_rows(request.actor, page))
    waiting = selectors.open_invitations(request.actor, now=timezone.now()).count()
    table = PersonTable(data, exclude=same_in_all_rows(request))
    return list_page(request, "people", table, chosen, template="portal/people.html", waiting=waiting)


@page_for(manages_people)
def invitations(request: HttpRequest) -> HttpResponseBase:
    """Who was invited and has not answered."""
    waiting = selectors.open_invitations(request.actor, now=timezone.now())
    chosen = InvitationFilter(request.GET, waiting, request=request)
    table = InvitationTable(RowData(chosen.qs, selectors.invitation_rows), exclude=same_in_all_rows(request))
    return list_page(request, "people", table, chosen, template="portal/invitations.html")


@page_for(manages_people, form=True)
def invite(request: HttpRequest) -> HttpResponseBase:
    """Offer a role to somebody by e-mail."""
    form = InviteForm(request.POST if request.method == "POST" else None, actor=request.actor)
    if form.is_valid():
        try:
            accounts.invite_person(
                actor=request.actor,
                operator=request.brand.operator,
                email=form.cleaned_data["email"],
                role=form.cleaned_data["role"],
                organisation=form.cleaned_data["organisation"],
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            told = _("The invitation to %(email)s was sent.") % {"email": form.cleaned_data["email"]}
            messages.success(request, told)
            return redirect("portal:invitations")
    return show_page(request, "portal/invite.html", "people", {"form": form})


@page_for(manages_people, form=True)
def resend_invitation(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """A new link for somebody who has not answered."""
    waiting = selectors.open_invitations(request.actor, now=timezone.now())
    invitation = get_object_or_404(waiting, public_id=public_id)
    return confirm(
        request,
        lambda why: accounts.resend_invitation(actor=request.actor, invitation=invitation, why=why),
        title=_("Send the invitation again?"),
        subject=invitation.email,
        detail=f"{invitation.get_role_display()} · {invitation.organisation}",
        consequence=_("A new link is sent, valid for a week. The old link stops working."),
        button=_("Send again"),
        done=_("The invitation to %(email)s was sent again.") % {"email": invitation.email},
        here="people",
        back="portal:invitations",
        crumb=_("Open invitations"),
    )


@page_for(manages_people, form=True)
def revoke_invitation(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """An offer ends before it is taken."""
    waiting = selectors.open_invitations(request.actor, now=timezone.now())
    invitation = get_object_or_404(waiting, public_id=public_id)
    return confirm(
        request,
        lambda why: accounts.revoke_invitation(actor=request.actor, invitation=invitation, why=why),
        title=_("Take the invitation back?"),
        subject=invitation.email,
        detail=f"{invitation.get_role_display()} · {invitation.organisation}",
        consequence=_("The link in the e-mail stops working at once."),
        button=_("Take back"),
        done=_("The invitation to %(email)s was taken back.") % {"email": invitation.email},
        here="people",
        back="portal:invitations",
        crumb=_("Open invitations"),
        danger=True,
    )


@page_for(manages_people, form=True)
def end_access(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """Somebody's role in the organisation ends, perhaps the visitor's own."""
    membership = get_object_or_404(selectors.visible_people(request.actor), public_id=public_id)
    [person] = selectors.person_rows(request.actor, [membership])
    if person.is_you:
        consequence = _("You lose this role at once, and cannot give it back to yourself. Your history stays.")
    else:
        consequence = _("This person loses the role at once. Their history stays.")
    return confirm(
        request,
        lambda why: accounts.end_membership(actor=request.actor, membership=membership, why=why),
        title=_("End your own access?") if person.is_you else _("End access?"),
        subject=person.name,
        detail=f"{person.role} · {person.organisation}",
        consequence=consequence,
        button=_("End access"),
        done=_("%(name)s no longer has this role.") % {"name": person.name},
        here="people",
        back="portal:people",
        crumb=_("People"),
        then="portal:home" if person.is_you else "portal:people",
        danger=True,
    )
