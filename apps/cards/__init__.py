"""Tokens: RFID cards and other ids that drivers present, their states and their UID in one normal form.

Beside the usual files: `uid` (normalisation, pure), `kinds` (cards as CSV, for `installations.imports`)."""
