"""People and agents who visit a shop over HTTP, as the storefront would send them, with known truth."""
