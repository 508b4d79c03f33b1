//! Which test proves which sentence of `docs/behaviour.md`.
//!
//! A sentence ends with its id in brackets, `… is refused. [admission.blocked]`. A test names the ids it proves in a
//! comment right above it, `// behaviour: admission.blocked, admission.policy`.

use crate::run;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/behaviour.md";
const TABLE: &str = "docs/behaviour-tests.md";

/// Writes the table.
pub(crate) fn write() -> Result<(), String> {
    let (table, count) = table()?;
    fs::write(run::root().join(TABLE), table).map_err(|e| format!("{TABLE}: {e}"))?;
    println!("{TABLE}: {count} sentences");
    Ok(())
}

/// Fails on a sentence without a test, a test of an unknown sentence, and a table that is not up to date.
pub(crate) fn check() -> Result<usize, String> {
    let (table, count) = table()?;
    let committed = fs::read_to_string(run::root().join(TABLE)).unwrap_or_default();
    if committed != table {
        return Err(format!("{TABLE} is not up to date: run `cargo xtask behaviour`"));
    }
    Ok(count)
}

/// Each sentence's tests, as file and name.
pub(crate) fn tests() -> Result<BTreeMap<String, Vec<(String, String)>>, String> {
    let mut tests: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for folder in ["rust", "tests"] {
        walk(&run::root().join(folder), &mut |path, text| {
            for (id, test) in named(text) {
                let path = path.strip_prefix(run::root()).unwrap_or(path);
                tests.entry(id).or_default().push((path.display().to_string(), test));
            }
        })?;
    }
    Ok(tests)
}

fn table() -> Result<(String, usize), String> {
    let page = fs::read_to_string(run::root().join(PAGE)).map_err(|e| format!("{PAGE}: {e}"))?;
    let (sentences, tests) = (sentences(&page)?, tests()?);
    let untested: Vec<&String> = sentences.iter().filter(|id| !tests.contains_key(*id)).collect();
    if !untested.is_empty() {
        return Err(format!("sentences without a test: {untested:?}"));
    }
    let unknown: Vec<&String> = tests.keys().filter(|id| !sentences.contains(id)).collect();
    if !unknown.is_empty() {
        return Err(format!("tests of sentences that {PAGE} does not have: {unknown:?}"));
    }
    let mut table = String::from(
        "# Which test proves which sentence\n\nMade by `cargo xtask behaviour` from [behaviour.md](behaviour.md) and the \
         tests.\n\n| sentence | tests |\n| --- | --- |\n",
    );
    for id in &sentences {
        let named: Vec<String> = tests[id].iter().map(|(path, test)| format!("`{path}` {test}")).collect();
        table.push_str(&format!("| {id} | {} |\n", named.join("<br>")));
    }
    Ok((table, sentences.len()))
}

/// The ids of the page, in its order.
fn sentences(page: &str) -> Result<Vec<String>, String> {
    let mut ids: Vec<String> = Vec::new();
    for id in page.lines().filter_map(|line| {
        let id = line.trim_end().strip_suffix(']')?.rsplit_once(" [")?.1;
        is_id(id).then(|| id.to_owned())
    }) {
        if ids.contains(&id) {
            return Err(format!("{PAGE} has two sentences with the id {id}"));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn is_id(text: &str) -> bool {
    text.contains('.')
        && text.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// The ids that a source file's tests name, each with the name of its test.
fn named(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(list) = line.strip_prefix("// behaviour: ") {
            ids.extend(list.split(", ").map(str::to_owned));
        } else if let Some(function) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("pub fn "))
            && let Some((name, _)) = function.split_once('(')
        {
            found.extend(ids.drain(..).map(|id| (id, name.to_owned())));
        }
    }
    found
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path, &str)) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, each)?;
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("xtask/src/behaviour.rs") {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            each(&path, &text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_and_tests_are_found() {
        let page = "# Page\n- One. [a.b]\nText [with a link](x) and [no.id here]\n- Two. [c.d-1.e]\n";
        assert_eq!(sentences(page), Ok(vec!["a.b".into(), "c.d-1.e".into()]));
        assert!(sentences("- One. [a.b]\n- Again. [a.b]\n").is_err());
        let source = "// behaviour: a.b, c.d-1.e\n#[test]\nfn it_works() {}\nfn another() {}\n";
        assert_eq!(named(source), [("a.b".into(), "it_works".into()), ("c.d-1.e".into(), "it_works".into())]);
    }
}
