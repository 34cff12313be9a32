"""A brand's colours can be read, its logo is only pixels, and its host knows it at once."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from apps.accounts import contrast, logos, services
from apps.accounts.models import AuditEntry
from tests.factories.accounts import BrandFactory

colours = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
BACKGROUNDS = [contrast.LIGHT_BACKGROUND, contrast.DARK_BACKGROUND]


@given(first=colours, second=colours)
def test_contrast_is_symmetrical_and_between_1_and_21(first, second):
    ratio = contrast.contrast(first, second)
    assert ratio == contrast.contrast(second, first)
    assert 1 <= ratio <= 21.0000001


def test_contrast_knows_the_textbook_s_figures():
    assert round(contrast.contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast.contrast("#777777", "#ffffff"), 2) == 4.48
    assert round(contrast.contrast("#0000ff", "#ffffff"), 2) == 8.59


@pytest.mark.parametrize("background", BACKGROUNDS)
@given(colour=colours)
def test_the_shade_offered_passes_and_a_passing_one_stays(background, colour):
    offer = contrast.nearest_passing(colour, background)
    assert contrast.passes(offer, background)
    assert contrast.passes(colour, background) is (offer == colour)


def test_the_check_uses_the_page_s_own_backgrounds():
    css = (Path(settings.BASE_DIR) / "static/voltdesk/tokens.css").read_text()
    light_page, _ = re.search(r"--page: light-dark\((\S+), (\S+)\)", css).groups()
    _, dark_panel = re.search(r"--panel: light-dark\((\S+), (\S+)\)", css).groups()
    assert (light_page, dark_panel) == (contrast.LIGHT_BACKGROUND, contrast.DARK_BACKGROUND)


def test_an_accent_that_cannot_be_read_is_refused_with_an_offer(ours, system):
    ours.brand.accent_light = "#ffd000"
    with pytest.raises(ValidationError) as refused:
        services.save_brand(brand=ours.brand, actor=system)
    [message] = refused.value.message_dict["accent_light"]
    offer = re.findall(r"#[0-9a-f]{6}", message)[1]
    ours.brand.accent_light = offer
    assert services.save_brand(brand=ours.brand, actor=system).accent_light == offer


@pytest.mark.parametrize("colour", ["red", "#FFF", "#12345g", "#1234567", "#fff;}"])
def test_an_accent_is_written_rrggbb(ours, system, colour):
    ours.brand.accent_dark = colour
    with pytest.raises(ValidationError) as refused:
        services.save_brand(brand=ours.brand, actor=system)
    assert "accent_dark" in refused.value.message_dict


def picture(fmt="PNG", size=(40, 20), **options) -> SimpleUploadedFile:
    out = io.BytesIO()
    Image.new("RGB", size, "#336699").save(out, format=fmt, **options)
    return SimpleUploadedFile(f"logo.{fmt.lower()}", out.getvalue())


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_a_logo_becomes_a_bare_png_under_a_random_name(client, ours, system, fmt):
    ours.brand.logo_light = picture(fmt)
    services.save_brand(brand=ours.brand, actor=system)
    assert re.fullmatch(r"brands/[0-9a-f]{32}\.png", ours.brand.logo_light.name)
    with Image.open(ours.brand.logo_light.open()) as stored:
        assert (stored.format, stored.size, stored.info) == ("PNG", (40, 20), {})

    path = f"/{ours.brand.logo_light.name.replace('brands/', 'brand/')}"
    shown = client.get(path, headers={"host": "amber.localhost"})
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "image/png")
    assert client.get(path, headers={"host": "fleet.amber.localhost"}).status_code == 404
    assert path in client.get("/accounts/login/", headers={"host": "amber.localhost"}).text


def test_metadata_does_not_survive(ours, system):
    told = PngInfo()
    told.add_text("Comment", "<script>alert(1)</script>")
    ours.brand.logo_light = picture(pnginfo=told)
    services.save_brand(brand=ours.brand, actor=system)
    assert b"script" not in ours.brand.logo_light.open().read()


@pytest.mark.parametrize(
    ("upload", "says"),
    [
        (SimpleUploadedFile("a.png", b"<svg onload=alert(1)>"), "not a PNG"),
        (SimpleUploadedFile("a.png", b""), "not a PNG"),
        (SimpleUploadedFile("a.png", picture().read()[:40]), "not a PNG"),
        (SimpleUploadedFile("a.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 200), "not a PNG"),
        (picture("GIF"), "not a PNG"),
        (picture("BMP"), "not a PNG"),
        (SimpleUploadedFile("a.png", b"0" * (logos.MAX_BYTES + 1)), "larger than 2 MB"),
        (picture(size=(4001, 2)), "larger than 4000"),
    ],
)
def test_what_is_no_picture_is_refused_by_field(ours, system, upload, says):
    ours.brand.logo_dark = upload
    with pytest.raises(ValidationError) as refused:
        services.save_brand(brand=ours.brand, actor=system)
    assert says in refused.value.message_dict["logo_dark"][0]


def test_the_brand_s_colours_are_a_cacheable_style_sheet(client, ours, system):
    first = client.get("/brand.css", headers={"host": "amber.localhost"})
    assert "light-dark(#1d4ed8, #93b4ff)" in first.text
    assert "Host" in first.headers["Vary"]
    etag = first.headers["ETag"]
    again = client.get("/brand.css", headers={"host": "amber.localhost", "if-none-match": etag})
    assert again.status_code == 304


def test_a_new_colour_shows_at_once(client, ours, system, django_capture_on_commit_callbacks):
    client.get("/brand.css", headers={"host": "amber.localhost"})
    ours.brand.accent_light = "#7c2d12"
    with django_capture_on_commit_callbacks(execute=True):
        services.save_brand(brand=ours.brand, actor=system)
    assert "#7c2d12" in client.get("/brand.css", headers={"host": "amber.localhost"}).text


@pytest.mark.parametrize(
    "host", ["admin.localhost", "Admin.LOCALHOST", "admin.localhost.", "charge.localhost", "zugvogel.localhost"]
)
def test_no_brand_takes_the_installation_s_hosts_or_another_brand_s(ours, rival, system, settings, host):
    settings.CHARGER_HOST = "charge.localhost"
    taken = BrandFactory.build(operator=ours.operator, host=host)
    with pytest.raises(ValidationError) as refused:
        services.save_brand(brand=taken, actor=system)
    assert "host" in refused.value.message_dict


def test_where_a_brand_belongs_is_in_the_audit_trail(ours, system):
    ours.fleet_brand.organisation = None
    services.save_brand(brand=ours.fleet_brand, actor=system)
    entry = AuditEntry.objects.visible_to(system).get(action="brand.saved")
    assert [change for change in entry.changes if change[1] != change[2]] == [("organisation", str(ours.fleet), "")]
