//! What the tests of `commerce` need from outside: of Debian a PostgreSQL server and a browser with its driver, of Python's
//! packages schemathesis. What is missing is installed where that is possible, and named in one line where it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::build::{on_path, run, target_dir};

/// The variable in which the test of the OpenAPI document finds schemathesis.
pub const SCHEMATHESIS: &str = "SEKISHO_TEST_SCHEMATHESIS";
/// The packages with their versions.
const REQUIREMENTS: &str = include_str!("../../commerce/tests/schemathesis.txt");

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

/// Makes a virtual environment with schemathesis below the target directory, unless this very list of packages is there
/// already. The program's path.
///
/// # Errors
/// Python cannot make one, or the packages cannot be had.
pub fn schemathesis() -> Result<PathBuf, Failure> {
    let dir = target_dir().join("schemathesis");
    let program = dir.join("bin/st");
    let stamp = dir.join("requirements.txt");
    let made = fs::read_to_string(&stamp).is_ok_and(|list| list == REQUIREMENTS);
    if made && program.exists() {
        return Ok(program);
    }
    println!(
        "making a virtual environment with schemathesis in {}",
        dir.display()
    );
    // One of another list may be there.
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&dir);
    run(venv).map_err(|failure| format!("{failure}; apt-get install python3-venv may help"))?;
    let list = dir.join("wanted.txt");
    fs::write(&list, REQUIREMENTS).map_err(|error| format!("{}: {error}", list.display()))?;
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args(["install", "-q", "--disable-pip-version-check", "-r"])
        .arg(&list);
    run(pip)?;
    // Written last: it says that everything before was done.
    fs::rename(&list, &stamp).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(program)
}
