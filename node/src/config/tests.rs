use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::keys::{KEYS, SECTIONS};
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("comity.toml"))
}

/// A configuration that a node starts with.
fn named() -> Config {
    let mut config = Config::default();
    config.organization.name = "Port Authority".to_owned();
    config.organization.alias = "port-authority".to_owned();
    config
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

fn errors(config: &Config) -> Vec<String> {
    config
        .check()
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.key)
        .collect()
}

const RULE: &str = r#"
[[approve]]
partner = "weather-service"
product = "flights"
purposes = ["delay-forecast"]
max_days = 90
limits = { max_rows_per_query = 1000000 }
tables.flights.columns = ["origin", "dep_delay"]
tables.flights.filter = [{ compare = { column = "origin", op = "eq", value = { text = "JFK" } } }]
tables.flights.masks = { dep_delay = "replace-with-null" }
"#;

#[test]
fn the_example_parses_to_the_defaults() {
    assert_eq!(parse(&Config::example()).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let mut config = Config::default();
    // Optional keys are in the tree only when they are set.
    config.peers.advertised = Some("flight.example.org:7402".to_owned());
    config.admin.socket = Some("admin.sock".into());
    config.network.dial = Some(vec![crate::network::Area::Public]);
    let text = || Some("x".to_owned());
    (config.oidc.issuer, config.oidc.audience) = (text(), text());
    (config.oidc.jwks_url, config.oidc.roles_claim) = (text(), text());
    config.oidc.ca_file = Some("login-ca.pem".into());
    config.notify.webhook = text();
    config.notify.secret_file = Some("webhook.secret".into());
    let tree = example::tree(&config);
    let of_struct: BTreeSet<(String, String)> = tree
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(section, values)| {
            let values = values.as_object().unwrap();
            values.keys().map(|key| (section.clone(), key.clone()))
        })
        .collect();
    let documented: BTreeSet<(String, String)> = KEYS
        .iter()
        .map(|key| (key.section.to_owned(), key.name.to_owned()))
        .collect();
    assert_eq!(documented, of_struct);
    let text = Config::example();
    for key in &KEYS {
        let lines = [format!("\n{} = ", key.name), format!("\n# {} = ", key.name)];
        assert!(lines.iter().any(|line| text.contains(line)), "{}", key.name);
        assert!(!key.meaning.is_empty());
    }
    for (section, _) in SECTIONS {
        assert!(text.contains(&format!("\n[{section}]\n")), "{section}");
    }
}

#[test]
fn samples_in_the_example_parse_when_they_are_uncommented() {
    let mut text = Config::example();
    for key in KEYS.iter() {
        if let Some(sample) = key.sample {
            let line = format!("\n{} = {sample}\n", key.name);
            text = text.replace(&format!("\n# {} = {sample}\n", key.name), &line);
        }
    }
    let (before, rest) = text.split_once("# [[approve]]\n").unwrap();
    let (rule, rest) = rest.split_once("# [[partner]]\n").unwrap();
    let (note, keys) = rest.split_once("# [[egress]]\n").unwrap();
    let (rule, _) = rule.split_once("\n\n").unwrap();
    let (note, _) = note.split_once("\n\n").unwrap();
    let uncommented = |sample: &str| format!("\n{sample}").replace("\n# ", "\n");
    let [rule, note, keys] = [rule, note, keys].map(uncommented);
    let text = format!("{before}[[approve]]{rule}\n[[partner]]{note}\n[[egress]]{keys}");
    let config = parse(&text).unwrap();
    assert_eq!(config.egress[0].keys, crate::query::KeyForm::Plain);
    assert_eq!(config.approve.len(), 1);
    assert_eq!(config.partner[0].attributes["country"], "DE");
    assert_eq!(config.approve[0].tables["flights"].columns.len(), 3);
    assert_eq!(
        config.admin.socket.as_deref(),
        Some(Path::new("admin.sock"))
    );
    assert_eq!(
        config.peers.advertised.as_deref(),
        Some("flight.example.org:7402")
    );
}

#[test]
fn a_rendered_configuration_reads_back_as_it_was() {
    let mut config = parse(RULE).unwrap();
    config.organization.name = "Ł\u{7f}\"\\\n\tname".to_owned();
    config.network.peers = vec!["/ip4/192.0.2.1/udp/7401/quic-v1".parse().unwrap()];
    config.peers.advertised = Some("flight.example.org:7402".to_owned());
    config.log.format = LogFormat::Json;
    config.query.max_rows = 7;
    let source = Source {
        username: Some("reader".to_owned()),
        password_file: Some("secret".into()),
        ..Source::default()
    };
    config.sources.insert("lake 1".to_owned(), source);
    assert_eq!(parse(&config.render()).unwrap(), config);
}

