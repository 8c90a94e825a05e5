//! Where the keystore lies and how its folders are called.

use std::path::PathBuf;

use crate::manifest::Account;

/// The user's configuration folder for these tools, as the platform has it.
pub(super) fn default_dir() -> Option<PathBuf> {
    let variable = |name| {
        let value = std::env::var_os(name).map(PathBuf::from);
        // The rules of the platforms ask for absolute paths.
        value.filter(|path| path.is_absolute())
    };
    let base = if cfg!(windows) {
        variable("APPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")))
    };
    Some(base?.join("ente-tools"))
}

/// A folder name that people recognise and every file system takes: the e-mail address.
pub(super) fn folder_name(account: &Account) -> String {
    let email = account.email.to_ascii_lowercase();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.+-_".contains(c);
    let name: String = email
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .take(100)
        .collect();
    // A leading dot hides; a trailing one does not last on Windows. An address has an `@`, which
    // keeps it apart from `default` and from device names.
    if name.contains('@') && !name.starts_with('.') && !name.ends_with('.') {
        name
    } else {
        account.user_id.to_string()
    }
}
