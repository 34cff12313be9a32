"""Signing in, on the admin's host and on a brand's."""

from __future__ import annotations

import re

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core import mail
from django.test import Client

from tests.factories.accounts import PASSWORD
from tests.factories.tasks import run_tasks

ADMIN = "admin.localhost"


def sign_in(client, host, email, password=PASSWORD, **extra):
    data = {"login": email, "password": password, **extra}
    return client.post("/accounts/login/", data, headers={"host": host})


def code_of(secret):
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


@pytest.mark.parametrize("host", [ADMIN, "amber.localhost", "fleet.amber.localhost"])
def test_everybody_signs_in_with_e_mail_and_password(client, ours, host):
    assert b'name="login"' in client.get("/accounts/login/", headers={"host": host}).content
    response = sign_in(client, host, ours.owner.email)
    assert (response.status_code, response.headers["Location"]) == (302, "/")


def test_a_wrong_password_says_so_and_opens_nothing(client, ours):
    response = sign_in(client, "amber.localhost", ours.owner.email, "wrong")
    assert "E-mail or password is wrong." in response.text
    assert client.get("/", headers={"host": "amber.localhost"}).status_code == 302


def test_too_many_attempts_are_told_to_wait(client, ours):
    for _ in range(5):
        sign_in(client, "amber.localhost", ours.owner.email, "wrong")
    response = sign_in(client, "amber.localhost", ours.owner.email)
    assert "Wait five minutes" in response.text


def attempts(client, number, *, peer, forwarded):
    """Wrong passwords of as many accounts from one place; the last answer."""
    for one in range(number):
        data = {"login": f"{one}@example.org", "password": "wrong"}
        headers = {"host": "amber.localhost", "x-forwarded-for": forwarded.format(one)}
        response = client.post("/accounts/login/", data, headers=headers, REMOTE_ADDR=peer)
    return response.text


def test_attempts_behind_a_proxy_of_ours_count_by_who_stands_before_it(client, ours):
    told = "203.0.113.{0}, 198.51.100.7"  # the first entry is the client's own invention
    assert "Wait five minutes" in attempts(client, 11, peer="127.0.0.1", forwarded=told)
    assert "Wait five minutes" not in attempts(client, 1, peer="127.0.0.1", forwarded="198.51.100.8")


def test_nobody_else_escapes_the_count_by_naming_another_address(client, ours):
    assert "Wait five minutes" in attempts(client, 11, peer="192.0.2.1", forwarded="198.51.100.{}")
    assert "Wait five minutes" not in attempts(client, 1, peer="192.0.2.2", forwarded="198.51.100.1")


@pytest.mark.parametrize("host", [ADMIN, "amber.localhost"])
def test_a_form_that_is_out_of_date_says_so(ours, host):
    client = Client(headers={"host": host}, enforce_csrf_checks=True)
    answer = client.post("/accounts/login/", {"login": ours.owner.email, "password": PASSWORD})
    assert answer.status_code == 403
    assert "This page is out of date" in answer.text
    assert "You act for" not in answer.text


@pytest.mark.parametrize("host", [ADMIN, "amber.localhost"])
def test_nobody_signs_up(client, ours, host):
    page = client.get("/accounts/signup/", headers={"host": host})
    assert "by invitation" in page.text
    assert "<form" not in page.text


@pytest.mark.parametrize("host", [ADMIN, "amber.localhost"])
def test_nobody_gives_themselves_another_address(client, ours, host):
    client.force_login(ours.driver)
    for path in ("/accounts/email/", "/accounts/confirm-email/"):
        assert client.get(path, headers={"host": host}).status_code == 404
        taken = {"email": "victim@example.org", "action_add": ""}
        assert client.post(path, taken, headers={"host": host}).status_code == 404


@pytest.mark.parametrize("host", [ADMIN, "amber.localhost"])
def test_an_authenticator_app_is_set_up_and_then_asked_for(client, ours, host):
    sign_in(client, host, ours.owner.email)
    confirm = client.get("/accounts/2fa/totp/activate/", headers={"host": host}).headers["Location"]
    page = client.post(confirm, {"password": PASSWORD}, headers={"host": host}, follow=True)
    secret = re.search(r'value="([A-Z2-7]{32})"', page.text)[1]
    response = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)}, headers={"host": host})
    assert response.status_code == 302
    client.logout()

    response = sign_in(client, host, ours.owner.email)
    assert response.headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert client.get("/", headers={"host": host}).headers.get("Location", "").startswith("/accounts/login")


