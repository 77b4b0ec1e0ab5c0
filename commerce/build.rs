//! The migrations are read by a macro, which alone does not notice a new file.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
