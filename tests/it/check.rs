//! `turnwheel check`: every key, and every sentence that says what is wrong with one.

use crate::bed::program;
use crate::config_file::ConfigFile;

/// What it says about a file with this text: exit code, standard output, and the reasons.
fn check(text: &str) -> (i32, String, Vec<String>) {
    let file = ConfigFile::new(text);
    let output = program().arg("check").arg("--config").arg(&file.path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let reason = |line: &str| {
        let reason = line.strip_prefix("turnwheel: ");
        reason.unwrap_or_else(|| panic!("a line without the program's name: {said}")).to_owned()
    };
    let reasons = said.lines().map(reason).collect();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), reasons)
}

const ONE: &str = "backend = 'http://127.0.0.1:1'";

#[test]
fn accepts_every_key_about_backends() {
    let secret = ConfigFile::new("sixteen-letters!");
    let secret = secret.path.display();
    let text = format!(
        "strategy = 'weighted-round-robin'\nretries = 0\nretry_budget = 0\nretry_floor = 0\nmax_in_flight = 1\n\
         all_down = 'refuse'\nslow_start = '10s'\nsticky = 'wheel'\nsticky_secret_file = '{secret}'\n\
         resolve_interval = '10ms'\nconnect_timeout = '1s'\nreply_head_timeout = '1s'\n\
         upstream_timeout = '1s'\nupstream_idle_timeout = '1s'\nhealth = 'on'\nhealth_path = '/health?deep=1'\n\
         health_status = '200,204,300-399'\nhealth_interval = '24h'\nhealth_timeout = '1s'\nrise = 1\nfall = 1000\n\
         max_fails = 0\nfail_timeout = '1s'\nlongest_ejection = '1s'\ntrusted_proxies = '10.0.0.0/8'\n\
         admin = '0.0.0.0:8090'\nadmin_token_file = '{secret}'\n\
         [[backend]]\nurl = 'http://127.0.0.1:1'\nweight = 1000\n\
         [[backend]]\nurl = 'http://127.0.0.1:2'\nbackup = true\n"
    );
    let (code, said, reasons) = check(&text);
    assert_eq!((code, reasons), (0, vec![]));
    assert!(said.ends_with(" is valid\n"), "{said}");
    let strategies =
        ["round-robin", "weighted-round-robin", "least-connections", "power-of-two", "client-hash"];
    let others =
        ["all_down = 'try'", "health = 'off'", "admin = 'off'", "admin = '[::1]:0'"].map(str::to_owned);
    for line in strategies.map(|name| format!("strategy = '{name}'")).iter().chain(&others) {
        assert_eq!(check(&format!("{ONE}\n{line}\n")).2, [""; 0], "{line}");
    }
    for backend in [
        "'http://a:1'",
        "{ url = 'http://a:1' }",
        "['http://a:1', { url = 'http://b:1', backup = true }]",
        "'http://[::1]:1'",
        "'http://app.:1'",
    ] {
        assert_eq!(check(&format!("backend = {backend}\n")).2, [""; 0], "{backend}");
    }
}

/// A text, and the one reason why not.
#[track_caller]
fn refuses(text: &str, reason: &str) {
    let (code, said, reasons) = check(text);
    assert_eq!((code, &*said, reasons.len()), (1, "", 1), "{text}: {reasons:?}");
    assert!(reasons[0].contains(reason), "{text}: {reasons:?}");
}

#[test]
fn gives_the_reason_for_each_wrong_backend() {
    for (backend, reason) in [
        ("'127.0.0.1:1'", "is not a backend URL: it does not begin with http://"),
        ("'https://a:1'", "TLS to a backend is not supported yet"),
        ("'http://a:1/x'", "it has a path"),
        ("'http://a:1?x'", "it has a query"),
        ("'http://a:1#x'", "it has a fragment"),
        ("'http://me@a:1'", "it has a user name"),
        ("'http://a:0'", "its port is 0"),
        ("'http://a:70000'", "its port cannot be read"),
        ("'http://'", "is not a backend URL"),
        ("'http://a b:1'", "it cannot be read"),
        ("'http://a:1,wight=2'", "is followed by \"wight=2\"; write ,weight=N or ,backup"),
        (
            "{ url = 'http://a:1', weight = 0 }",
            "the weight of backend http://a:1 is 0; it must be from 1 to 1000",
        ),
        ("'http://a:1,weight=1001'", "the weight of backend http://a:1 is 1001; it must be from 1 to 1000"),
        ("['http://a:1', 'http://A:1/']", "backend http://a:1 is named twice; name each backend once"),
        ("{ url = 'http://a:1', backup = true }", "every backend is a backup; at least one must not be"),
        ("[]", "no backend is named; name at least one with --backend http://host:port"),
        ("{ url = 'http://a:1', wieght = 2 }", "unknown field `wieght`"),
        ("{ weight = 2 }", "missing field `url`"),
        ("3", "a backend or a list of backends"),
        ("[3]", "a URL, or a table with url, weight and backup"),
    ] {
        refuses(&format!("backend = {backend}\n"), reason);
    }
}

