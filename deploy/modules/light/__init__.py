"""Light modules: one small program that plays any module of any pipeline, for tests, fault campaigns and benchmarks.

It computes nothing about stars. It checks that exactly what the contract promises was staged, writes the declared
outputs with values that follow from the inputs, and takes flags, durations, failures and optional products from a
script per star. It depends on h5py alone and imports nothing that is slow to load.
"""

# How it ends besides 0 and what a script asks for: 64 = the platform broke the contract, 70 = a defect of this program.
VIOLATION, DEFECT = 64, 70
