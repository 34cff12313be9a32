"""A first operator, or another one: with default seller, portal, owner, and whatever higher apps add."""

from __future__ import annotations

from argparse import ArgumentParser
from getpass import getpass
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.accounts import selectors, services
from apps.accounts.models import Brand, Operator, Seller, User
from apps.accounts.permissions import PlatformRole
from apps.core.actor import Actor, Kind

ADDRESS = ("street", "postal_code", "city")


class Command(BaseCommand):
    help = "Create an operator with its owner, default seller and portal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--slug", required=True, help="short name, in lower case")
        parser.add_argument("--country", required=True, help="ISO 3166-1, two letters")
        for part in ADDRESS:
            parser.add_argument(f"--{part.replace('_', '-')}", default="", help="of the seller, as invoices show it")
        parser.add_argument("--owner-email", required=True)
        parser.add_argument("--password", help="asked for when the owner is new and this is missing")
        parser.add_argument("--brand-host", help="the portal's host; <slug>.localhost if missing")
        parser.add_argument("--language", default="en", choices=["en", "de"])
        parser.add_argument("--platform", action="store_true", help="make the owner the platform's owner too")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor(kind=Kind.SYSTEM, label="create_operator")
        try:
            with transaction.atomic():
                owner = self._owner(options["owner_email"].strip().lower(), options["password"])
                if options["platform"]:
                    owner.platform_role = PlatformRole.OWNER
                    owner.save(update_fields=["platform_role"])
                    services.record_audit(actor=actor, action="user.made_platform_owner", target=owner)
                operator = services.create_operator(
                    actor=actor,
                    name=options["name"],
                    slug=options["slug"],
                    country=options["country"],
                    owner=owner,
                    brand_host=options["brand_host"] or f"{options['slug']}.localhost",
                    language=options["language"],
                    **{part: options[part] for part in ADDRESS},
                )
        except ValidationError as error:
            raise CommandError("\n".join(error.messages)) from error
        self._say(operator, owner)

    def _owner(self, email: str, password: str | None) -> User:
        known = User.objects.filter(email=email).first()
        if known is not None:
            return known
        password = password or getpass(f"Password for {email}: ")
        owner = User(email=email)
        validate_password(password, owner)
        owner.set_password(password)
        owner.full_clean()
        owner.save()
        EmailAddress.objects.create(user=owner, email=email, verified=True, primary=True)
        return owner

    def _say(self, operator: Operator, owner: User) -> None:
        self.stdout.write(f"{operator} is ready.")
        self.stdout.write(f"  Back office  {selectors.public_url('/', brand=None)}")
        brand = Brand.objects.unscoped("the brand just made").get(operator=operator)
        self.stdout.write(f"  Portal       {selectors.public_url('/', brand=brand)}")
        self.stdout.write(f"  Owner        {owner}")
        if owner.platform_role:
            self.stdout.write("  The platform's pages open once the owner has signed in with a second factor.")
        seller = Seller.objects.unscoped("the seller just made").get(operator=operator)
        wanted = ["a VAT registration"] if seller.street and seller.city else ["its address", "a VAT registration"]
        self.stdout.write(f"Before the first invoice, the seller needs {' and '.join(wanted)}:")
        self.stdout.write(f"  {selectors.public_url(f'/accounts/seller/{seller.pk}/change/', brand=None)}")
