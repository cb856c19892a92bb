"""From a shop's log to a new policy: sales and sessions read, demand and behaviour estimated, trained, exported."""