#[test]
fn an_unknown_key_names_file_line_section_and_the_nearest_key() {
    let error = parse("[log]\nlevel = \"info\"\n\n[peers]\nlistn = \"127.0.0.1:1\"\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "comity.toml:5: unknown key `listn` in [peers], did you mean `listen`?"
    );
    let error = parse("[netwrok]\nlan = true\n").unwrap_err();
    let ConfigError::UnknownKey(unknown) = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (unknown.line, unknown.suggestion.as_deref()),
        (1, Some("network"))
    );
    // Nothing near: what is known.
    let error = parse("[log]\nxyzzy = 1\n").unwrap_err();
    assert!(
        error.to_string().ends_with("; allowed are format, level"),
        "{error}"
    );
}

#[test]
fn every_section_refuses_unknown_keys() {
    for (section, _) in SECTIONS {
        let error = parse(&format!("[{section}]\nno_such_key = 1\n")).unwrap_err();
        assert!(
            matches!(error, ConfigError::UnknownKey(ref unknown) if unknown.line == 2),
            "{error}"
        );
    }
    for unknown in ["no_such_key = 1\n", "tables.flights.no_such_key = 1\n"] {
        let error = parse(&format!("{RULE}{unknown}")).unwrap_err();
        assert!(matches!(error, ConfigError::UnknownKey(_)), "{error}");
    }
}

