"""Reports about consumption, for pages and documents. `charts` draws the bars of both, `documents` makes the PDF."""
