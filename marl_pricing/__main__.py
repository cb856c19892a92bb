"""`python -m marl_pricing VERB …`, as `marl-pricing VERB …`."""

from marl_pricing.commands import main

main()
