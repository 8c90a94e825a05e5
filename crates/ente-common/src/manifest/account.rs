//! Whose an export and credentials are.

use serde::{Deserialize, Serialize};

/// Ente's own API server.
pub const PRODUCTION: &str = "https://api.ente.com";

/// The account that an export belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// API origin, normalised.
    pub endpoint: String,
    /// `photos` or `locker`.
    pub app: String,
    /// User ID on that server.
    pub user_id: i64,
    /// E-mail address, for people; it can change.
    pub email: String,
}

impl Account {
    /// The same account: the e-mail address does not count, nor does the former name of Ente's own server.
    pub fn is(&self, other: &Account) -> bool {
        self.is_at(&other.endpoint) && (&self.app, self.user_id) == (&other.app, other.user_id)
    }

    /// Whether it is an account of this server.
    pub fn is_at(&self, endpoint: &str) -> bool {
        present_name(&self.endpoint) == present_name(endpoint)
    }

    /// What signs this account in again, and no other of the same address.
    pub fn sign_in_line(&self) -> String {
        let mut line = "ente-login".to_owned();
        if !self.is_at(PRODUCTION) {
            line.push_str(&format!(" --endpoint {}", self.endpoint));
        }
        if self.app != "photos" {
            line.push_str(&format!(" --app {}", self.app));
        }
        format!("{line} {}", self.email)
    }
}

/// The present name of a server whose former one older tools may have written down.
fn present_name(endpoint: &str) -> &str {
    match endpoint.trim_end_matches('/') {
        "https://api.ente.io" => PRODUCTION,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_type_leads_to_the_same_account() {
        for (endpoint, app, line) in [
            (PRODUCTION, "photos", "ente-login a@b"),
            ("https://api.ente.io", "photos", "ente-login a@b"),
            (PRODUCTION, "locker", "ente-login --app locker a@b"),
            (
                "http://localhost:8080",
                "locker",
                "ente-login --endpoint http://localhost:8080 --app locker a@b",
            ),
        ] {
            let account = Account {
                endpoint: endpoint.to_owned(),
                app: app.to_owned(),
                user_id: 1,
                email: "a@b".to_owned(),
            };
            assert_eq!(account.sign_in_line(), line);
        }
    }
}
