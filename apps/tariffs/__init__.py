"""What charging costs: tariffs in OCPI's shape with immutable versions, VAT rates, and the engine that rates a session.

`elements` reads and checks a tariff's OCPI JSON, `rating` is the engine (pure: no database, no clock), `parking` finds
when a car only stands there, `words` says a tariff in sentences, `week` draws its week,
`vat` lists the statutory rates.
"""