@pytest.mark.parametrize("host", [ADMIN, "amber.localhost"])
@pytest.mark.parametrize("way", ["app", "recovery code"])
def test_the_second_factor_opens_the_session(client, ours, host, way):
    secret = generate_totp_secret()
    TOTP.activate(ours.owner, secret)
    codes = RecoveryCodes.activate(ours.owner).get_unused_codes()
    sign_in(client, host, ours.owner.email)
    code = code_of(secret) if way == "app" else codes[0]
    wrong = client.post("/accounts/2fa/authenticate/", {"code": "000000"}, headers={"host": host})
    assert wrong.status_code == 200
    right = client.post("/accounts/2fa/authenticate/", {"code": code}, headers={"host": host})
    assert (right.status_code, right.headers["Location"]) == (302, "/")


def test_the_admin_s_own_login_page_leads_to_ours(client, ours):
    response = client.get("/login/?next=/", headers={"host": ADMIN})
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize(
    ("host", "start"),
    [(ADMIN, "http://admin.localhost:8000/"), ("fleet.amber.localhost", "http://fleet.amber.localhost:8000/")],
)
def test_a_new_password_is_chosen_through_a_link_to_the_stored_host(client, ours, host, start):
    client.post("/accounts/password/reset/", {"email": ours.manager.email}, headers={"host": f"{host}:6666"})
    run_tasks()
    [message] = mail.outbox
    link = re.search(r"http\S+", message.body)[0]
    assert link.startswith(start)

    path = link.removeprefix(start.rstrip("/"))
    form = client.get(path, headers={"host": host}, follow=False).headers["Location"]
    fresh = {"password1": "another good phrase", "password2": "another good phrase"}
    client.post(form, fresh, headers={"host": host})
    ours.manager.refresh_from_db()
    assert ours.manager.check_password("another good phrase")


def test_an_unknown_address_gets_no_mail_and_the_same_answer(client, ours):
    answers = [
        client.post("/accounts/password/reset/", {"email": email}, headers={"host": "amber.localhost"}).headers[
            "Location"
        ]
        for email in ("nobody@example.org", ours.manager.email)
    ]
    assert answers[0] == answers[1]
    run_tasks()
    assert [message.to for message in mail.outbox] == [[ours.manager.email]]


def test_a_platform_owner_without_any_operator_gets_the_link_too(client, ours, django_user_model):
    django_user_model.objects.create_user("chief@example.org", platform_role="platform_owner")
    client.post("/accounts/password/reset/", {"email": "chief@example.org"}, headers={"host": ADMIN})
    run_tasks()
    assert "http://admin.localhost:8000/accounts/password/reset/key/" in mail.outbox[0].body


def test_a_user_without_a_role_here_is_told_so_and_sees_no_data(client, ours, rival):
    client.force_login(rival.owner)
    home = client.get("/", headers={"host": "amber.localhost"})
    assert home.status_code == 404
    assert "You have no access here" in home.text
    assert "Sign out" in home.text
    for path in ("/sessions/", "/chargers/", "/locations/"):
        assert client.get(path, headers={"host": "amber.localhost"}).status_code == 404


def test_the_user_s_language_goes_before_the_browser_s(client, ours):
    ours.manager.language = "de"
    ours.manager.save()
    client.force_login(ours.manager)
    page = client.get("/", headers={"host": "amber.localhost", "accept-language": "en"})
    assert '<html lang="de">' in page.text


def test_a_person_changes_name_and_language(client, ours):
    client.force_login(ours.driver)
    client.post("/accounts/profile/", {"name": "  Kim  ", "language": "de"}, headers={"host": "amber.localhost"})
    ours.driver.refresh_from_db()
    assert (ours.driver.name, ours.driver.language) == ("Kim", "de")
