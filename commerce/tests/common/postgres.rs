//! A PostgreSQL server for tests, and databases in it.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const VARIABLE: &str = "SEKISHO_TEST_PG";
const START_MAX: Duration = Duration::from_secs(60);

/// Started once for each test program, and kept to its end by the keeper.
static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    url: String,
    /// Its standard input is the sign that this program lives.
    _keeper: Option<Child>,
}

/// A database of a random name.
pub struct Database {
    /// Its address.
    pub url: String,
    name: String,
}

impl Database {
    /// Makes one, and a server for it if there is none.
    pub async fn new() -> Database {
        let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await;
        let server = server.expect("a PostgreSQL server");
        let name = commerce::id::new("test_").to_lowercase();
        run(&server.url, &format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(&server.url).expect("the address of the server");
        url.set_path(&name);
        Database {
            url: url.into(),
            name,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.clone();
        let server = &SERVER.get().expect("it made this database").url;
        // A test's runtime cannot be waited in from here; this thread has its own.
        let gone = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(run(server, &format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        let _ = gone.join();
    }
}

async fn run(url: &str, statement: &str) {
    let mut server = PgConnection::connect(url)
        .await
        .expect("the server answers");
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(&mut server)
        .await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn start() -> Server {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Server { url, _keeper: None };
    }
    assert!(
        Path::new(BIN).join("initdb").exists(),
        "no PostgreSQL 15: install the package postgresql-15, or set {VARIABLE}"
    );
    let dir = tempfile::Builder::new()
        .prefix("commerce-pg-")
        .tempdir()
        .expect("a folder")
        .keep();
    if is_root() {
        check(Command::new("chown").arg("postgres").arg(&dir));
    }
    check(as_postgres("initdb").arg("-D").arg(dir.join("data")).args([
        "-U",
        "postgres",
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]));
    let port = free_port();
    let keeper = keep(&dir, port);
    let deadline = Instant::now() + START_MAX;
    while !is_ready(port) {
        assert!(
            Instant::now() < deadline,
            "PostgreSQL does not listen: {}",
            log_of(&dir)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Server {
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        _keeper: Some(keeper),
    }
}

/// A server that is starting up listens already, and refuses; this asks it.
fn is_ready(port: u16) -> bool {
    let port = port.to_string();
    let asked = Command::new(Path::new(BIN).join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port])
        .status();
    asked.is_ok_and(|status| status.success())
}

/// The server as child of a shell, which waits for the end of its own input: the end of this program.
fn keep(dir: &Path, port: u16) -> Child {
    let script = format!(
        "{BIN}/postgres -D {dir}/data -p {port} -h 127.0.0.1 -k {dir} -c fsync=off \
         -c max_connections=300 >{dir}/log 2>&1 & server=$!; cat >/dev/null; \
         kill -INT $server; wait $server; rm -rf {dir}",
        dir = dir.display()
    );
    let mut keeper = if is_root() {
        let mut keeper = Command::new("runuser");
        keeper.args(["-u", "postgres", "--", "sh", "-c", &script]);
        keeper
    } else {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", &script]);
        keeper
    };
    keeper
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    keeper.current_dir("/tmp").spawn().expect("a shell")
}

fn as_postgres(program: &str) -> Command {
    let program = format!("{BIN}/{program}");
    let mut command = if is_root() {
        Command::new("runuser")
    } else {
        Command::new(&program)
    };
    if is_root() {
        command.args(["-u", "postgres", "--", &program]);
    }
    command.current_dir("/tmp");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|at| at.uid() == 0)
}

fn check(command: &mut Command) {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("its number").port()
}

fn log_of(dir: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut log) = fs::File::open(dir.join("log")) {
        let _ = log.read_to_string(&mut text);
    }
    text
}
