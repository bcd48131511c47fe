//! Sets `no_chromium` where there is no Chromium, so that the tests which need it are listed as ignored, with the
//! reason. With `CI` set it is never set: there the tests run, and fail.

#[path = "tests/it/find_chromium.rs"]
mod find_chromium;

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(no_chromium)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=tests/it/find_chromium.rs");
    for name in ["PATH", "CHROMIUM", "CI"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if let Some(program) = find_chromium::find() {
        println!("cargo::rerun-if-changed={}", program.display()); // it may be removed
        return;
    }
    // Cargo runs a build script again as long as such a file is missing, so an installation is noticed.
    println!("cargo::rerun-if-changed=/nonexistent/chromium");
    if env::var_os("CI").is_none() {
        println!("cargo::rustc-cfg=no_chromium");
        let names = find_chromium::NAMES.join(", ");
        println!(
            "cargo::warning=no Chromium: none of {names} is on the PATH, so the tests that need it are ignored; \
             install it (apt-get install chromium) or set CHROMIUM"
        );
    }
}
