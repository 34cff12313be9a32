from __future__ import annotations

import factory
from factory.django import DjangoModelFactory

from apps.accounts.models import Brand, Membership, Operator, Organisation, Seller, User
from apps.accounts.permissions import Role

PASSWORD = "correct horse battery"


class OperatorFactory(DjangoModelFactory):
    name = factory.Sequence(lambda n: f"Operator {n}")
    slug = factory.Sequence(lambda n: f"operator-{n}")

    class Meta:
        model = Operator


class UserFactory(DjangoModelFactory):
    email = factory.Sequence(lambda n: f"user{n}@example.org")
    password = factory.django.Password(PASSWORD)

    class Meta:
        model = User


class TenantFactory(DjangoModelFactory):
    """A row of one operator, by default a new one."""

    operator = factory.SubFactory(OperatorFactory)

    class Meta:
        abstract = True

    @classmethod
    def _get_manager(cls, model_class):
        return model_class._default_manager


class OrganisationFactory(TenantFactory):
    name = factory.Sequence(lambda n: f"Organisation {n}")

    class Meta:
        model = Organisation


class SellerFactory(TenantFactory):
    legal_name = factory.Sequence(lambda n: f"Seller {n} GmbH")
    country = "DE"

    class Meta:
        model = Seller


class BrandFactory(TenantFactory):
    name = factory.Sequence(lambda n: f"Brand {n}")
    host = factory.Sequence(lambda n: f"brand{n}.localhost")

    class Meta:
        model = Brand


class MembershipFactory(TenantFactory):
    user = factory.SubFactory(UserFactory)
    role = Role.OPERATIONS

    class Meta:
        model = Membership
