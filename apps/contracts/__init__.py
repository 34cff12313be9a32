"""Who pays: parties, their billing accounts, and contracts whose terms change at a date."""
