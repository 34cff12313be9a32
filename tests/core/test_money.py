"""Which currencies prices may be in."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from apps.core.money import validate_currency


@pytest.mark.parametrize("code", ["EUR", "CHF", "SEK", "JPY", "USD"])
def test_a_currency_that_people_pay_with_is_taken(code):
    validate_currency(code)


@pytest.mark.parametrize("code", ["DEM", "ITL", "XTS", "XAU", "eur", "EU", "", "Euro", "E\u0420R"])
def test_any_other_code_is_refused(code):
    with pytest.raises(ValidationError):
        validate_currency(code)
