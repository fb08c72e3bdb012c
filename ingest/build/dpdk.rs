//! Compiles DPDK's shim, `src/dpdk/shim.c`, and links the four libraries that it calls, when the feature `dpdk` is on.
//! Drivers are no part of that: the environment loads them from where the system has them.

use std::env;
use std::process::Command;

/// What the shim calls. All of `pkg-config --libs` would be sixty libraries more, loaded at each start.
const LIBRARIES: [&str; 4] = ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"];

/// Debian 12 has 22.11; before 21.11 the names were others.
const OLDEST: &str = "21.11";

pub(super) fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build/dpdk.rs");
    println!("cargo::rerun-if-changed=src/dpdk/shim.c");
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    ask(&["--atleast-version", OLDEST])?;
    let mut shim = cc::Build::new();
    shim.file("src/dpdk/shim.c").warnings(true).extra_warnings(true).warnings_into_errors(true);
    // Inline functions of the headers need the processor's extensions that the libraries were built for.
    ask(&["--cflags"])?.split_whitespace().for_each(|flag| {
        // The headers are the system's: their warnings are not ours.
        match flag.strip_prefix("-I") {
            Some(folder) => shim.flag("-isystem").flag(folder),
            None => shim.flag(flag),
        };
    });
    shim.try_compile("finderscope_dpdk").map_err(|e| format!("src/dpdk/shim.c: {e}"))?;
    for folder in ask(&["--libs-only-L", "--keep-system-libs"])?.split_whitespace() {
        println!("cargo::rustc-link-search=native={}", folder.trim_start_matches("-L"));
    }
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    Ok(())
}

/// What pkg-config says of DPDK.
fn ask(arguments: &[&str]) -> Result<String, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(&program).args(arguments).arg("libdpdk").output();
    let output = output.map_err(|e| {
        format!(
            "the feature dpdk asks `{program}` for DPDK, and it cannot be started: {e}. Install pkg-config"
        )
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    Err(format!(
        "the feature dpdk needs DPDK {OLDEST} or later, and `{program}` does not find it: {said}Install it (Debian, \
         Ubuntu: apt-get install --no-install-recommends libdpdk-dev), or build without the feature"
    ))
}
