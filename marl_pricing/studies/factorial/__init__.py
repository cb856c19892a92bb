"""The factorial study of the PHANTOM methodology: what decides how a platform does against agents."""
