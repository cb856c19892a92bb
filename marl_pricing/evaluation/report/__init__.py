"""The report: figures, words and one page, from tables that are already made."""
