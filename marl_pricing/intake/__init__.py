"""People's files: what they are written in is found, said and settable; columns become numbers, dates and clean rows.

Shared by sales (`calibration.reading`) and by logs of interactions (`traffic.logs`). Nothing here knows what is done
with the rows.
"""

from marl_pricing.intake.errors import IntakeError, cut, shown

__all__ = ["IntakeError", "cut", "shown"]
