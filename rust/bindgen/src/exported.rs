//! What can be called, by name: tests in other languages compare it with what they call.

use uniffi_meta::Metadata;

/// Every function, constructor and method that a host can call, sorted; those of a class with its name before them.
pub(crate) fn callables(exported: &[Metadata]) -> Vec<String> {
    let mut names: Vec<String> = exported
        .iter()
        .filter_map(|item| match item {
            Metadata::Func(f) => Some(f.name.clone()),
            Metadata::Constructor(f) => Some(format!("{}.{}", f.self_name, f.name)),
            Metadata::Method(f) => Some(format!("{}.{}", f.self_name, f.name)),
            // The methods of foreign traits are the host's own.
            _ => None,
        })
        .collect();
    names.sort();
    names
}

/// A list of texts. They are identifiers, which JSON and Rust write in the same way.
pub(crate) fn as_json(names: &[String]) -> String {
    format!("{names:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uniffi_meta::{FnMetadata, MethodMetadata};

    #[test]
    fn functions_and_methods_are_listed() {
        let function = FnMetadata {
            module_path: "m".into(),
            name: "version".into(),
            orig_name: None,
            is_async: false,
            inputs: vec![],
            return_type: None,
            throws: None,
            checksum: None,
            docstring: None,
        };
        let method = MethodMetadata {
            module_path: "m".into(),
            self_name: "Session".into(),
            name: "send".into(),
            orig_name: None,
            is_async: false,
            inputs: vec![],
            return_type: None,
            throws: None,
            takes_self_by_arc: false,
            checksum: None,
            docstring: None,
        };
        let names = callables(&[Metadata::Func(function), Metadata::Method(method)]);
        assert_eq!(as_json(&names), r#"["Session.send", "version"]"#);
    }
}
