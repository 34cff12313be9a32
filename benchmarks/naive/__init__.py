"""The design that one writes first: a stock Channels consumer, the `ocpp` library, the ORM; a row a sampled value."""
