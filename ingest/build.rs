//! Compiles the XDP programs, `src/xdp/NAME.bpf.c`, to `$OUT_DIR/NAME.bpf.o`, when the feature `xdp` is on and the
//! target is Linux. They include nothing but `src/xdp/bpf.h`, so that clang is all that is needed for them. DPDK's
//! shim is compiled in `build/dpdk.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[cfg(feature = "dpdk")]
#[path = "build/dpdk.rs"]
mod dpdk;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    if let Err(why) = dpdk::build() {
        println!("cargo::error={why}");
    }
    if env::var_os("CARGO_FEATURE_XDP").is_none() || variable("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    // A program added, and each that is there.
    println!("cargo::rerun-if-changed=src/xdp");
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(why) = compile_all(Path::new("src/xdp"), Path::new(&variable("OUT_DIR"))) {
        println!("cargo::error={why}");
    }
}

fn compile_all(from: &Path, to: &Path) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))?;
    let mut sources: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    sources.retain(|path| path.to_string_lossy().ends_with(".bpf.c"));
    sources.sort();
    sources.iter().try_for_each(|source| compile(source, to))
}

/// Compiles one program. The bytes of its numbers stand as they do on the target.
fn compile(source: &Path, to: &Path) -> Result<(), String> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let target = if variable("CARGO_CFG_TARGET_ENDIAN") == "big" { "bpfeb" } else { "bpfel" };
    let name = source.file_stem().unwrap_or_default();
    let object = to.join(name).with_extension("bpf.o");
    let mut command = Command::new(&clang);
    // Descriptions of types (-g) are how the loader learns of the maps.
    command.args(["-O2", "-g", "-target", target, "-mcpu=v3", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]);
    command.arg("-c").arg(source).arg("-o").arg(&object);
    let output = command.output().map_err(|e| {
        format!(
            "the XDP programs of AF_XDP are compiled by clang, and `{clang}` cannot be started: {e}. \
             Install it (Debian, Ubuntu: apt-get install clang), name another by the variable CLANG, \
             or build without AF_XDP: --no-default-features"
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // A message of Cargo's is one line each.
    said.lines().for_each(|line| println!("cargo::error={line}"));
    Err(format!("{}: `{clang}` cannot compile it ({})", source.display(), output.status))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
