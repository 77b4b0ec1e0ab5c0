//! One Chromium with a fresh profile, driven through chromedriver, and the few things a person does with it.
//!
//! Everything waits for what it needs, with a deadline; nothing sleeps for luck. Driver and browser end with the value, also
//! when a test fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take to show something, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How long a test may take altogether.
const TEST_MAX: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The Tab key, as WebDriver writes it.
const TAB: char = '\u{e004}';

/// Says what a person could stumble over on the page that is open; see the file.
const AUDIT: &str = include_str!("audit.js");

/// The size of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// A desk's.
    Desk,
    /// A phone's, upright, with a thumb for a mouse.
    Phone,
}

/// A running browser.
pub struct Browser {
    /// The session.
    pub client: Client,
    screen: Screen,
    driver: Driver,
    session: String,
}

/// The process of chromedriver, and the folder in which its browser lives.
struct Driver {
    child: Child,
    url: String,
    home: tempfile::TempDir,
}

/// Runs a whole test within [`TEST_MAX`].
pub async fn bounded(test: impl Future<Output = ()>) {
    let ended = tokio::time::timeout(TEST_MAX, test).await;
    assert!(ended.is_ok(), "the test did not end within {TEST_MAX:?}");
}

/// Tries until it works; the last reason if it does not within [`PATIENCE`].
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(why) if Instant::now() >= end => panic!("{what}: {why}"),
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

impl Browser {
    /// Starts one.
    pub async fn open(screen: Screen) -> Browser {
        let driver = Driver::start();
        let profile = driver.home.path().join("profile");
        let mut options = json!({
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--window-size=1280,900", format!("--user-data-dir={}", profile.display()),
            ],
        });
        if screen == Screen::Phone {
            let metrics = json!({"width": 390, "height": 844, "pixelRatio": 2.0, "touch": true});
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"pageLoad": 40_000, "script": 10_000},
        });
        let Value::Object(wanted) = wanted else {
            unreachable!("it is written as an object")
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&driver.url)
            .await
            .expect("Chromium starts");
        let session = client.session_id().await.expect("a session");
        Browser {
            session: session.expect("a session has an id"),
            client,
            screen,
            driver,
        }
    }

    /// Opens an address.
    pub async fn go(&self, url: &str) {
        self.client.goto(url).await.expect(url);
    }

    /// The address that is open.
    pub async fn url(&self) -> String {
        self.client.current_url().await.expect("a page").to_string()
    }

    /// The element that a style-sheet selector finds first.
    pub async fn find(&self, css: &str) -> Element {
        until(css, async || {
            let found = self.client.find(Locator::Css(css)).await;
            found.map_err(|error| error.to_string())
        })
        .await
    }

    /// Clicks what a style-sheet selector finds first.
    pub async fn click(&self, css: &str) {
        self.click_at(css, Locator::Css(css)).await;
    }

    /// Presses the button, or follows the link, that has these words.
    pub async fn press(&self, words: &str) {
        let path =
            format!("//*[self::a or self::button or self::summary][normalize-space()='{words}']");
        self.click_at(words, Locator::XPath(&path)).await;
    }

    async fn click_at(&self, what: &str, place: Locator<'_>) {
        until(what, async || {
            let found = self.client.find(place).await;
            let found = found.map_err(|error| error.to_string())?;
            found.click().await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Types into a field in place of what stands there.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.expect(css);
        field.send_keys(text).await.expect(css);
    }

    /// Chooses in a list by value.
    pub async fn choose(&self, css: &str, value: &str) {
        let list = self.find(css).await;
        list.select_by_value(value).await.expect(css);
    }

    /// Presses the Tab key.
    pub async fn press_tab(&self) {
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value: TAB })
            .then(KeyAction::Up { value: TAB });
        self.client
            .perform_actions(keys)
            .await
            .expect("the Tab key");
    }

    /// Waits until the page shows these words.
    pub async fn sees(&self, words: &str) {
        until(words, async || {
            let text = self.text().await;
            if text.contains(words) {
                return Ok(());
            }
            Err(format!("the page at {} says: {text}", self.url().await))
        })
        .await;
    }

    /// Asserts that the page, as it is now, does not show these words.
    pub async fn misses(&self, words: &str) {
        let text = self.text().await;
        assert!(!text.contains(words), "{words:?} stands in: {text}");
    }

    /// All that can be read on the page; empty between two pages.
    pub async fn text(&self) -> String {
        let read = "return document.body ? document.body.innerText : ''";
        let text = self.client.execute(read, Vec::new()).await;
        let text = text.unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect(script)
    }

    /// Looks at the page as a reviewer does: takes its picture under a name, and finds nothing that a person could stumble over.
    pub async fn look(&self, name: &str) {
        // A page that waits for news may be loading itself again at this moment.
        let faults = until(name, async || {
            let faults = self.client.execute(AUDIT, Vec::new()).await;
            faults.map_err(|error| error.to_string())
        })
        .await;
        self.picture(name).await;
        assert_eq!(faults, json!([]), "{name} at {}", self.url().await);
        self.nothing_blocked(name).await;
    }

    /// A picture of the whole page, below the target directory.
    pub async fn picture(&self, name: &str) {
        let screen = match self.screen {
            Screen::Desk => "desk",
            Screen::Phone => "phone",
        };
        let shot = json!({
            "cmd": "Page.captureScreenshot",
            "params": {"format": "png", "captureBeyondViewport": true},
        });
        let taken = self.extra("goog/cdp/execute", &shot).await;
        let data = taken["data"].as_str().expect("a picture");
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data);
        let file = pictures().join(format!("{name}-{screen}.png"));
        std::fs::write(file, bytes.expect("Base64")).expect("the picture is written");
    }

    /// Nothing that the page wanted was refused by its own policy, and no script failed.
    async fn nothing_blocked(&self, name: &str) {
        let said = self.extra("se/log", &json!({"type": "browser"})).await;
        let entries = said.as_array().cloned().unwrap_or_default();
        let bad: Vec<_> = entries
            .iter()
            // A page with another status than 200 is reported too; that is what the tests ask for.
            .filter(|entry| entry["level"] == "SEVERE" && entry["source"] != "network")
            .collect();
        assert!(bad.is_empty(), "{name}: {bad:?}");
    }

    /// A command of chromedriver beyond the standard.
    async fn extra(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}/session/{}/{command}", self.driver.url, self.session);
        let sent = reqwest::Client::new().post(url).json(body).send().await;
        let answer: Value = sent.expect(command).json().await.expect("JSON");
        answer["value"].clone()
    }

    /// Ends it in order.
    pub async fn end(self) {
        self.client.clone().close().await.expect("Chromium ends");
    }
}

