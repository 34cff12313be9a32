"""What cards tell the apps above."""

from apps.core import events

CONTRACT_ASSIGNED = events.declare(
    "cards.contract_assigned", "What cards are bound to has changed: token_ids, operator_id."
)
