//! The support matrix of the crate's documentation names tests: each of them exists.

const DOCUMENTATION: &str = include_str!("../../src/lib.rs");

/// The source of a module of tests.
fn source(module: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let path = match module {
        "process" => format!("{folder}/process/main.rs"),
        _ => format!("{folder}/all/{module}.rs"),
    };
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Does a module have what a path below it names: a test, a submodule, or all tests whose names begin like that?
fn has(source: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some("") => source.contains("#[test]"),
        Some(prefix) => source.contains(&format!("fn {prefix}")),
        None => ["(", "<"].iter().any(|after| source.contains(&format!("fn {name}{after}"))),
    }
}

#[test]
fn every_row_names_a_test() {
    let rows = || DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("//! |")?.strip_suffix('|'));
    let last_cells = rows().filter_map(|row| row.rsplit('|').next());
    let paths: Vec<&str> = last_cells.filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`')).collect();
    assert!(paths.len() > 30, "{} rows with a test", paths.len());
    for path in paths {
        let (module, name) = path.split_once("::").unwrap_or_else(|| panic!("{path} has no module"));
        let source = source(module);
        let (between, last) = name.rsplit_once("::").unwrap_or(("*", name));
        assert!(between == "*" || source.contains(between), "{path}: no {between} in {module}");
        assert!(has(&source, last), "{path}: no such test");
    }
}
