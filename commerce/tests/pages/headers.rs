//! What every page tells browsers about itself, and that a keyboard finds its way.

use crate::browser::{Browser, Screen, bounded};
use crate::stage::Stage;

/// Shows: each kind of page has the headers that keep scripts, frames, caches and referrers in bounds; nothing that is inline or
/// from elsewhere would be allowed, except Atom's window on the page that opens it.
#[tokio::test]
async fn every_page_is_kept_in_bounds() {
    bounded(async {
        let stage = Stage::start();
        let pages = [
            ("/shop", 200),
            ("/shop/basket?n-gyokuro=1", 200),
            ("/shop/orders/ord_nowhere", 404),
            ("/shop/return?order_id=x", 200),
            ("/payments/processing", 200),
            ("/admin/login", 200),
        ];
        for (path, status) in pages {
            let answer = reqwest::get(stage.at(path)).await.expect("an answer");
            assert_eq!(answer.status().as_u16(), status, "{path}");
            let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
            let policy = header("content-security-policy");
            for part in [
                "default-src 'none'",
                "style-src 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
                "form-action 'self'",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(
                !policy.contains("unsafe") && !policy.contains("script-src"),
                "{path}: {policy}"
            );
            assert_eq!(header("cache-control"), "no-store", "{path}");
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header("x-frame-options"), "DENY", "{path}");
            assert_eq!(
                header("referrer-policy"),
                "strict-origin-when-cross-origin",
                "{path}"
            );
            assert!(header("permissions-policy").contains("camera=()"), "{path}");
        }
        let style = reqwest::get(stage.at("/static/pages.css"))
            .await
            .expect("an answer");
        assert_eq!(style.headers()["x-content-type-options"], "nosniff");
        assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    })
    .await;
}

/// Shows: by the Tab key alone one gets past the menu and to every field, and always sees where one is.
#[tokio::test]
async fn a_keyboard_is_enough() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Desk).await;
        browser.go(&stage.at("/shop/basket?n-gyokuro=1")).await;
        let order = [("A", "Skip to the content"), ("A", "Tea by the river"), ("INPUT", "email"), ("INPUT", "mobile"), ("BUTTON", "Pay ₹450.00")];
        for (tag, what) in order {
            browser.press_tab().await;
            let at = browser.run(
                "const at = document.activeElement, style = getComputedStyle(at); \
                 return [at.tagName, at.id || at.innerText, style.outlineStyle, parseFloat(style.outlineWidth)]",
            );
            let at = at.await;
            assert_eq!((at[0].as_str(), at[1].as_str()), (Some(tag), Some(what)), "{at}");
            assert!(at[2] != "none" && at[3].as_f64() >= Some(2.0), "the focus cannot be seen: {at}");
            if tag == "INPUT" {
                browser.picture("keyboard-focus").await;
            }
        }
        browser.end().await;
    })
    .await;
}
