//! Where secrets come from when nobody types, and that they are there before a code is spent.

use std::fs;

use super::*;

fn recovery_key(museum: &Museum) -> String {
    museum.with_library(|library| hex::encode(library.account().recovery_key))
}

#[cfg(unix)]
#[test]
fn every_secret_comes_from_files_descriptors_and_commands() {
    let password = ["--password-command", "echo 'correct horse'"];
    for option in [
        "password",
        "otp",
        "email-code",
        "recovery-key",
        "passphrase",
    ] {
        for source in ["file", "fd", "command"] {
            let museum = ada(|account| {
                account.totp_enabled = option == "otp";
                account.email_mfa = option == "email-code";
            });
            let machine = machine();
            // Every code that was sent within the hour is good.
            let mailed = |arguments: &[&str]| {
                let _ = machine.run(&line(&museum, arguments)).expect(2);
                museum.mailbox(ADA).pop().unwrap()
            };
            let (secret, further) = match option {
                "password" => (ADAS_PASSWORD.to_owned(), vec![]),
                "otp" => {
                    let now_s = museum.clock().now_s();
                    let code = museum.with_library(|library| library.account().totp_code(now_s));
                    (code, password.map(str::to_owned).to_vec())
                }
                "email-code" => (mailed(&password), password.map(str::to_owned).to_vec()),
                "recovery-key" => {
                    let key = recovery_key(&museum);
                    let code = mailed(&["--recovery-key-command", &format!("echo {key}")]);
                    (key, vec!["--email-code".to_owned(), code])
                }
                _ => {
                    let sealing = ["--seal", "passphrase"].map(str::to_owned);
                    let further = password.map(str::to_owned).into_iter().chain(sealing);
                    ("red wax".to_owned(), further.collect())
                }
            };
            fs::write(machine.home().join("the secret"), format!("{secret}\n")).unwrap();
            let option = format!("--{option}-{source}");
            let value = match source {
                "file" => "the secret",
                "fd" => "3",
                _ => "cat 'the secret'",
            };
            let mut arguments = vec![option.as_str(), value];
            arguments.extend(further.iter().map(String::as_str));
            let mut command = machine.in_shell("exec 3< 'the secret'", &line(&museum, &arguments));
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{option}: {said}");
            let listed = ["ente-pull", "--list", machine.dir()];
            let passphrase = ["--passphrase-file", "the secret"];
            let listed = match option.starts_with("--passphrase") {
                true => [&listed[..], &passphrase].concat(),
                false => listed.to_vec(),
            };
            let _ = machine.run(&listed).expect(0);
        }
    }
}

#[test]
fn no_code_is_spent_before_the_other_secrets_are_at_hand() {
    let museum = ada(|account| account.email_mfa = true);
    let machine = machine();
    for (arguments, exit, said) in [
        (
            &["--password-file", "not there"][..],
            1,
            "cannot read the password from `not there`",
        ),
        (
            &["--password-command", "exit 3"],
            1,
            "cannot read the password from its command",
        ),
        (&[], 2, "there is no terminal to ask on"),
        (
            &[
                "--password-command",
                "echo 'correct horse'",
                "--totp-secret-file",
                "not there",
            ],
            1,
            "cannot read the authenticator's secret",
        ),
    ] {
        let arguments = [arguments, &["--email-code", "123456"]].concat();
        let outcome = machine.run(&line(&museum, &arguments)).expect(exit);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_eq!(calls(&museum, "/verify-email"), 0, "{said}");
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let museum = ada(|_| {});
    let machine = machine();
    let sign_in = line(&museum, &["--password-command", "echo 'correct horse'"]);
    for line in [
        &sign_in[..],
        &["ente-login", "--check"],
        &["ente-pull", machine.dir()],
    ] {
        let mut command = machine.command(line);
        for variable in ["ENTE_ENDPOINT", "ENTE_ACCOUNT", "ENTE_CA_FILE"] {
            command.env(variable, "");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line:?}: {output:?}");
    }
    // The credentials are then looked for where they lie by default.
    let mut command = machine.command(&["ente-login", "--status"]);
    let output = command.env("ENTE_CONFIG_DIR", "").output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{output:?}");
}
