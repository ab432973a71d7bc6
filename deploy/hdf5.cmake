# How HDF5's C library is compiled, besides what its crate says (.cargo/config.toml names this file): a third of a first build
# went here. Its hundred warnings are for who works on it and cost a quarter of that. "MinSizeRel" is what the profile
# `dev` asks for (opt-level "s" in Cargo.toml): optimised a little; a release is optimised in full.
set(HDF5_ENABLE_ALL_WARNINGS OFF CACHE BOOL "")
set(CMAKE_C_FLAGS_MINSIZEREL "-O1 -DNDEBUG" CACHE STRING "")
