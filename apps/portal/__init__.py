"""The white-label pages on a brand's host, for fleets, site hosts and drivers."""
