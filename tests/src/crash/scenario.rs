//! What is killed: a line, in a state of the account and the export.

use crate::harness::Machine;
use crate::history::{self, History, Op};
use crate::library::{GoldenState, Library};
use crate::museum::{Museum, Options};

use super::account::{self, Ids};

/// A line to kill, and what comes before and after.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) account: Kind,
    /// What leads to the state in which it starts.
    pub(super) before: &'static [Step],
    /// The line that is killed, and run again.
    pub(super) line: &'static str,
    /// What then leads to a whole export.
    pub(super) finish: &'static [&'static str],
}

impl Scenario {
    /// More bytes are moved than a recording can hold.
    pub(super) fn is_large(&self) -> bool {
        matches!(self.account, Kind::Large)
    }
}

/// Which account.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The small one: [`account`].
    Small,
    /// The golden one.
    Golden,
    /// With one large file.
    Large,
    /// Of a random history.
    Random(u64),
}

/// A step before the line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A line that ends with 0 in each stage.
    Run(&'static str),
    /// A line that may end with anything.
    Try(&'static str),
    /// The account changes.
    Change,
    /// What was trashed is restored.
    Restore,
    /// The user adds files of their own.
    UserFiles,
    /// The disk turns a bit in one file, and loses another and a sidecar.
    Damage,
    /// The manifest is lost.
    Forget,
}

use Step::{Change, Damage, Forget, Restore, Run, Try, UserFiles};

const LOGIN: &str = "ente-login --endpoint URL --password-file password EMAIL";
const PIPE: &str = "ente-pull DIR | ente-decrypt - | ente-meta - | ente-verify -";
const INIT: &str = "ente-pull --init DIR";
const ADOPT: &str = "ente-pull --list DIR | ente-meta - | ente-verify --adopt DIR -";
const STEPS: [Step; 3] = [
    Run("ente-pull DIR"),
    Run("ente-decrypt DIR"),
    Run("ente-meta DIR"),
];

/// All of them; what is random follows from `seed`.
pub(super) fn all(seed: u64) -> Vec<Scenario> {
    let small = |name: &str, before, line, finish| Scenario {
        name: name.to_owned(),
        account: Kind::Small,
        before,
        line,
        finish,
    };
    let mut scenarios = vec![
        small("login", &[], LOGIN, &[PIPE]),
        small("login again", &[Run(LOGIN), Run(PIPE)], LOGIN, &[PIPE]),
        small(
            "first: pull",
            &[Run(LOGIN), UserFiles],
            "ente-pull DIR",
            &["ente-decrypt DIR", "ente-meta DIR"],
        ),
        small(
            "first: decrypt",
            &[Run(LOGIN), UserFiles, STEPS[0]],
            "ente-decrypt DIR",
            &["ente-meta DIR"],
        ),
        small(
            "first: meta",
            &[Run(LOGIN), UserFiles, STEPS[0], STEPS[1]],
            "ente-meta DIR",
            &[],
        ),
        small(
            "verify",
            &[Run(LOGIN), STEPS[0], STEPS[1], STEPS[2], UserFiles],
            "ente-verify DIR",
            &[],
        ),
        small("first: pipe", &[Run(LOGIN), UserFiles], PIPE, &[]),
        small(
            "first: pipe, keep",
            &[Run(LOGIN), UserFiles],
            "ente-pull --objects keep DIR | ente-decrypt - | ente-meta - | ente-verify -",
            &[],
        ),
        small(
            "change: pull",
            &[Run(LOGIN), Run(PIPE), UserFiles, Change],
            "ente-pull DIR",
            &["ente-decrypt DIR", "ente-meta DIR"],
        ),
        small(
            "change: decrypt",
            &[Run(LOGIN), Run(PIPE), UserFiles, Change, STEPS[0]],
            "ente-decrypt DIR",
            &["ente-meta DIR"],
        ),
        small(
            "change: meta",
            &[Run(LOGIN), Run(PIPE), UserFiles, Change, STEPS[0], STEPS[1]],
            "ente-meta DIR",
            &[],
        ),
        small(
            "change: pipe",
            &[Run(LOGIN), Run(PIPE), UserFiles, Change],
            PIPE,
            &[],
        ),
        small(
            "change: pipe, keep",
            &[
                Run(LOGIN),
                Run("ente-pull --objects keep DIR | ente-decrypt - | ente-meta -"),
                UserFiles,
                Change,
            ],
            PIPE,
            &[],
        ),
        small(
            "change: decrypt, delete",
            &[Run(LOGIN), Run(PIPE), UserFiles, Change, STEPS[0]],
            "ente-decrypt --on-remove delete DIR",
            &["ente-meta DIR"],
        ),
        small(
            "restore: pipe",
            &[Run(LOGIN), Run(PIPE), Change, Run(PIPE), UserFiles, Restore],
            PIPE,
            &[],
        ),
        small(
            "heal: pipe",
            &[
                Run(LOGIN),
                Run(PIPE),
                UserFiles,
                Damage,
                Try("ente-verify DIR"),
            ],
            PIPE,
            &[],
        ),
        small(
            "heal: only",
            &[Run(LOGIN), Run(PIPE), UserFiles, Damage],
            "ente-verify DIR | ente-pull --only - DIR | ente-decrypt - | ente-meta -",
            &[PIPE],
        ),
        small(
            "prune",
            &[Run(LOGIN), Run(PIPE), Change, Run(PIPE), UserFiles],
            "ente-verify --prune=0 DIR",
            &[],
        ),
        small(
            "adopt",
            &[Run(LOGIN), Run(PIPE), UserFiles, Forget, Run(INIT)],
            ADOPT,
            &[PIPE],
        ),
        small(
            "adopted: pipe",
            &[
                Run(LOGIN),
                Run(PIPE),
                UserFiles,
                Forget,
                Run(INIT),
                Run(ADOPT),
            ],
            PIPE,
            &[],
        ),
        small(
            "keep to spool",
            &[
                Run(LOGIN),
                Run("ente-pull --objects keep DIR | ente-decrypt - | ente-meta -"),
            ],
            "ente-pull --objects spool DIR | ente-decrypt - | ente-meta -",
            &[],
        ),
        small(
            "sidecars beside",
            &[Run(LOGIN), Run(PIPE), UserFiles],
            "ente-meta --sidecars beside DIR",
            &[],
        ),
        small(
            "dated anew",
            &[Run(LOGIN), Run(PIPE), UserFiles],
            "ente-decrypt --mtime modified DIR",
            &["ente-meta DIR"],
        ),
        small(
            "linked anew",
            &[Run(LOGIN), Run(PIPE), UserFiles],
            "ente-decrypt --link copy DIR",
            &["ente-meta DIR"],
        ),
        Scenario {
            account: Kind::Golden,
            ..small(
                "golden: pipe",
                &[Run(LOGIN), Run(PIPE), UserFiles, Change],
                PIPE,
                &[],
            )
        },
    ];
    scenarios.push(Scenario {
        account: Kind::Large,
        ..small(
            "first: pull, 50 MB",
            &[Run(LOGIN)],
            "ente-pull DIR",
            &["ente-decrypt DIR", "ente-meta DIR"],
        )
    });
    for number in 0..3 {
        scenarios.push(Scenario {
            name: format!("history {number}: pipe"),
            account: Kind::Random(seed.wrapping_mul(100).wrapping_add(number)),
            before: &[Run(LOGIN), Run(PIPE), UserFiles, Change],
            line: PIPE,
            finish: &[],
        });
    }
    scenarios
}

/// A server with the account of a scenario.
pub(super) struct Stage {
    pub(super) museum: Museum,
    account: Account,
    email: &'static str,
    password: &'static str,
}

enum Account {
    Small(Ids),
    Golden,
    Large,
    Random(History, u64),
}

impl Stage {
    pub(super) fn new(kind: Kind) -> Self {
        let (library, account) = match kind {
            Kind::Small => {
                let (library, ids) = account::initial();
                (library, Account::Small(ids))
            }
            Kind::Golden => (Library::golden(GoldenState::Initial), Account::Golden),
            Kind::Large => (account::large(), Account::Large),
            Kind::Random(seed) => {
                let (library, history) = History::start(account::EMAIL, account::PASSWORD);
                (library, Account::Random(history, seed))
            }
        };
        let (email, password) = match kind {
            Kind::Golden => ("golden@example.org", "golden password: naïve café"),
            _ => (account::EMAIL, account::PASSWORD),
        };
        let mut stage = Self {
            museum: Museum::start(library, Options::default()),
            account,
            email,
            password,
        };
        if let Account::Random(..) = stage.account {
            stage.change();
        }
        stage
    }

    /// The account changes.
    pub(super) fn change(&mut self) {
        let account = &mut self.account;
        self.museum.with_library(|library| match account {
            Account::Small(ids) => account::change(library, *ids),
            Account::Golden => library.switch_to(GoldenState::Changed),
            Account::Large => {}
            Account::Random(history, seed) => {
                *seed += 1;
                let ops = proptest::collection::vec(history::op(), 20);
                // What vanishes without a word leaves after two runs, and here one must be enough.
                let told = |op: &Op| !matches!(op, Op::Vanish);
                for op in history::sample(ops, *seed).iter().filter(|op| told(op)) {
                    history.apply(library.live_mut(), op);
                }
            }
        });
    }

    /// What the small account trashed comes back.
    pub(super) fn restore(&mut self) {
        if let Account::Small(ids) = self.account {
            self.museum
                .with_library(|library| account::restore(library, ids));
        }
    }

    /// A line as it is typed on this machine.
    pub(super) fn line(&self, line: &str, machine: &Machine) -> String {
        line.replace("URL", self.museum.api_url())
            .replace("EMAIL", self.email)
            .replace("DIR", machine.dir())
    }

    /// A machine with the password in a file, and nothing else.
    pub(super) fn machine(&self, tool: &std::path::Path) -> Machine {
        let machine = Machine::new(tool);
        std::fs::write(machine.home().join("password"), self.password).expect("a scratch file");
        machine
    }
}
