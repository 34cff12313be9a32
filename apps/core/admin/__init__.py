"""Bases of the back office's pages: the only package that names the theme, and the one that scopes Django's admin.

Every read goes through `visible_to(request.actor)`, a row that the actor does not see is 404, a new row gets the
actor's operator before it is validated, and what was done is told to the site (`Site.record`), which keeps the history.

`ModelAdmin` rows that people edit · `ReadOnlyAdmin` facts · `PlatformAdmin` rows without a tenant ·
`TabularInline`, `StackedInline` children · `reason_action` a button that asks why · `RelatedFilter`, `ColumnFilter`,
`ArchivedFilter` of lists · `render_page` a page of our own · `add_refusal` a service's refusal in a form
"""

from unfold.contrib.filters.admin import DropdownFilter
from unfold.dataclasses import SearchResult
from unfold.enums import ActionVariant
from unfold.sites import UnfoldAdminSite as Site
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxChoices
from unfold.widgets import UnfoldAdminSelectWidget as SelectWidget
from unfold.widgets import UnfoldAdminTextareaWidget as TextareaWidget
from unfold.widgets import UnfoldAdminTextInputWidget as TextInputWidget

from apps.core.admin.changes import Changes
from apps.core.admin.pages import (
    ModelAdmin,
    PlatformAdmin,
    ReadOnlyAdmin,
    StackedInline,
    TabularInline,
    render_page,
)
from apps.core.admin.reasons import ReasonForm, action, display, reason_action
from apps.core.admin.scope import ArchivedFilter, ColumnFilter, RelatedFilter, add_refusal, visible_rows

__all__ = [
    "ActionVariant",
    "ArchivedFilter",
    "Changes",
    "CheckboxChoices",
    "ColumnFilter",
    "DropdownFilter",
    "ModelAdmin",
    "PlatformAdmin",
    "ReadOnlyAdmin",
    "ReasonForm",
    "RelatedFilter",
    "SearchResult",
    "SelectWidget",
    "Site",
    "StackedInline",
    "TabularInline",
    "TextInputWidget",
    "TextareaWidget",
    "action",
    "add_refusal",
    "display",
    "reason_action",
    "render_page",
    "visible_rows",
]
