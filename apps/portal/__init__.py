"""The white-label pages on a brand's host, for fleets, site hosts and drivers.

Beside the usual files: `lists` (the base of its tables: pages of typed rows, and their export)."""
