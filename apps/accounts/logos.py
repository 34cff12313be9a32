"""A brand's logo as it may be shown: whatever was uploaded is drawn anew, so only pixels remain of it."""

from __future__ import annotations

import io
import warnings
from typing import IO

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.utils.translation import gettext_lazy as _
from PIL import Image, UnidentifiedImageError

MAX_BYTES = 2 * 1024 * 1024
MAX_SIDE = 4000
SHOWN_SIDE = 800
FORMATS = ("PNG", "JPEG", "WEBP")


def redrawn(upload: IO[bytes], size: int) -> ContentFile[bytes]:
    """PNG, JPEG or WebP of at most 2 MB and 4000 × 4000 px → a PNG of at most 800 px without metadata.

    Raises `ValidationError` with a text for the person who uploaded it.
    """
    if size > MAX_BYTES:
        raise ValidationError(_("This file is larger than 2 MB. Choose a smaller one."))
    upload.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(upload, formats=FORMATS) as image:
                if max(image.size) > MAX_SIDE:
                    raise ValidationError(_("This picture is larger than 4000 × 4000 pixels. Choose a smaller one."))
                pixels = image.convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _not_a_picture() from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _not_a_picture() from error
    pixels.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    bare = Image.new("RGBA", pixels.size)
    bare.paste(pixels)
    out = io.BytesIO()
    bare.save(out, format="PNG", optimize=True)
    return ContentFile(out.getvalue())


def _not_a_picture() -> ValidationError:
    return ValidationError(_("This file is not a PNG, JPEG or WebP picture. Choose another one."))
