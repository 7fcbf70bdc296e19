//! What a set must be before it decides anything.

use super::*;

fn files(text: &str) -> Files {
    Files {
        policies: [("own.cedar".to_owned(), text.to_owned())].into(),
        tests: BTreeMap::new(),
    }
}

fn refused(text: &str) -> String {
    let problems = ValidSet::validate(&files(text)).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A policy about partners' queries with this condition.
fn when(condition: &str) -> String {
    format!(
        "@id(\"x\")\nforbid (principal is Partner, action == Action::\"query\", resource is Product)\nwhen {{ {condition} }};"
    )
}

#[test]
fn the_shipped_policies_are_valid() {
    let set = ValidSet::validate(&shipped()).unwrap();
    assert_eq!(set.policies(), 5);
    assert_eq!(set.files().len(), 1);
    for action in Action::ALL {
        assert!(
            set.about(action).unwrap().policies().count() > 0,
            "{action:?}"
        );
    }
}

#[test]
fn every_action_of_the_schema_is_one_of_the_nodes() {
    let schema = schema().unwrap();
    let named: BTreeSet<String> = schema
        .actions()
        .map(|uid| uid.id().unescaped().to_owned())
        .collect();
    let ours: BTreeSet<String> = Action::ALL.map(|a| a.name().to_owned()).into();
    assert_eq!(named, ours);
}

#[test]
fn only_strictly_valid_policies_are_taken() {
    assert!(ValidSet::validate(&files(&when("context.hour < 8"))).is_ok());
    for (condition, says) in [
        ("context.nothing", "own.cedar:3: "),
        ("principal.alias == \"a\"", "own.cedar:3: "),
        ("context.hour < \"8\"", "own.cedar:3: "),
        ("context.purposes.contains(8)", "own.cedar:3: "),
        ("context.hour <", "own.cedar:3: "),
    ] {
        let said = refused(&when(condition));
        assert!(said.starts_with(says), "{condition}: {said}");
    }
    let other = "@id(\"x\")\npermit (principal is Nobody, action, resource);";
    assert!(
        refused(other).starts_with("own.cedar:"),
        "{}",
        refused(other)
    );
}

#[test]
fn a_warning_refuses_as_an_error_does() {
    // Valid, and surely a slip: no query of a partner is about this node.
    let said = refused(
        "@id(\"x\")\nforbid (principal is Partner, action == Action::\"query\", resource is Node);",
    );
    assert!(said.starts_with("own.cedar:"), "{said}");
    let said = refused(&when("context.purposes.contains(\"a\u{202e}b\")"));
    assert!(said.starts_with("own.cedar:"), "{said}");
}

#[test]
fn one_wrong_file_refuses_them_all() {
    let mut both = shipped();
    both.policies
        .insert("wrong.cedar".to_owned(), "permit".to_owned());
    let problems = ValidSet::validate(&both).unwrap_err();
    assert!(
        problems.iter().all(|p| p.file == "wrong.cedar"),
        "{problems:?}"
    );
}

#[test]
fn policies_have_ids_of_their_own() {
    assert!(refused("permit (principal, action, resource);").contains("@id"));
    let twice = format!("{}\n{}", when("true"), when("context.hour < 8"));
    assert!(refused(&twice).contains("two policies have the id own.x"));
    assert!(refused("@id(\"a b\")\npermit (principal, action, resource);").contains("@id"));
}

#[test]
fn an_empty_folder_and_templates_are_refused() {
    assert!(refused("// nothing\n").contains("nothing would be permitted"));
    let template =
        "@id(\"t\")\npermit (principal == ?principal, action == Action::\"query\", resource);";
    assert!(refused(template).contains("template"));
}

#[test]
fn a_policy_that_calculates_is_refused() {
    for condition in [
        "context.hour + 1 > 3",
        "context.hour - 1 > 3",
        "context.hour * 2 > 3",
        "-(context.hour) < 3",
        "context has days && (context.days + 9223372036854775807) > 3",
    ] {
        let said = refused(&when(condition));
        assert!(said.contains("calculates"), "{condition}: {said}");
    }
    assert!(ValidSet::validate(&files(&when("context.purposes.contains(\"+\")"))).is_ok());
    assert!(ValidSet::validate(&files(&when("context.hour > -3"))).is_ok());
}

#[test]
fn a31_the_largest_policies_that_pass_the_bounds_do_no_harm() {
    let long = vec!["context.hour < 8"; 135].join(" && ");
    let nested = format!("{}true", "if context.hour < 8 then false else ".repeat(105));
    let list = vec!["\"a\""; 480].join(", ");
    let brackets = format!("{}context.hour < 8{}", "(".repeat(30), ")".repeat(30));
    for condition in [
        long,
        nested,
        format!("[{list}].contains(\"b\") || context.hour < 8"),
        brackets,
    ] {
        let text = when(&condition);
        assert_eq!(super::bounds::check("own.cedar", &text), Ok(()));
        // On a thread with as little stack as the runtime's have.
        let judged = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let judged = judged.spawn(move || ValidSet::validate(&files(&text)).is_ok());
        judged.unwrap().join().expect("no overflow of the stack");
    }
}

#[test]
fn the_digest_names_every_byte_and_every_name() {
    let first = ValidSet::validate(&files(&when("context.hour < 8"))).unwrap();
    let same = ValidSet::validate(&files(&when("context.hour < 8"))).unwrap();
    assert_eq!(first.digest(), same.digest());
    let comment = format!("{}//", when("context.hour < 8"));
    let other = ValidSet::validate(&files(&comment)).unwrap();
    assert_ne!(first.digest(), other.digest());
}
