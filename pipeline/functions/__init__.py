"""Function specs and calls: one inner form, and the text formats models use for them."""
