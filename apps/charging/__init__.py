"""What is charged: authorisation, sessions, readings, and the review of what is doubtful about them.

Beside the usual files: `facts` (what a message says and what the database knows, version-neutral), `decisions` (what
a message means: pure functions of facts), `store` (loads facts and writes decisions, one statement a table), `meter`
(readings from samples, pure), `energy` (its units), `curve` (power over time as a picture), `prices` (how a CDR's
price came about, as lines), `commands` (which sessions a charger may be asked to stop).
"""
