"""Pages of a brand's portal."""

from django.urls import path

from apps.portal import views

app_name = "portal"
urlpatterns = [
    path("", views.home, name="home"),
    path("locations/", views.locations, name="locations"),
    path("locations/<uuid:public_id>/", views.location, name="location"),
    path("chargers/", views.stations, name="stations"),
    path("chargers/<uuid:public_id>/", views.station, name="station"),
    path("cards/", views.cards, name="cards"),
    path("cards/order/", views.order_cards, name="order_cards"),
    path("cards/<uuid:public_id>/block/", views.block_card, name="block_card"),
    path("cards/<uuid:public_id>/lost/", views.report_card_lost, name="report_card_lost"),
    path("invoices/", views.invoices, name="invoices"),
    path("invoices/<uuid:public_id>/", views.invoice, name="invoice"),
    path("invoices/<uuid:public_id>/file/", views.invoice_file, name="invoice_file"),
    path("people/", views.people, name="people"),
    path("people/invite/", views.invite, name="invite"),
    path("people/invitations/", views.invitations, name="invitations"),
    path("people/invitations/<uuid:public_id>/send-again/", views.resend_invitation, name="resend_invitation"),
    path("people/invitations/<uuid:public_id>/take-back/", views.revoke_invitation, name="revoke_invitation"),
    path("people/<uuid:public_id>/end/", views.end_access, name="end_access"),
    path("report/", views.report, name="report"),
    path("sessions/", views.sessions, name="sessions"),
    path("sessions/<uuid:public_id>/", views.session, name="session"),
]