#[test]
fn a_wrong_value_names_file_line_and_key() {
    for (text, line, key) in [
        ("[query]\nmax_rows = \"many\"\n", 2, "max_rows"),
        ("\n[query]\nmax_rows = -1\n", 3, "max_rows"),
        ("[peers]\nlisten = \"7402\"\n", 2, "listen"),
        ("[network]\nlisten = [\"127.0.0.1:7401\"]\n", 2, "listen"),
        ("[log]\nformat = \"xml\"\n", 2, "format"),
        ("[workbench]\ntls = \"yes\"\n", 2, "tls"),
    ] {
        let error = parse(text).unwrap_err();
        let ConfigError::Invalid {
            line: at,
            key: named,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((*at, named.as_deref()), (line, Some(key)), "{error}");
    }
    assert!(matches!(
        parse("[query\n"),
        Err(ConfigError::Invalid { line: 1, .. })
    ));
    assert!(parse("[log]\nlevel = \"info\"\nlevel = \"info\"\n").is_err());
}

#[test]
fn a_number_out_of_range_is_refused_with_its_line_and_what_is_allowed() {
    let text = named()
        .render()
        .replace("\nmax_connections = 256\n", "\nmax_connections = 0\n");
    let error = load(&text).unwrap_err();
    let line = text
        .lines()
        .position(|line| line == "max_connections = 0")
        .unwrap()
        + 1;
    let message = error.to_string();
    assert!(
        message.ends_with(&format!(
            "comity.toml:{line}: network.max_connections: must be from 1 to 65536"
        )),
        "{message}"
    );
}

#[test]
fn a_source_is_checked_and_its_example_parses() {
    let text = Config::example();
    let (_, entry) = text.split_once("# [sources.warehouse]\n").unwrap();
    let (entry, _) = entry.split_once("\n\n").unwrap();
    let entry = entry.replace("# ", "");
    let lines = entry
        .lines()
        .map(|l| l.split("  ").next().unwrap_or_default());
    let entry = format!(
        "[sources.warehouse]\n{}",
        lines.collect::<Vec<_>>().join("\n")
    );
    let mut config = named();
    config.sources = parse(&entry).unwrap().sources;
    let source = config.sources["warehouse"].clone();
    assert_eq!(source.username.as_deref(), Some("comity_reader"));
    assert_eq!(errors(&config), [""; 0]);
    let with = |source: Source| {
        let mut config = named();
        config.sources.insert("warehouse".to_owned(), source);
        errors(&config)
    };
    for (connections, ok) in [(0, false), (1, true), (256, true), (257, false)] {
        let source = Source {
            connections,
            ..Source::default()
        };
        assert_eq!(with(source).is_empty(), ok, "{connections}");
    }
    for (timeout_seconds, ok) in [(0, false), (1, true), (86_400, true), (86_401, false)] {
        let source = Source {
            timeout_seconds,
            ..Source::default()
        };
        assert_eq!(with(source).is_empty(), ok, "{timeout_seconds}");
    }
    assert_eq!(
        with(Source {
            tls: Some(false),
            ..source
        }),
        ["sources.warehouse.ca_file"]
    );
}

#[test]
fn ranges_hold_on_both_sides() {
    for key in &KEYS {
        let Some(range) = &key.range else { continue };
        let name = format!("{}.{}", key.section, key.name);
        let with = |value: u64| {
            let mut tree = example::tree(&named());
            tree[key.section][key.name] = value.into();
            let config: Config = serde_json::from_value(tree).unwrap();
            errors(&config)
        };
        assert_eq!(with(*range.start()), [""; 0], "{name}");
        assert_eq!(with(*range.end()), [""; 0], "{name}");
        assert_eq!(with(range.end() + 1), [name.as_str()]);
        if let Some(below) = range.start().checked_sub(1) {
            assert_eq!(with(below), [name.as_str()]);
        }
    }
}

#[test]
fn a_named_default_starts_and_the_bare_default_asks_for_names() {
    assert_eq!(load(&named().render()).unwrap(), named());
    assert_eq!(named().check(), []);
    assert_eq!(
        errors(&Config::default()),
        ["organization.name", "organization.alias"]
    );
    let error = load("").unwrap_err();
    assert!(
        error.to_string().contains("write the organization's name"),
        "{error}"
    );
}

#[test]
fn aliases_are_names_that_sql_and_urls_can_carry() {
    let longest = "a".repeat(63);
    let long = "a".repeat(64);
    for (alias, fits) in [
        ("weather-service", true),
        ("0", true),
        (&*longest, true),
        ("", false),
        ("-a", false),
        ("Weather", false),
        ("a.b", false),
        ("a b", false),
        ("é", false),
        (&*long, false),
    ] {
        let mut config = named();
        config.organization.alias = alias.to_owned();
        assert_eq!(errors(&config).is_empty(), fits, "{alias}");
    }
}

#[test]
fn listeners_that_would_expose_tokens_or_collide_are_refused() {
    let with = |change: fn(&mut Config)| {
        let mut config = named();
        change(&mut config);
        errors(&config)
    };
    assert_eq!(
        with(|c| {
            c.workbench.listen = "0.0.0.0:7403".parse().unwrap();
            c.workbench.tls = false;
        }),
        ["workbench.listen"]
    );
    assert_eq!(
        with(|c| c.workbench.listen = "0.0.0.0:7403".parse().unwrap()),
        [""; 0]
    );
    assert_eq!(
        with(|c| c.admin.listen = "192.0.2.1:7404".parse().unwrap()),
        ["admin.listen"]
    );
    assert_eq!(with(|c| c.admin.listen = c.peers.listen), ["admin.listen"]);
    assert_eq!(
        with(|c| {
            c.peers.listen.set_port(0);
            c.admin.listen.set_port(0);
        }),
        [""; 0]
    );
    assert_eq!(
        with(|c| c.peers.listen = "0.0.0.0:7402".parse().unwrap()),
        ["peers.advertised"]
    );
    for advertised in [
        "",
        "host",
        ":7402",
        "host:0",
        "host:70000",
        "a b:1",
        "https://host:1/",
    ] {
        let mut config = named();
        config.peers.listen = "0.0.0.0:7402".parse().unwrap();
        config.peers.advertised = Some(advertised.to_owned());
        assert_eq!(errors(&config), ["peers.advertised"], "{advertised}");
        config.peers.advertised = Some("flight.example.org:7402".to_owned());
        assert_eq!(config.check(), []);
    }
    assert_eq!(
        with(|c| c.network.peers = vec!["/ip4/192.0.2.1/tcp/7401".parse().unwrap()]),
        ["network.peers"]
    );
    assert_eq!(with(|c| c.log.level = "info,=,".to_owned()), ["log.level"]);
}

#[test]
fn rules_are_checked_and_become_terms() {
    let mut config = named();
    config.approve = parse(RULE).unwrap().approve;
    assert_eq!(config.check(), []);
    let now = comity_identity::Timestamp::from_secs(1_000);
    let terms = config.approve[0].terms(now);
    assert_eq!(terms.expires.as_secs(), 1_000 + 90 * 86_400);
    assert_eq!(terms.limits.max_rows_per_query, Some(1_000_000));
    let flights = &terms.tables["flights"];
    assert_eq!(flights.columns.len(), 2);
    assert_eq!((flights.filter.0.len(), flights.masks.len()), (1, 1));

    let with = |change: fn(&mut ApproveRule)| {
        let mut config = config.clone();
        change(&mut config.approve[0]);
        errors(&config)
    };
    assert_eq!(
        with(|rule| rule.partner = "Weather Service".to_owned()),
        ["approve.partner"]
    );
    assert_eq!(with(|rule| rule.partner = "a".repeat(52)), [""; 0]);
    assert_eq!(with(|rule| rule.purposes.clear()), ["approve.purposes"]);
    // No tables stands for what the product offers.
    assert_eq!(with(|rule| rule.tables.clear()), [""; 0]);
    assert_eq!(with(|rule| rule.max_days = 0), ["approve.max_days"]);
    assert_eq!(
        with(|rule| rule.limits.max_rows_per_query = Some(0)),
        ["approve.limits"]
    );
    assert_eq!(
        with(|rule| rule
            .tables
            .values_mut()
            .for_each(|table| table.columns.clear())),
        ["approve.tables"]
    );
    // What a rule must say it cannot leave out.
    for key in ["partner", "product", "purposes", "max_days"] {
        let lines: Vec<&str> = RULE.lines().filter(|line| !line.starts_with(key)).collect();
        let error = parse(&lines.join("\n")).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn what_is_said_of_partners_is_checked() {
    let mut config = named();
    let text = "[[partner]]\npartner = \"port-authority\"\nattributes = { country = \"DE\" }\n";
    config.partner = parse(text).unwrap().partner;
    assert_eq!(config.check(), []);
    assert_eq!(parse(&config.render()).unwrap(), config);
    let with = |change: fn(&mut PartnerNote)| {
        let mut config = config.clone();
        change(&mut config.partner[0]);
        errors(&config)
    };
    let name = |name: &str| BTreeMap::from([(name.to_owned(), String::new())]);
    assert_eq!(
        with(|n| n.partner = "Port Authority".to_owned()),
        ["partner.partner"]
    );
    for bad in ["", "org", "Country", "a.b", &"a".repeat(60)] {
        let mut config = config.clone();
        config.partner[0].attributes = name(bad);
        assert_eq!(errors(&config), ["partner.attributes"], "{bad}");
    }
    let long = |n: usize| BTreeMap::from([("a".repeat(59), "x".repeat(n))]);
    let mut config = config.clone();
    config.partner[0].attributes = long(256);
    assert_eq!(config.check(), []);
    config.partner[0].attributes = long(257);
    assert_eq!(errors(&config), ["partner.attributes"]);
}

#[test]
fn what_may_leave_is_checked() {
    let mut config = named();
    let text = "[[egress]]\nproduct = \"orders\"\ntable = \"orders\"\nkeys = \"hashed\"\n";
    config.egress = parse(text).unwrap().egress;
    assert_eq!(config.check(), []);
    assert_eq!(parse(&config.render()).unwrap(), config);
    let with = |change: fn(&mut EgressRule)| {
        let mut config = config.clone();
        change(&mut config.egress[0]);
        errors(&config)
    };
    assert_eq!(
        with(|r| r.to = Some("Port Authority".to_owned())),
        ["egress.to"]
    );
    assert_eq!(with(|r| r.of = Some(String::new())), ["egress.of"]);
    assert_eq!(
        with(|r| r.product = "orders@1".to_owned()),
        ["egress.product"]
    );
    assert_eq!(with(|r| r.table = "a b".to_owned()), ["egress.table"]);
    assert_eq!(
        with(|r| r.columns = [String::new()].into()),
        ["egress.columns"]
    );
    assert!(parse(&text.replace("hashed", "sometimes")).is_err());
    assert!(
        parse(&text.replace("keys = \"hashed\"\n", "")).is_err(),
        "a rule says what it permits"
    );
}

#[test]
fn a_missing_or_oversized_file_says_what_to_do() {
    let error = Config::load(Path::new("/nonexistent/comity.toml")).unwrap_err();
    assert!(error.to_string().contains("comity init"), "{error}");
    let text = named().render();
    let padding = |bytes: usize| format!("{text}#{}", "x".repeat(bytes - text.len() - 1));
    assert!(load(&padding(MAX_CONFIG_BYTES)).is_ok());
    assert!(matches!(
        load(&padding(MAX_CONFIG_BYTES + 1)),
        Err(ConfigError::TooLong { .. })
    ));
}

#[test]
fn the_admin_socket_is_in_the_home_folder_unless_told_otherwise() {
    let mut config = named();
    let home = Path::new("home");
    assert_eq!(config.admin_socket(home), home.join("admin.sock"));
    config.admin.socket = Some("/run/comity.sock".into());
    assert_eq!(config.admin_socket(home), Path::new("/run/comity.sock"));
}

proptest! {
    #[test]
    fn hostile_text_does_not_panic(text in "(\\PC|\n|\\[|\\]|=|\"){0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn every_mistyped_key_is_refused(at in 0usize..24, letter in "[a-z]") {
        let key = &KEYS[at];
        let text = format!("[{}]\n{}{letter} = 1\n", key.section, key.name);
        let error = parse(&text).unwrap_err();
        let ConfigError::UnknownKey(unknown) = &error else {
            return Err(TestCaseError::fail(error.to_string()));
        };
        prop_assert_eq!(unknown.suggestion.as_deref(), Some(key.name));
    }
}
