"""Reference modules: science of the seismic pipeline, and what comes before and after it (sas-pdx, sas-post).

`python3 -m sas_modules NAME` runs one module once, or, with SAS_SERVE=1, for one request after another. `kit.py` is the
whole interface to the platform; a module is a function from its inputs to its outputs and knows no path.
"""

# Short name (what pipeline files write) -> (identifier in the design documents, Python module).
MODULES = {
    "flares": ("MSAP1_02", "msap1_02_flares"),
    "clean": ("MSAP1_01", "msap1_01_clean"),
    "filter": ("MSAP1_07", "msap1_07_filter"),
    "bin": ("MSAP1_08", "msap1_08_bin"),
    "excess": ("MSAP3_01", "msap3_01_excess"),
    "separation": ("MSAP3_02", "msap3_02_separation"),
    "seismic": ("MSAP3_03", "msap3_03_seismic"),
    "peakbag": ("MSAP3_04", "msap3_04_peakbag"),
    "rotation": ("MSAP4_02", "msap4_02_rotation"),
    "period": ("MSAP4_07", "msap4_07_period"),
    "scaling": ("MSAP5_12", "msap5_12_scaling"),
    "fetch": ("PDX_01", "pdx_01_fetch"),
    "pack": ("POST_01", "post_01_pack"),
}
