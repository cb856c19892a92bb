"""The live loop: a shop's events in, its prices out.

`event_api` and `price_api` speak to the storefront, `log` keeps what happened, `pipeline` folds it into price vectors,
`service` composes. Nothing here imports JAX unless sessions are judged by kernels.
"""
