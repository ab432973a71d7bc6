"""A campaign on a real cluster: `python3 -m chaos BIN`, see `campaign.py`; what judges it is `oracle.py`, which shares nothing
with the product's code."""
