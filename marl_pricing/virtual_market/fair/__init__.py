"""One promotion policy for all customers: learned or planned, beside rules, as a page and as a submission."""
