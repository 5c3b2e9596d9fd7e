use super::*;
use crate::{
    path::Step,
    policy::{PolicySet, Source},
};

fn line_of(text: &str, path: &str) -> u64 {
    let steps = super::steps(path).map(|step| step.parse().map_or(Step::Field(step), Step::Index));
    read(text).last().unwrap().as_ref().unwrap().nearest(&steps.collect()).line()
}

fn json(text: &str) -> String {
    serde_json::to_string(read(text)[0].as_ref().unwrap()).unwrap()
}

fn problem(text: &str) -> String {
    read(text).into_iter().find_map(Result::err).unwrap().to_string()
}

#[test]
fn a_path_leads_to_its_line_of_the_whole_text() {
    let text = "# head\n---\na: 1\n---\nspec:\n  list:\n  - x: 1\n    y: 2\n  labels:\n    a.b/c: d\n";
    assert_eq!(line_of(text, "spec.list[0].y"), 8);
    assert_eq!(line_of(text, "spec.labels[a.b/c]"), 10);
    assert_eq!(line_of(text, "spec.list[7].z"), 7, "the list itself");
    assert_eq!(line_of(text, "nothing"), 5);
    assert_eq!(line_of("{\"a\": 1}\n{\n \"b\": {\n  \"c\": 1}}\n", "b.c"), 4);
}

#[test]
fn directives_marks_and_comments_are_no_documents() {
    for (text, documents) in [
        ("%YAML 1.2\n---\na: 1\n", 1),
        ("\u{feff}# comment\n---\na: 1\n", 1),
        ("\u{feff}a: 1\n", 1),
        ("\u{feff}{\"a\": 1}{\"b\": 2}\n", 2),
        ("a: 1\n---\n...\n", 1),
        ("a: 1\n...\n# end\n", 1),
        ("a: 1\n...\nb: 1\n", 2),
        ("a: 1\n...\n%YAML 1.2\n---\nb: 1\n", 2),
        ("---\r\na: 1\r\n---\r\nb: 2\r\n...\r\n", 2),
        ("--- # first\na: 1\n--- # nothing\n--- {b: 1}\n", 2),
        ("# nothing\n---\n---\n...\n", 0),
        ("", 0),
        ("a: |\n  ---\n  ...\n", 1),
        ("a: ---\nb: ...\n---x: 1\n", 1),
    ] {
        let read = read(text);
        assert_eq!(read.len(), documents, "{text:?}");
        if !text.contains("---x") {
            assert!(read.iter().all(Result::is_ok), "{text:?}: {read:?}");
        }
    }
    assert_eq!(line_of("%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb:\n  c: 1\n", "b.c"), 8);
}

#[test]
fn a_policy_and_a_manifest_are_read_alike() {
    let policy = "apiVersion: sandgate.dev/v1beta1\nkind: SandboxPolicy\nmetadata: {name: a}\nspec: {namespaces: [x]}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n";
    for around in [
        "%YAML 1.2\n---\n@",
        "\u{feff}# comment\n---\n@",
        "@---\n...\n",
        "@...\n",
        "--- # policy\n@",
        "\u{feff}@",
    ] {
        let source = Source { name: "f".into(), text: around.replace('@', policy) };
        assert_eq!(PolicySet::from_sources(&[source]).map(|set| set.policies().len()), Ok(1), "{around:?}");
        let manifest = read(&around.replace('@', pod));
        assert!(matches!(manifest.as_slice(), [Ok(node)] if node.str("kind") == Some("Pod")), "{around:?}");
    }
}

#[test]
fn json_that_is_no_yaml_is_read() {
    assert_eq!(json(r#"{"a": "\ud83d\ude00"}"#), r#"{"a":"😀"}"#);
}

#[test]
fn members_keep_their_order() {
    assert_eq!(json("z: 1\na: {c: ~, b: [x, 1.5, true]}\n"), r#"{"z":1,"a":{"c":null,"b":["x",1.5,true]}}"#);
}

#[test]
fn scalars_are_those_of_kubectl() {
    assert_eq!(json("[yes, 0644, \"yes\", 1_000, 2Gi, 1e3]"), r#"[true,420,"yes",1000,"2Gi",1000.0]"#);
}

#[test]
fn an_error_has_its_line_and_no_second_position() {
    assert_eq!(problem("a: 1\n---\nb: 1\nb: 2\n"), "line 4: duplicate key \"b\"");
    assert_eq!(problem("{\"a\": 1,\n \"a\": 2}"), "line 2: duplicate key \"a\"");
    assert_eq!(problem("{\"a\": "), "line 1: EOF while parsing a value");
    assert_eq!(problem("a: .nan"), "line 1: a number that is not finite; quote it if it is a text");
    assert_eq!(problem("a: &a [*a]"), "line 1: an alias must not be inside its own anchor");
}

#[test]
fn one_bad_document_hides_no_other() {
    let read = read("a: [\n---\nb: 1\n");
    assert!(read[0].is_err() && read[1].is_ok(), "{read:?}");
}

#[test]
fn depth_and_aliases_are_bounded() {
    for text in ["[".repeat(200) + &"]".repeat(200), "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000)] {
        assert_eq!(problem(&text), "line 1: nested too deeply");
    }
    let bomb = (0..9).fold(String::from("a0: &a0 [x]\n"), |bomb, level| {
        bomb + &format!("a{0}: &a{0} [{1}]\n", level + 1, format!("*a{level},").repeat(9))
    });
    assert!(problem(&bomb).ends_with("document too large"));
}

#[test]
fn hostile_texts_do_not_panic() {
    let parts = [
        "---", "...", "\u{feff}", "%", "{", "[", "\"", "&a", "*a", ": ", "\n", "- ", "|\n", "!!x ", "\t",
        "\0",
    ];
    for a in parts {
        for b in parts {
            for c in parts {
                let _ = read(&format!("{a}{b}{c}"));
            }
        }
    }
}

#[test]
fn steps_of_paths() {
    let all: Vec<&str> = steps("metadata.annotations[a.b/c].x[0]").collect();
    assert_eq!(all, ["metadata", "annotations", "a.b/c", "x", "0"]);
    let path = Steps::default().key("metadata").key("annotations").key("a.b/c").key("x").index(0);
    assert_eq!(path.to_string(), "metadata.annotations[a.b/c].x[0]");
}
