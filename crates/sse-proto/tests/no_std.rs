//! The crate links and works in a program without std.

use std::path::Path;
use std::process::Command;

#[test]
fn a_program_without_std_encodes_decodes_and_runs_a_source() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/no_std");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std");
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
