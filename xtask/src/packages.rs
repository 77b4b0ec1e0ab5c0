//! What the tests of `commerce` need from Debian: a PostgreSQL server and a browser with its driver. What is missing is
//! installed where that is possible, and named in one line where it is not.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::build::{on_path, run};

/// A program, where a package puts it outside the search path, and the package.
struct Need {
    program: &'static str,
    elsewhere: &'static str,
    package: &'static str,
}

const NEEDS: [Need; 4] = [
    Need {
        program: "chromium",
        elsewhere: "/usr/bin/chromium",
        package: "chromium",
    },
    Need {
        program: "chromedriver",
        elsewhere: "/usr/bin/chromedriver",
        package: "chromium-driver",
    },
    Need {
        program: "initdb",
        elsewhere: crate::postgres::INITDB,
        package: "postgresql-15",
    },
    Need {
        program: "pip3",
        elsewhere: "/usr/bin/pip3",
        package: "python3-venv python3-pip",
    },
];

/// Sees to it that all of them are there.
///
/// # Errors
/// Something is missing and cannot be installed from here; the command that installs it is named.
pub fn need_all() -> Result<(), Failure> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|need| on_path(need.program).is_none() && !Path::new(need.elsewhere).exists())
        .flat_map(|need| need.package.split(' '))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!(
        "apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    if !crate::postgres::is_root() || on_path("apt-get").is_none() {
        return Err(format!("the tests need more of the system: {install}"));
    }
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt(&["update", "-q"]))?;
    let mut words = vec!["install", "-q", "-y", "--no-install-recommends"];
    words.extend(missing);
    run(apt(&words))
}
