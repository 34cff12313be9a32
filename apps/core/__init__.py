"""What every app shares and no app owns: who acts, what they may see, how apps talk to each other.

No tables. Nothing lives here that fewer than three apps use. Beside the usual files: `actor` (who acts), `live`
(hints to open pages) and `consumers` (their websocket), `money` (exact, rounded once), `csv` (text that no
spreadsheet runs), `guards` (what a service asks before it acts), `immutable` (documents that nothing changes any
more), `bulk` (one statement a table, on both databases), `timeseries` (monthly partitions), `schedules` (work that
runs again and again), `middleware` (content security by host).
"""
