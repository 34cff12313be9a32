"""Who there is and what they may do: operators, organisations, brands, users, roles, API keys, the audit trail.

Beside the usual files: `permissions` (the one table role × permission), `middleware` (host → brand, request →
Actor), `adapters` (allauth's hooks), `contrast` (whether an accent can be read), `logos` (pictures drawn anew),
 `history` (the audit trail in words), `periods` (that those of one thing do not overlap, kept by the database),
 `vat_ids` (VAT ids as countries write them), `addresses` (from where somebody comes), `zones` (time zones by name).
"""
