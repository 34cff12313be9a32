"""A tariff in words and as a week's picture."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from django.utils import translation

from apps.tariffs.week import weeks_of
from apps.tariffs.words import days_words, duration_words, lines_of, notes_of
from tests.tariffs.worlds import element, price, terms

OFFICE = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
DAY = dt.date(2026, 11, 21)  # a Saturday
TARIFF = terms(
    element(price("ENERGY", "0.59"), day_of_week=OFFICE, start_time="08:00", end_time="18:00"),
    element(price("ENERGY", "0.3949", 500), start_time="22:00", end_time="06:00"),
    element(price("PARKING_TIME", "6", 900), min_duration=14400),
    element(price("ENERGY", "0.49"), price("FLAT", "0.5", vat_class="reduced")),
    fee_after_s=180,
)


def sentences_of(terms) -> list[str]:
    """The whole tariff, a sentence for each dimension and each note."""
    lines = lines_of(terms)
    told = ["; ".join(f"{case.when} {case.price}".strip() for case in line.cases) for line in lines]
    return [*(f"{line.title}: {cases}." for line, cases in zip(lines, told, strict=True)), *notes_of(terms)]


def test_a_tariff_in_words():
    assert sentences_of(TARIFF) == [
        (
            "Energy: Mon–Fri 08:00–18:00 €0.59 per kWh; 22:00–06:00 €0.3949 per kWh (each 0.5 kWh begun counts whole); "
            "otherwise €0.49 per kWh."
        ),
        "Parking after charging: after 4 h €6.00 per hour (each 15 min begun count whole); otherwise free.",
        "Fee: €0.50 per session (VAT: reduced).",
        "Prices are net; VAT is added.",
        "No fee for a session without energy that is shorter than 3 min.",
    ]


def test_words_follow_the_language_of_the_page():
    with translation.override("de"):
        assert "0,3949\N{NO-BREAK SPACE}€" in sentences_of(TARIFF)[0]
        assert "Mo–Fr 08:00–18:00" in sentences_of(TARIFF)[0]


def test_what_never_applies_is_not_told():
    told = sentences_of(terms(element(price("ENERGY", "0.4")), element(price("ENERGY", "0.3"))))
    assert told[0] == "Energy: €0.40 per kWh."


def test_what_costs_nothing_is_called_free():
    told = sentences_of(terms(element(price("ENERGY", "0"), price("TIME", "1.2"))))
    assert told[:2] == ["Energy: free.", "Charging time: €1.20 per hour."]
    assert "Energy itself costs nothing." in sentences_of(terms(element(price("TIME", "1.2"))))


@pytest.mark.parametrize(
    ("restrictions", "expected"),
    [
        ({"start_time": "08:30"}, "08:30–24:00"),
        ({"end_time": "00:00", "start_time": "20:00"}, "20:00–24:00"),
        ({"start_date": "2026-06-01", "end_date": "2026-09-01"}, "June 1, 2026 to Aug. 31, 2026"),
        ({"start_date": "2026-06-01"}, "from June 1, 2026"),
        ({"end_date": "2026-09-01"}, "until Aug. 31, 2026"),
        ({"max_duration": 1800}, "in the first 30 min"),
        ({"min_duration": 1800, "max_duration": 5400}, "from 30 min to 1 h 30 min of the session"),
        ({"day_of_week": ["SATURDAY", "SUNDAY"], "start_date": "2026-06-01"}, "Sat, Sun, from June 1, 2026"),
    ],
)
def test_when_it_holds(restrictions, expected):
    told = sentences_of(terms(element(price("ENERGY", "1"), **restrictions), element(price("ENERGY", "2"))))
    assert told[0] == f"Energy: {expected} €1.00 per kWh; otherwise €2.00 per kWh."


@pytest.mark.parametrize(
    ("days", "expected"),
    [((0, 1, 2, 3, 4), "Mon–Fri"), ((5, 6), "Sat, Sun"), ((0, 2, 4), "Mon, Wed, Fri"), ((0, 1, 2, 6), "Mon–Wed, Sun")],
)
def test_days_in_words(days, expected):
    assert days_words(days) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0 min"), (45, "45 s"), (900, "15 min"), (5400, "1 h 30 min")])
def test_durations_in_words(seconds, expected):
    assert duration_words(seconds) == expected


def test_a_currency_without_cents_keeps_the_places_of_its_prices():
    assert sentences_of(terms(element(price("ENERGY", "63.5")), currency="JPY"))[0] == "Energy: ¥63.50 per kWh."


class TestWeek:
    def test_each_time_of_the_week_has_its_price(self):
        [energy, parking] = weeks_of(terms(*_with_clock()), DAY)
        monday, saturday = energy.days[0], energy.days[5]
        assert [(run.since, run.until, run.price) for run in monday] == [
            (0, 8 * 3600, Decimal("0.49")),
            (8 * 3600, 18 * 3600, Decimal("0.59")),
            (18 * 3600, 86400, Decimal("0.49")),
        ]
        assert [run.price for run in saturday] == [Decimal("0.49")]
        assert parking.after_s == 14400
        assert [run.price for run in parking.days[0]] == [None, Decimal(6), None]

    def test_the_table_groups_days_that_are_alike(self):
        energy = weeks_of(terms(*_with_clock()), DAY)[0]
        assert [(row.days, row.times, row.price) for row in energy.rows] == [
            ("Mon–Fri", ("00:00–08:00", "18:00–24:00"), "€0.49 per kWh"),
            ("Mon–Fri", ("08:00–18:00",), "€0.59 per kWh"),
            ("Sat, Sun", ("00:00–24:00",), "€0.49 per kWh"),
        ]

    def test_dates_choose_the_week(self):
        dated = terms(
            element(price("ENERGY", "0.2"), start_date="2026-11-18", end_date="2026-11-20"),
            element(price("ENERGY", "0.4")),
        )
        [week] = weeks_of(dated, DAY)
        assert [runs[0].price for runs in week.days] == [
            Decimal(one) for one in ["0.4", "0.4", "0.2", "0.2", "0.4", "0.4", "0.4"]
        ]
        assert week.title == "Energy, week of Nov. 16, 2026"

    def test_the_picture_is_one_svg_with_title_and_description_and_colours_of_its_own(self):
        week = weeks_of(TARIFF, DAY)[0]
        picture = ElementTree.fromstring(week.svg)
        assert picture.attrib["role"] == "img"
        assert {one.tag for one in picture} >= {"title", "desc", "rect", "text", "line"}
        assert "Mon–Fri 08:00–18:00 €0.59 per kWh" in (picture.find("desc").text or "")
        assert all("fill" in one.attrib for one in picture.iter("rect"))
        assert "style" not in week.svg

    def test_the_dearer_the_darker(self):
        picture = ElementTree.fromstring(weeks_of(TARIFF, DAY)[0].svg)
        shades = {
            (one.find("title").text or "").rpartition(": ")[2]: float(one.attrib["fill-opacity"])
            for one in picture.iter("rect")
        }
        assert shades["€0.3949 per kWh"] < shades["€0.49 per kWh"] < shades["€0.59 per kWh"]


def _with_clock() -> list[dict]:
    return [
        element(price("ENERGY", "0.59"), day_of_week=OFFICE, start_time="08:00", end_time="18:00"),
        element(price("PARKING_TIME", "6"), start_time="08:00", end_time="20:00", min_duration=14400),
        element(price("ENERGY", "0.49")),
    ]
