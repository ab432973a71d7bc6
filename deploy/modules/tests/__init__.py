"""Tests of the reference modules: `cd deploy/modules && python3 -m unittest` (needs numpy, scipy and h5py)."""
