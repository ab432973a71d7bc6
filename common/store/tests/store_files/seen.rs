//! What scientists see of a star file: read by h5py, without any code of ours.

use crate::ingesting::STAR;
use crate::star_files::key;

/// Reads a star file from another working directory, as scientists do.
pub(crate) const READ: &str = r#"
import os; os.chdir("/")
f = h5py.File("{file}")
run = [name for name in f if name.startswith("SAS-PIP-MSAP3_04")][0]
skipped = [name for name in f if name.startswith("SAS-PIP-MSAP5_12")][0]
inputs = f[run]["inputs"].attrs
print(json.dumps({
    "root": [f.attrs["PLATO_ID"], int(f.attrs["QUARTER_NUMBER"]), list(f.attrs["OBS_START_DATE"]), list(f.attrs["OBS_END_DATE"])],
    "externals": sorted(f["EXTERNALS"]), "products": sorted(f["PRODUCTS"]),
    "small": float(f["PRODUCTS/IDP_SAS_[X] /col umn "][()]),
    "large": float(f["PRODUCTS/LARGE/value"][-1]),
    "links": [f["PRODUCTS"].get("LARGE", getlink=True).__class__.__name__, f["EXTERNALS"].get("DP1_LC_MERGED", getlink=True).__class__.__name__],
    "flux": float(f["EXTERNALS/DP1_LC_MERGED/flux"][-1]), "shared": float(f["EXTERNALS/IDP_PFU_TEFF_SAPP/value"][()]),
    "far": [float(f["EXTERNALS/GRID/value"][-1]), float(f["EXTERNALS/HISTORY/value"][-1])],
    "null": f["PRODUCTS/N"].attrs["NOT_PRODUCED"],
    "run": run, "outputs": list(f[run].attrs["outputs"]), "state": f[run].attrs["state"], "key": f[run].attrs["key"],
    "inputs": {name: list(inputs[name]) for name in inputs},
    "digests": {name: len(f[run]["digests"].attrs[name]) for name in f[run]["digests"].attrs},
    "made": {name: str(f[run].attrs[name]) for name in ["contract", "seed", "parameters", "made_in_attempt", "made_by", "clock_ahead", "exit_code", "peak_memory", "log"]},
    "used": [float(f[run].attrs["cpu_seconds"][0]), list(f[run].attrs["command"]), list(f[run].attrs["not_measured"])],
    "not_produced": dict(f[run]["not_produced"].attrs), "conditions": dict(f[run]["conditions"].attrs), "why": dict(f[skipped]["not_produced"].attrs),
    "skipped": [skipped, f[skipped].attrs["state"], f[skipped].attrs["reason"], len(f[skipped].attrs["outputs"]), len(f[skipped]["inputs"].attrs)],
}))
"#;

/// What it reads of the star file that `star_files` makes.
pub(crate) fn expected() -> serde_json::Value {
    serde_json::json!({
        "root": [STAR, 3, [10.5], [99.5]],
        "externals": ["DP1_LC_MERGED", "GRID", "HISTORY", "IDP_PFU_TEFF_SAPP", "IDP_SAS_FE_H_SAPP", "flag", "trailing product "],
        "products": ["IDP_SAS_[X] ", "LARGE", "N"],
        "small": 1.5, "large": 299_999.0, "links": ["ExternalLink", "ExternalLink"], "flux": 2.0, "shared": 5777.0,
        "far": [199_999.0, 149_999.0],
        "null": "no peaks",
        "run": "SAS-PIP-MSAP3_04_1", "outputs": ["IDP_SAS_[X] ", "LARGE", "N"], "state": "succeeded",
        "key": key().to_string(),
        "inputs": {"EXTERNALS": ["flag"], "PDP": ["IDP_SAS_FE_H_SAPP"], "SAS-PIP-MSAP3/SAS-PIP-MSAP3_03": ["trailing product "]},
        "digests": {"IDP_SAS_FE_H_SAPP": 64, "flag": 64, "trailing product ": 64, "IDP_SAS_TEFF_SAPP@previous": 6},
        "made": {
            "contract": "00112233aabbccdd", "seed": u64::MAX.to_string(), "parameters": "{\"steps\":5000}", "made_in_attempt": "2",
            "made_by": "host-1", "clock_ahead": "0", "exit_code": "0", "peak_memory": "1048576",
            "log": format!("products/MSAP3_04-{}.h5:/LOG", key()),
        },
        "used": [1.5, ["peakbag"], ["bytes_read", "bytes_written"]],
        "not_produced": {"N": "no peaks"}, "conditions": {"X.flag": "true"},
        "why": {"DP5_SAS_AGE": "skipped (condition): P.X.flag = false"},
        "skipped": ["SAS-PIP-MSAP5_12_1", "skipped", "skipped (condition): P.X.flag = false", 0, 0],
    })
}