/// Where pictures go: never into the repository.
fn pictures() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

impl Driver {
    /// Started until it has a port: one that it chooses on IPv4 may be taken on IPv6, and then it ends.
    fn start() -> Driver {
        (0..10)
            .find_map(|_| Self::try_start())
            .expect("chromedriver has ended ten times without a port")
    }

    fn try_start() -> Option<Driver> {
        let home = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(program("chromedriver"))
            .arg("--port=0")
            .env("HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs: install chromium-driver, as cargo xtask test does");
        let stdout = child.stdout.take().expect("piped");
        let (port, ports) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Some((_, end)) = line.split_once("started successfully on port ") else {
                    continue;
                };
                // Nobody listens any more once it is known.
                let _ = port.send(end.trim_end_matches('.').to_owned());
            }
        });
        let port = match ports.recv_timeout(PATIENCE) {
            Ok(port) => port,
            Err(RecvTimeoutError::Disconnected) => {
                child.wait().expect("it has ended");
                return None;
            }
            Err(RecvTimeoutError::Timeout) => panic!("chromedriver does not say its port"),
        };
        Some(Driver {
            child,
            url: format!("http://127.0.0.1:{port}"),
            home,
        })
    }
}

/// A program of the search path, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name));
    let mut found = found.chain([Path::new("/usr/bin").join(name)]);
    let found = found.find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: cargo xtask test installs it"))
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that failed leaves its browser behind; its processes are known by the profile, which nobody else has.
        let home = self.home.path().display().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let name = entry.file_name();
            if String::from_utf8_lossy(&line).contains(&home) {
                let _ = Command::new("kill").arg("-KILL").arg(name).status();
            }
        }
    }
}