#[test]
fn gives_the_reason_for_each_wrong_value_about_backends() {
    for (line, reason) in [
        ("max_in_flight = 0", "max_in_flight is 0; it must be at least 1"),
        ("max_in_flight = 10001", "max_in_flight is 10001; it must be at most 10000"),
        ("slow_start = '1s'", "slow_start is set, but round-robin gives each backend the same share; choose"),
        ("rise = 0", "rise is 0; it must be from 1 to 1000"),
        ("fall = 1001", "fall is 1001; it must be from 1 to 1000"),
        ("health_path = 'health'", "health_path \"health\" is not a path; write it as /health"),
        ("health_path = '/a b'", "is not a path; write it as /health"),
        ("health_path = ''", "health_path \"\" is not a path"),
        (
            "health_status = '200'",
            "health_status is set, but a check fetches nothing without health_path; set health_path as well",
        ),
        (
            "health_path = '/'\nhealth_status = '399-200'",
            "health_status: \"399-200\" is not a set of statuses: 399 is more",
        ),
        ("sticky_secret_file = '/etc/hostname-none'", "sticky_secret_file: cannot read /etc/hostname-none"),
        ("sticky = 'a b'", "sticky: \"a b\" is not a cookie name: it may consist of"),
        ("sticky = ''", "it is empty"),
        ("sticky = '__Host-a'", "browsers accept that prefix only with Secure"),
        ("admin = 'nowhere'", "admin is \"nowhere\"; write it as 127.0.0.1:8090, or off"),
        ("admin = '0.0.0.0:8090'", "would be open to other machines; set admin_token_file or listen on"),
        ("admin = '[::]:8090'", "would be open to other machines"),
        (
            "admin = '0.0.0.0:1'\nadmin_token_file = '/no/such'",
            "admin_token_file: cannot read the admin token in",
        ),
        (
            "trusted_proxies = '10.0.0.0/99'",
            "\"10.0.0.0/99\" is not a network; write an address, or a network as",
        ),
        ("strategy = 'best'", "line 2: unknown variant `best`"),
        ("all_down = 'maybe'", "line 2: unknown variant `maybe`"),
        ("health = true", "line 2: "),
        ("retries = -1", "line 2: invalid value"),
        ("retry_budget = 'much'", "line 2: invalid type"),
        ("max_fails = 4294967296", "line 2: invalid value"),
    ] {
        let (code, _, reasons) = check(&format!("{ONE}\n{line}\n"));
        let expected = if line.starts_with("sticky_secret_file") { 2 } else { 1 };
        assert_eq!((code, reasons.len()), (1, expected), "{line}: {reasons:?}");
        assert!(reasons[0].contains(reason), "{line}: {reasons:?}");
    }
    for name in ["connect_timeout", "reply_head_timeout", "upstream_timeout", "upstream_idle_timeout"]
        .into_iter()
        .chain(["resolve_interval", "health_interval", "health_timeout", "fail_timeout", "longest_ejection"])
    {
        refuses(&format!("{ONE}\n{name} = '9ms'\n"), &format!("{name} is 9ms; it must be at least 10ms"));
        refuses(&format!("{ONE}\n{name} = '25h'\n"), &format!("{name} is 1day 1h; it must be at most 24h"));
    }
    refuses(
        &format!("{ONE}\nstrategy = 'client-hash'\nslow_start = '25h'\n"),
        "slow_start is 1day 1h; it must be at most 24h",
    );
}

#[test]
fn names_values_that_do_not_go_together() {
    refuses(
        "backend = 'http://a:1,weight=2'\n",
        "a weight is set, but round-robin gives each backend the same share; choose weighted-round-robin, or leave it out",
    );
    for line in [
        "health_path = '/'",
        "health_interval = '1s'",
        "health_timeout = '1s'",
        "rise = 2",
        "fall = 3",
        "health_status = '200'\nhealth_path = '/'",
    ] {
        let (code, _, reasons) = check(&format!("{ONE}\nhealth = 'off'\n{line}\n"));
        let keys = line.lines().map(|line| line.split(' ').next().unwrap());
        assert_eq!((code, reasons.len()), (1, keys.clone().count()), "{line}: {reasons:?}");
        for key in keys {
            let reason = format!("{key} is set, but health is off; leave it out, or turn health on");
            assert!(reasons.contains(&reason), "{line}: {reasons:?}");
        }
    }
    let (secret, short) = (ConfigFile::new("a secret that is long\n"), ConfigFile::new(" short secret \n"));
    refuses(
        &format!("{ONE}\nsticky_secret_file = '{}'\n", secret.path.display()),
        "sticky_secret_file is set, but sticky names no cookie; set sticky as well, or leave it out",
    );
    refuses(
        &format!("{ONE}\nsticky = 'a'\nsticky_secret_file = '{}'\n", short.path.display()),
        &format!(
            "{} holds less than 16 characters; make one with: openssl rand -hex 32",
            short.path.display()
        ),
    );
    let token = |file: &ConfigFile| {
        format!("{ONE}\nadmin = '127.0.0.1:1'\nadmin_token_file = '{}'\n", file.path.display())
    };
    refuses(&token(&short), "admin_token_file: the admin token has a character that is not visible ASCII");
    refuses(&token(&ConfigFile::new("short")), "admin_token_file: the admin token is too short");
}

#[test]
fn names_the_line_of_a_wrong_table() {
    refuses("[[backend]]\nurl = 'http://a:1'\n\n[[backend]]\nurl = 'http://b:1'\nwieght = 2\n", "line ");
    refuses("backend = ['http://a:1',\n  { url = 'http://b:1', weight = 'two' }]\n", "line 2: invalid type");
}

#[test]
fn gives_mistakes_of_form_with_their_lines_beside_those_of_meaning() {
    let text = "worker = 3\nworkers = 'many'\nbackend = 'https://a:1'\nstrategy = 'best'\nlisten = 'here'\n\
                queue = 0\ngrace = 'soon'\n";
    let (code, said, reasons) = check(text);
    assert_eq!((code, &*said), (1, ""));
    let expected = [
        "line 1: unknown field `worker`",
        "line 2: invalid type: string \"many\"",
        "line 4: unknown variant `best`",
        "line 7: \"soon\" is not a time; write a time as 250ms or 30s",
        "TLS to a backend is not supported yet",
        "\"here\" is not an address to listen on",
        "queue is 0; it must be at least 1",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:#?}");
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}
