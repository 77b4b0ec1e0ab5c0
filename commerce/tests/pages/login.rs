//! Who gets to the admin pages, for how long, and whose forms count.

use crate::browser::{Browser, Screen, bounded, until};
use crate::stage::Stage;

/// Shows: no page without a key; a wrong key and a merchant's key are refused alike; an operator's key opens; logging out, the
/// end of the session's time and the end of the key each close; the cookie is out of reach for scripts and other sites.
#[tokio::test]
async fn a_session_begins_with_a_key_and_ends() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Phone).await;
        browser.go(&stage.at("/admin/orders")).await;
        assert_eq!(browser.url().await, stage.at("/admin/login"));
        browser.look("admin-login").await;
        let merchants = stage.daemon.merchant.clone();
        for wrong in ["nonsense", &merchants] {
            browser.fill("#key", wrong).await;
            browser.press("Log in").await;
            browser.sees("This is no valid operator key").await;
        }
        browser.look("admin-login-wrong-key").await;

        stage.log_in(&browser, &stage.daemon.operator).await;
        browser.sees("There are no orders yet").await;
        browser.look("admin-orders-empty").await;
        let cookies = browser.client.get_all_cookies().await.expect("cookies");
        let [cookie] = &cookies[..] else {
            panic!("one cookie, not {cookies:?}")
        };
        assert_eq!(cookie.http_only(), Some(true), "{cookie:?}");
        assert_eq!(cookie.path(), Some("/admin"), "{cookie:?}");
        let same_site = cookie.same_site().map(|site| site.is_strict());
        assert_eq!(same_site, Some(true), "{cookie:?}");

        browser.press("Log out").await;
        browser.find("#key").await;
        browser.go(&stage.at("/admin/issues")).await;
        assert_eq!(browser.url().await, stage.at("/admin/login"));

        stage.log_in(&browser, &stage.daemon.operator).await;
        let store = stage.store().await;
        let late = "UPDATE admin_sessions SET expires_at = 1";
        sqlx::query(late)
            .execute(store.pool())
            .await
            .expect("the session is over");
        browser.press("Refunds").await;
        browser.sees("Your session is over").await;
        browser.look("admin-session-over").await;

        stage.log_in(&browser, &stage.daemon.operator).await;
        let revoked = "UPDATE api_keys SET revoked_at = 1 WHERE role = 'operator'";
        sqlx::query(revoked)
            .execute(store.pool())
            .await
            .expect("the key is revoked");
        browser.press("Issues").await;
        browser.find("#key").await;
        store.close().await;
        browser.end().await;
    })
    .await;
}

/// Shows: a form without the session's token does nothing, and neither does one that a page of another site sends.
#[tokio::test]
async fn a_form_from_elsewhere_does_nothing() {
    bounded(async {
        let stage = Stage::start();
        let id = stage.order("CSRF-1", 10_000).await;
        let browser = Browser::open(Screen::Desk).await;
        stage.log_in(&browser, &stage.daemon.operator).await;
        let page = stage.at(&format!("/admin/orders/{id}"));
        let cancel = format!("{page}/cancel");
        browser.go(&page).await;
        browser.run("for (const field of document.querySelectorAll('[name=csrf]')) field.value = 'x'").await;
        browser.press("Cancel the order").await;
        browser.sees("Nothing was done").await;
        browser.look("admin-foreign-form").await;

        // The same machine under another name is another site, as a page of a stranger would be.
        let elsewhere = stage.atom.url.replace("127.0.0.1", "localhost");
        browser.go(&format!("{elsewhere}/checkout")).await;
        let foreign = format!(
            "const form = document.createElement('form'); form.method = 'post'; form.action = '{cancel}'; \
             document.body.append(form); form.submit()"
        );
        browser.run(&foreign).await;
        until("the refusal", async || {
            let text = browser.text().await;
            if text.contains("Nothing was done") {
                return Ok(());
            }
            Err(text)
        })
        .await;
        let view = stage.view(&id).await;
        assert_eq!(view["status"], "pending", "{view}");

        browser.go(&page).await;
        browser.press("Cancel the order").await;
        browser.sees("The order is cancelled.").await;
        let view = stage.view(&id).await;
        assert_eq!(view["status"], "cancelled", "{view}");
        browser.end().await;
    })
    .await;
}
