"""Sales data → estimates of demand → a market. Used before a market runs, never inside it; extra `calibration`."""
