"""VAT ids as countries write them."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from stdnum.ch import vat as swiss
from stdnum.eu import vat as european
from stdnum.exceptions import ValidationError as InvalidNumber
from stdnum.gb import vat as british
from stdnum.no import mva as norwegian

_WITHOUT_COUNTRY = {"GB": british, "NO": norwegian}


def compact_vat_id(text: str) -> str:
    """Without blanks, dots and dashes, in capitals."""
    return "".join(character for character in text.upper() if character.isalnum())


def validate_vat_id(text: str) -> None:
    """Raises ValidationError where form or check digits are wrong. Countries outside the EU that we know no rule for
    are taken as they are written."""
    number = compact_vat_id(text)
    country, rest = number[:2], number[2:]
    try:
        if country == "EL" or country.lower() in european.MEMBER_STATES:
            european.validate(number)
        elif country == "CH":
            swiss.validate(number)
        elif country in _WITHOUT_COUNTRY:
            _WITHOUT_COUNTRY[country].validate(rest)
        elif not country.isalpha() or not rest:
            raise ValidationError(_("A VAT id begins with its country, such as DE123456788."))
    except InvalidNumber:
        raise ValidationError(_("This is no valid VAT id: its form or check digit is wrong.")) from None
